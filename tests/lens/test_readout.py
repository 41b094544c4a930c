"""Reading any vector through the end of a model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from localprobe.engine import Capabilities, FloatArray, Output, Row
from localprobe.errors import EngineError, UsageError
from localprobe.fake import FakeEngine
from localprobe.lens import readout
from localprobe.lens.readout import Readout
from localprobe.sampling import log_softmax

TOLERANCE = 1e-4
"""A residual of length 20 takes the place of another in float32, so a logit may differ by some millionths."""


def vectors(count: int, scale: float = 3.0) -> FloatArray:
    return (np.random.default_rng(0).standard_normal((count, 32)) * scale).astype(np.float32)


def expected(engine: FakeEngine, given: FloatArray) -> FloatArray:
    return log_softmax(engine._model.logits(given))


@pytest.mark.parametrize("count", [1, 32, 33, 100])
def test_any_vectors_are_read_by_the_models_own_norm_and_head(engine: FakeEngine, count: int) -> None:
    given = vectors(count)
    read = np.stack(list(Readout(engine).logprobs(given)))
    np.testing.assert_allclose(read, expected(engine, given), atol=TOLERANCE)


def test_the_models_own_residuals_give_the_models_own_predictions(engine: FakeEngine) -> None:
    ids = engine.encode("What is it like?")
    output = engine.forward([Row(ids, full=tuple(range(len(ids))))], [engine.info.layers - 1])[0]
    read = np.stack(list(Readout(engine).logprobs(output.residuals[0])))
    np.testing.assert_allclose(read, output.full, atol=TOLERANCE)


@pytest.mark.parametrize(
    "able",
    [
        Capabilities(row_steering=False),
        Capabilities(span_steering=False),
        Capabilities(row_steering=False, span_steering=False),
    ],
)
def test_an_engine_that_steers_only_whole_rows_gives_the_same(able: Capabilities) -> None:
    engine, given = FakeEngine(capabilities=able), vectors(5)
    read = np.stack(list(Readout(engine).logprobs(given)))
    np.testing.assert_allclose(read, expected(engine, given), atol=TOLERANCE)


def test_an_engine_that_cannot_steer_the_last_block_is_refused() -> None:
    engine = FakeEngine(capabilities=Capabilities(first_layer=6))
    with pytest.raises(UsageError, match="layer 5 cannot be steered by fake: the lowest that can is 6"):
        Readout(engine)


def test_few_log_probabilities_are_held_at_once(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readout, "_FLOATS", 64 * 260)  # two rows of 32
    asked = []

    def counted(rows: Sequence[Row], layers: Sequence[int] = ()) -> list[Output]:
        asked.append(sum(len(row.full) for row in rows))
        return FakeEngine.forward(engine, rows, layers)

    monkeypatch.setattr(engine, "forward", counted)
    assert len(list(Readout(engine).logprobs(vectors(200)))) == 200
    assert max(asked) == 64


class Shifty(FakeEngine):
    """Its residuals depend on how many rows a batch has and how many of them are steered, as where activations are
    rounded by the shape of a batch."""

    shift = 0.05

    def forward(self, rows: Sequence[Row], layers: Sequence[int] = ()) -> list[Output]:
        outputs = super().forward(rows, layers)
        off = np.float32(self.shift) * any(row.steering for row in rows)
        return [Output(o.residuals + off, o.targets, o.full) for o in outputs]


def test_a_vector_that_lands_elsewhere_is_moved_once_more() -> None:
    engine, given = FakeEngine(), vectors(3)
    host = Shifty().forward
    moved: list[FloatArray] = []

    def forward(rows: Sequence[Row], layers: Sequence[int] = ()) -> list[Output]:
        moved.extend(term.delta for row in rows for term in row.steering[:1])
        return host(rows, layers)

    engine.forward = forward  # type: ignore[method-assign]
    list(Readout(engine).logprobs(given))
    np.testing.assert_allclose(moved[0] - moved[1], 0.05, atol=1e-5)


def test_an_engine_that_ignores_steering_is_found_out() -> None:
    with pytest.raises(EngineError, match="fake did not put a vector at the last block of fake: off by"):
        list(Readout(FakeEngine(fault="steering ignored")).logprobs(vectors(2)))


def test_the_length_is_that_of_an_ordinary_residual(engine: FakeEngine) -> None:
    ids = engine.encode("An ordinary sentence about a river.")
    usual = np.linalg.norm(engine.forward([Row(ids)], [5])[0].residuals[0], axis=-1)
    assert usual.min() / 2 < Readout(engine).length < usual.max() * 2
