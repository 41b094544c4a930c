"""Layers as people write them: `8,12,16`, `8-24`, `-1`."""

from __future__ import annotations

import re

from localprobe.errors import UsageError


def parse(text: str | None) -> list[int] | None:
    """The layers of a text, in order, each once; None stays None (all). UsageError if it cannot be read."""
    if text is None:
        return None
    layers: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(-?\d+)(?:-(\d+))?\s*", part)
        if not match:
            raise UsageError(f"layers {text!r}: write them as 8,12,16 or 8-24 or -1")
        first = int(match[1])
        last = int(match[2]) if match[2] else first
        if last < first or last - first > 10_000:
            raise UsageError(f"layers {part.strip()!r}: the range runs backwards or is too long")
        layers += range(first, last + 1)
    return list(dict.fromkeys(layers))
