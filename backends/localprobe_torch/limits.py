"""How many tokens a row may hold."""

from __future__ import annotations

from typing import Any

from localprobe.errors import UsageError

_UNKNOWN = 2048
"""Where neither config nor tokenizer names a limit."""


def context_of(config: Any, longest: int | None, asked: int | None) -> int:
    """The model's own limit, or what the user asked for, if that is less.

    `config` is that of the text decoder, `longest` what the tokenizer says. Raises UsageError if more was asked for.
    """
    own = _positions(config) or longest or _UNKNOWN
    if asked is None:
        return own
    if not 1 <= asked <= own:
        raise UsageError(f"a context of {asked} tokens is out of range: this model takes 1 to {own}")
    return asked


def _positions(config: Any) -> int | None:
    """max_position_embeddings, stretched where the RoPE scaling stretches it further than the config counts.

    A yarn config names the length before stretching; `linear` and `dynamic` ones may have either in
    max_position_embeddings, which is then left alone: too short a context is safe. llama3 and longrope count it.
    """
    positions = getattr(config, "max_position_embeddings", None) or 0
    rope = getattr(config, "rope_parameters", None) or {}
    if positions > 0 and isinstance(rope, dict) and rope.get("rope_type") == "yarn":
        before = rope.get("original_max_position_embeddings") or positions
        return max(int(positions), int(before * rope.get("factor", 1)))
    return int(positions) if positions > 0 else None
