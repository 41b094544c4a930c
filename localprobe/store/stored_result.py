"""The result of a stored run as a dataclass."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from localprobe.errors import DataError, LocalprobeError
from localprobe.store.damaged import WRONG, why
from localprobe.store.json_values import from_json
from localprobe.store.runs import Run, RunSummary

T = TypeVar("T")


def result_of(kind: type[T], run: Run, part: str = "") -> T:
    """The result of a run, or one `part` of it, as a `kind`. DataError for a run of an incompatible version."""
    try:
        return from_json(kind, run.result.get(part) if part else run.result)
    except DataError as error:
        raise DataError(f"this version of localprobe cannot show run {run.id} ({error}): make it again") from error


@contextmanager
def understood(*runs: Run | RunSummary) -> Iterator[None]:
    """Raise DataError if the block meets a value of a run that is missing or has another type: the run is damaged, or
    of an incompatible version."""
    try:
        yield
    except LocalprobeError:
        raise
    except WRONG as error:
        names = ", ".join(run.id for run in runs)
        raise DataError(f"this version of localprobe cannot show run {names} ({why(error)}): make it again") from error
