"""Progress callbacks, through which the core reports what the CLI or the app displays, and the form of amounts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called with (description, bytes done, total bytes) from time to time, and at the end with done == total. Work that
cannot be counted in bytes is reported once, as 0 of 0."""


def silent(what: str, done: int, total: int) -> None:
    """Display nothing."""


def clock(seconds: float) -> str:
    """A duration as minutes and seconds: `1:05`."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


def gigabytes(count: int) -> str:
    """A number of bytes: `0.27 GB`, `15.2 GB`."""
    return f"{count / 1e9:.2f} GB" if count < 1e10 else f"{count / 1e9:.1f} GB"
