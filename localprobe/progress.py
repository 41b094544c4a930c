"""How long work tells whoever asked for it how far it is: the core calls, the CLI or the app draws."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called with (what is being done, bytes done, bytes in all), now and then, and once at the end with done == all.
What cannot be counted in bytes is reported once, with 0 of 0."""


def silent(what: str, done: int, total: int) -> None:
    """Draw nothing."""
