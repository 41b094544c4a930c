"""config.json for mlx-lm: keys that transformers 5 renamed get their old names back.

mlx-lm uses a default for a missing key, and the residuals are then silently wrong.
"""

from __future__ import annotations

import re
from typing import Any

from localprobe.errors import UnsupportedModel
from localprobe_mlx.checkpoint import Checkpoint, Config
from localprobe_mlx.rope_config import Rope

_HEAD = re.compile(r"(^|\.)lm_head\.weight$|^(output|embed_out)\.weight$")
"""A weight of a head of its own, rather than the embedding's."""


def config_for_mlx(checkpoint: Checkpoint) -> Config:
    """Changes to a checkpoint's config that mlx-lm needs."""
    changes = _changes(checkpoint.config)
    inner = checkpoint.config.get("text_config")
    if isinstance(inner, dict):
        changes["text_config"] = {**inner, **_changes(inner)}
    if "tie_word_embeddings" not in checkpoint.config:  # defaults differ between the two libraries
        changes["tie_word_embeddings"] = not any(_HEAD.search(name) for name in checkpoint.tensors)
    return changes


def _changes(config: Config) -> Config:
    changes = Rope(config).changes()
    if config.get("model_type") == "gemma3_text" and config.get("layer_types"):
        changes["sliding_window_pattern"] = _pattern(config["layer_types"])
    if config.get("model_type") == "gpt2":
        changes["n_ctx"] = config["n_positions"]
    return changes


def _pattern(kinds: list[Any]) -> int:
    """Period of Gemma 3's layers with full attention."""
    full = [number for number, kind in enumerate(kinds) if kind == "full_attention"]
    pattern = full[0] + 1 if full else len(kinds) + 1
    if full != list(range(pattern - 1, len(kinds), pattern)):
        raise UnsupportedModel("mlx-lm cannot run a Gemma 3 whose layers of full attention are not evenly spaced")
    return pattern
