"""Rows of a store that cannot be read: skipped and told, so that one of them hides nothing else."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from localprobe.errors import DataError, LocalprobeWarning

T = TypeVar("T")
WRONG = (KeyError, TypeError, ValueError, IndexError, AttributeError, ArithmeticError, RecursionError, DataError)
"""What reading a row raises whose JSON is torn or whose values have other types."""


class DamagedRow(LocalprobeWarning):
    """A row of a store was skipped, or read without the part of it that is damaged."""


def readable(read: Callable[[], T], row: str, path: Path, advice: str = "it was skipped") -> T | None:
    """What `read` returns; None, and a warning that names the row and its store, if the row is damaged."""
    try:
        return read()
    except WRONG as error:
        warnings.warn(f"{row} in {path} is damaged ({why(error)}): {advice}", DamagedRow, stacklevel=2)
        return None


def why(error: Exception) -> str:
    """An error of reading a row, in words."""
    return f"no {error}" if isinstance(error, KeyError) else str(error) or type(error).__name__
