"""Reading the result of a run."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from localprobe.errors import DataError
from localprobe.store.runs import Run
from localprobe.store.stored_result import result_of


@dataclass(frozen=True)
class Figure:
    """What these runs hold."""

    auroc: float


def run(result: dict[str, object]) -> Run:
    return Run("abcd1234", "fit", "empathy", "2026-01-01T00:00:00+00:00", {}, result)


def test_a_result_or_a_part_of_it_is_read_as_the_class_that_wrote_it() -> None:
    assert result_of(Figure, run({"auroc": 0.9})) == Figure(0.9)
    assert result_of(Figure, run({"steering": {"auroc": 0.8}}), "steering") == Figure(0.8)


@pytest.mark.parametrize("part", ["", "steering"])
def test_a_result_of_another_version_is_named_with_what_is_wrong(part: str) -> None:
    with pytest.raises(DataError, match=r"cannot show run abcd1234 \(not a Figure: .*\): make it again"):
        result_of(Figure, run({"area": 0.9}), part)
