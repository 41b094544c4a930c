"""Residuals of texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest

from localprobe.capture import capture, pooled, spans
from localprobe.engine import Output, Row
from localprobe.errors import EngineError, UsageError
from localprobe.fake import FakeEngine

TEXTS = ["A short one.", "A rather longer text, of more tokens than the first.", "x"]


def test_pooled_residuals_come_in_the_order_of_the_texts(engine: FakeEngine) -> None:
    found = pooled(engine, TEXTS, [0, 4])
    assert found.shape == (3, 2, engine.info.width)
    assert found.dtype == np.float32
    alone = engine.forward([Row(engine.encode(TEXTS[1]))], [0, 4])[0].residuals.mean(axis=1)
    np.testing.assert_allclose(found[1], alone, rtol=1e-5)


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [("mean", ((0, 9),)), ("mean-without-first", ((1, 9),)), ("last", ((8, 9),)), ("tokens", None)],
)
def test_spans_of_each_pooling(pooling: str, expected: object) -> None:
    assert spans(pooling, 9) == expected


def test_a_single_token_has_nothing_but_its_first() -> None:
    assert spans("mean-without-first", 1) == ((0, 1),)


def test_an_unknown_pooling_lists_the_known_ones(engine: FakeEngine) -> None:
    with pytest.raises(UsageError, match="'max': choose one of mean, mean-without-first, last, tokens"):
        pooled(engine, TEXTS, [0], "max")


def test_every_token_can_be_kept(engine: FakeEngine) -> None:
    for captured in capture(engine, TEXTS, [1, 2], "tokens"):
        assert captured.residuals.shape == (2, len(captured.ids), engine.info.width)


def test_an_empty_text_is_named_by_its_number(engine: FakeEngine) -> None:
    with pytest.raises(UsageError, match="text 2 is empty"):
        list(capture(engine, ["one", "  \n"], [0]))


def test_a_text_longer_than_the_context_is_an_error_with_both_numbers() -> None:
    with pytest.raises(UsageError, match=r"text 1 has 21 tokens, and fake holds 8"):
        list(capture(FakeEngine(context=8), ["twenty letters are it"[:20]], [0]))


def test_or_is_cut_as_asked_and_says_so() -> None:
    engine = FakeEngine(context=8)
    (captured,) = capture(engine, ["twenty letters are it"], [0], limit=512)
    assert (len(captured.ids), captured.cut) == (8, True)
    (whole,) = capture(engine, ["abc"], [0], limit=8)
    assert whole.cut is False


def test_a_layer_out_of_range_names_the_range(engine: FakeEngine) -> None:
    with pytest.raises(UsageError, match="layer 6 is out of range: fake has layers 0 to 5"):
        list(capture(engine, TEXTS, [6]))


class Overflowing(FakeEngine):
    def forward(self, rows: Sequence[Row], layers: Sequence[int] = ()) -> list[Output]:
        return [replace(o, residuals=o.residuals * np.inf) for o in super().forward(rows, layers)]


def test_residuals_that_are_not_finite_are_an_error() -> None:
    with pytest.raises(EngineError, match="not finite in float32"):
        list(capture(Overflowing(), ["text"], [0]))


def test_texts_are_read_as_they_are_needed(engine: FakeEngine) -> None:
    taken = 0

    def endless() -> Iterator[str]:
        nonlocal taken
        while True:
            taken += 1
            yield "text"

    stream = capture(engine, endless(), [0])
    for _ in range(3):
        next(stream)
    stream.close()
    assert taken <= 512
