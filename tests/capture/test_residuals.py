"""Residuals of texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest

from localprobe.capture.residuals import capture, pooled, spans
from localprobe.chat_template import Exchange
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
    with pytest.raises(UsageError, match="'max': choose one of mean, mean-without-first, last, answer, tokens"):
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


def chatty() -> FakeEngine:
    """The fake engine with a chat template."""
    engine = FakeEngine()
    template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}</>{% endfor %}<assistant>"
    engine.info = replace(engine.info, chat_template=template)
    return engine


def test_an_answer_is_pooled_within_its_chat_and_nothing_else_is() -> None:
    engine = chatty()
    (found,) = capture(engine, [Exchange("Hi", "Good day.")], [2], "answer")
    opening = engine.encode("<user>Hi</><assistant>", template=True)
    whole = engine.encode("<user>Hi</><assistant>Good day.", template=True)
    np.testing.assert_array_equal(found.ids, whole)
    every = engine.forward([Row(whole)], [2])[0].residuals[0]  # (n, width)
    np.testing.assert_allclose(found.residuals[0], every[len(opening) :].mean(axis=0), atol=1e-5)


def test_the_same_answer_to_another_prompt_is_another_residual() -> None:
    first, second = pooled(chatty(), [Exchange("Hi", "Yes."), Exchange("Go away", "Yes.")], [3], "answer")
    assert not np.allclose(first, second)


def test_a_text_without_a_prompt_has_no_answer_to_pool() -> None:
    with pytest.raises(UsageError, match="these texts have no prompt"):
        pooled(chatty(), ["Yes."], [0], "answer")


def test_a_limit_that_cuts_a_whole_answer_away_is_refused() -> None:
    with pytest.raises(UsageError, match="none of its answer"):
        pooled(chatty(), [Exchange("A prompt of some length", "Yes.")], [0], "answer", limit=10)


def test_a_base_model_has_no_chat_to_answer_in() -> None:
    engine = FakeEngine()
    engine.info = replace(engine.info, chat_template=None)
    with pytest.raises(UsageError, match="no chat template"):
        pooled(engine, [Exchange("Hi", "Yes.")], [0], "answer")
