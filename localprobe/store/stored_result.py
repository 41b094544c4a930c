"""The result of a stored run as a dataclass."""

from __future__ import annotations

from typing import TypeVar

from localprobe.errors import DataError
from localprobe.store.json_values import from_json
from localprobe.store.runs import Run

T = TypeVar("T")


def result_of(kind: type[T], run: Run, part: str = "") -> T:
    """The result of a run, or one `part` of it, as a `kind`. DataError for a run of an incompatible version."""
    try:
        return from_json(kind, run.result.get(part) if part else run.result)
    except DataError as error:
        raise DataError(f"this version of localprobe cannot show run {run.id} ({error}): make it again") from error
