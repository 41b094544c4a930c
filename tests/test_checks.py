"""Bad input is refused before it reaches an engine, by one line that names the value and the valid range."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from localprobe.checks import check_prompts, check_rows, check_text
from localprobe.engine import Capabilities, Prompt, Row, Sampler, Term, Watch
from localprobe.errors import LocalprobeError, UnsupportedModel, UsageError, VectorError
from localprobe.fake import FakeEngine
from localprobe.model import Model

INFO = FakeEngine("tiny", context=20).info  # 6 layers, width 32, ids 0 to 259
IDS = np.arange(5, dtype=np.int32)
ZERO = np.zeros(32, np.float32)
BROKEN = np.where(np.arange(32) == 3, np.nan, ZERO).astype(np.float32)


def test_what_is_fine_passes() -> None:
    steering = (Term(0, ZERO), Term(5, ZERO, 2, 4), Term(3, ZERO, 100, None), Term(3, ZERO, 2, 2))
    row = Row(IDS, steering, spans=((0, 5), (4, 5)), targets=np.array([[4, 259]], np.int32), full=(0, 4))
    check_rows(INFO, [row, Row(np.arange(20, dtype=np.int32))], [5, 0])
    check_prompts(INFO, [Prompt(IDS, steering, copies=3, keep=4)], room=15, watch=[Watch(5, ZERO)])
    check_rows(INFO, [], [])


def refused(line: str, *rows: Row, layers: tuple[int, ...] = (), error: type[LocalprobeError] = UsageError) -> None:
    with pytest.raises(error) as raised:
        check_rows(INFO, rows, layers)
    assert str(raised.value) == line


@pytest.mark.parametrize("ask", [lambda model: model.answer("a \ud83d b"), lambda model: model.capture(["a \ud83d b"])])
def test_half_a_character_never_reaches_a_tokenizer(ask: Callable[[Model], object]) -> None:
    check_text("the prompt", "café 😀", "")
    with Model(FakeEngine()) as model, pytest.raises(UsageError, match=r'holds "\\ud83d", half a character'):
        list(ask(model))  # type: ignore[call-overload]


def test_layers() -> None:
    refused("layer 6 is out of range: tiny has layers 0 to 5", Row(IDS), layers=(0, 6))
    refused("layer -1 is out of range: tiny has layers 0 to 5", Row(IDS), layers=(-1,))
    refused("layer 6 is out of range: tiny has layers 0 to 5", Row(IDS, (Term(6, ZERO),)))


def test_steering_vectors() -> None:
    refused(
        "the steering vector has width 31, but residuals of tiny have width 32",
        Row(IDS, (Term(0, ZERO[1:]),)),
        error=VectorError,
    )
    refused(
        "the steering vector has width (1, 32), but residuals of tiny have width 32",
        Row(IDS, (Term(0, ZERO[None]),)),
        error=VectorError,
    )
    refused("the steering vector holds NaN or infinity at index 3", Row(IDS, (Term(0, BROKEN),)), error=VectorError)
    refused(
        "the steering vector holds NaN or infinity at index 0",
        Row(IDS, (Term(0, ZERO + np.float32(np.inf)),)),
        error=VectorError,
    )
    refused("steered positions [3, 1) are not a span", Row(IDS, (Term(0, ZERO, 3, 1),)))
    refused("steered positions [-1, None) are not a span", Row(IDS, (Term(0, ZERO, -1),)))


def test_steering_that_this_engine_cannot_do() -> None:
    able = Capabilities(span_steering=False, first_layer=1)
    info = replace(INFO, capabilities=able)
    with pytest.raises(UsageError, match=r"^layer 0 cannot be steered by fake: the lowest that can is 1$"):
        check_rows(info, [Row(IDS, (Term(0, ZERO),))], [])
    with pytest.raises(UsageError, match=r"^fake can only steer all positions: give positions `all`$"):
        check_rows(info, [Row(IDS, (Term(1, ZERO, 2),))], [])
    check_rows(info, [Row(IDS, (Term(1, ZERO),))], [0])  # layer 0 may still be read


def test_a_model_that_keeps_another_state_is_captured_and_not_decoded() -> None:
    able = Capabilities(no_decoding="keeps a recurrent state (conv) that this engine cannot resume row by row")
    engine = FakeEngine("tiny", capabilities=able)
    line = (
        "tiny keeps a recurrent state (conv) that this engine cannot resume row by row: it can be captured, not decoded"
    )
    with pytest.raises(UnsupportedModel) as refused_prompt:
        check_prompts(engine.info, [Prompt(IDS)], 3)
    with pytest.raises(UnsupportedModel) as refused_open:
        engine.open([Prompt(IDS)], room=3)
    assert str(refused_prompt.value) == str(refused_open.value) == line
    check_rows(engine.info, [Row(IDS, (Term(1, ZERO),))], [0])


def test_ids() -> None:
    refused("the text is empty: it has no tokens", Row(IDS[:0]))
    refused("token id 260 is out of range: tiny has ids 0 to 259", Row(np.array([1, 260], np.int32)))
    refused("token id -1 is out of range: tiny has ids 0 to 259", Row(np.array([-1, 5], np.int32)))
    refused("the text has 21 tokens, but tiny has a context of 20: shorten it", Row(np.arange(21, dtype=np.int32)))


@pytest.mark.parametrize("span", [(0, 0), (3, 2), (0, 6), (-1, 2), (5, 6)])
def test_spans(span: tuple[int, int]) -> None:
    start, stop = span
    refused(f"positions [{start}, {stop}) are empty or outside the text, which has 5 tokens", Row(IDS, spans=(span,)))


def test_positions_and_targets() -> None:
    refused("position 5 is out of range: the text has positions 0 to 4", Row(IDS, full=(0, 5)))
    refused("position -1 is out of range: the text has positions 0 to 4", Row(IDS, full=(-1,)))
    refused("position 5 is out of range: the text has positions 0 to 4", Row(IDS, targets=np.array([[5, 0]], np.int32)))
    refused("token id 260 is out of range: tiny has ids 0 to 259", Row(IDS, targets=np.array([[4, 260]], np.int32)))


@pytest.mark.parametrize(
    ("line", "prompt", "room"),
    [
        ("the text has 5 tokens and an answer of up to 16, but tiny has a context of 20: shorten it", Prompt(IDS), 16),
        ("an answer needs room for at least 1 token, not 0", Prompt(IDS), 0),
        ("a prompt needs at least 1 copy, not 0", Prompt(IDS, copies=0), 1),
        ("cannot keep 5 of 5 positions: the last one is run again", Prompt(IDS, keep=5), 1),
        ("cannot keep -1 of 5 positions: the last one is run again", Prompt(IDS, keep=-1), 1),
        ("layer 6 is out of range: tiny has layers 0 to 5", Prompt(IDS, (Term(6, ZERO),)), 1),
        ("temperature must be 0 or more, not -1", Prompt(IDS, sampler=Sampler(-1)), 1),
        ("temperature must be 0 or more, not nan", Prompt(IDS, sampler=Sampler(float("nan"))), 1),
        ("top-k must be 0 (keep all) or more, not -1", Prompt(IDS, sampler=Sampler(1, top_k=-1)), 1),
        ("top-p must be above 0 and at most 1, not 0", Prompt(IDS, sampler=Sampler(1, top_p=0)), 1),
        ("min-p must be between 0 and 1, not 2", Prompt(IDS, sampler=Sampler(1, min_p=2)), 1),
    ],
)
def test_prompts(line: str, prompt: Prompt, room: int) -> None:
    with pytest.raises(UsageError) as raised:
        check_prompts(INFO, [Prompt(IDS[:1]), prompt], room)
    assert str(raised.value) == line


def test_watches() -> None:
    with pytest.raises(UsageError, match="layer 6 is out of range"):
        check_prompts(INFO, [Prompt(IDS)], 1, [Watch(6, ZERO)])
    with pytest.raises(VectorError, match="the watched vector has width 33, but residuals of tiny have width 32"):
        check_prompts(INFO, [Prompt(IDS)], 1, [Watch(0, np.zeros(33, np.float32))])
    with pytest.raises(VectorError, match="the watched vector holds NaN or infinity at index 3"):
        check_prompts(INFO, [Prompt(IDS)], 1, [Watch(0, BROKEN)])
