"""Writes a tiny model as a Hugging Face folder that transformers and mlx-lm load."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from localprobe.testing.tiny.configs import CONTEXT, config
from localprobe.testing.tiny.tokenizer import BOS_ARCHITECTURES, chat_template, tokenizer
from localprobe.testing.tiny.weights import weights


def tiny_folder(architecture: str, path: Path, seed: int = 0) -> Path:
    """Write a tiny random model of `architecture` (one of ARCHITECTURES) into the folder `path`, and return it."""
    from safetensors.numpy import save_file

    path.mkdir(parents=True, exist_ok=True)
    model = config(architecture)
    _write(path / "config.json", model)
    _write(path / "tokenizer_config.json", _tokenizer_config(architecture))
    _write(
        path / "generation_config.json",
        {name: model[name] for name in ("bos_token_id", "eos_token_id", "pad_token_id")},
    )
    tokenizer(architecture).save(str(path / "tokenizer.json"))
    save_file(weights(architecture, seed), path / "model.safetensors", metadata={"format": "pt"})
    return path


def _tokenizer_config(architecture: str) -> dict[str, Any]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": CONTEXT,
        "clean_up_tokenization_spaces": False,
        "bos_token": "<|bos|>" if architecture in BOS_ARCHITECTURES else None,
        "eos_token": "<|end|>",
        "pad_token": "<|pad|>",
        "chat_template": chat_template(architecture),
    }


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
