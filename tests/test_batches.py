"""Rows into batches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from localprobe import batches
from localprobe.engine import Capabilities, Output, Row, Term
from localprobe.errors import OutOfMemory
from localprobe.fake import FakeEngine


def test_every_row_is_in_one_batch_and_batches_hold_like_lengths() -> None:
    lengths = [5, 90, 7, 88, 6, 91]
    found = batches.by_length(lengths, tokens=300, rows=3)
    assert sorted(i for batch in found for i in batch) == list(range(6))
    assert found == [[5, 1, 3], [2, 4, 0]]


def test_padded_tokens_stay_under_the_budget() -> None:
    lengths = list(np.random.default_rng(0).integers(1, 200, 100))
    for batch in batches.by_length(lengths, tokens=1000, rows=64):
        assert len(batch) == 1 or max(lengths[i] for i in batch) * len(batch) <= 1000


def test_a_row_over_the_budget_gets_a_batch_of_its_own() -> None:
    assert batches.by_length([10, 5000, 10], tokens=4096) == [[1], [0, 2]]


def test_windows_keep_the_order_and_drop_nothing() -> None:
    assert list(batches.windows(range(7), size=3)) == [[0, 1, 2], [3, 4, 5], [6]]


class SmallMemory(FakeEngine):
    """Holds at most two rows a batch."""

    def forward(self, rows: Sequence[Row], layers: Sequence[int] = ()) -> list[Output]:
        if len(rows) > 2:
            raise OutOfMemory("no room")
        return super().forward(rows, layers)


def test_a_batch_that_does_not_fit_is_cut_until_it_does() -> None:
    rows = [Row(np.arange(1, n + 2, dtype=np.int32)) for n in range(7)]
    got = {i: o for batch, outs in batches.forward(SmallMemory(), rows, [1]) for i, o in zip(batch, outs, strict=True)}
    whole = FakeEngine().forward(rows, [1])
    assert sorted(got) == list(range(7))
    for i, output in enumerate(whole):
        np.testing.assert_allclose(got[i].residuals, output.residuals, atol=1e-6)


class NoMemory(FakeEngine):
    def forward(self, rows: Sequence[Row], layers: Sequence[int] = ()) -> list[Output]:
        raise OutOfMemory("no room")


def test_one_row_that_does_not_fit_is_an_error() -> None:
    with pytest.raises(OutOfMemory):
        list(batches.forward(NoMemory(), [Row(np.ones(3, np.int32))] * 4))


def test_an_engine_that_steers_whole_batches_gets_one_steering_a_batch() -> None:
    engine = FakeEngine(capabilities=Capabilities(row_steering=False))
    steered = (Term(1, np.ones(engine.info.width, np.float32)),)
    rows = [Row(np.ones(3, np.int32), steered if i % 2 else ()) for i in range(6)]
    found = [sorted(batch) for batch, _ in batches.forward(engine, rows, [1])]
    assert sorted(found) == [[0, 2, 4], [1, 3, 5]]
