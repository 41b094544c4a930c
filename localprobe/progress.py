"""Progress callbacks: the core reports progress through them, the CLI or the app displays it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called with (description, bytes done, total bytes) from time to time, and at the end with done == total. Work that
cannot be counted in bytes is reported once, as 0 of 0."""


def silent(what: str, done: int, total: int) -> None:
    """Display nothing."""
