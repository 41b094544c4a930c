"""Operators through llama.cpp's callback: at every kind of position, alone and mixed in one batch, in memory of this
process and of a GPU, and through errors and Ctrl-C."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from localprobe.edits import edited
from localprobe.engine import FloatArray, Output, Prompt, Row, Sampler, Steering, Step, Term, Watch
from localprobe.testing.contract.base import middle, strong_delta, text_ids
from localprobe.testing.contract.operators import OPERATORS, ablated, capped, rescaled
from localprobe.testing.tiny import tiny_gguf

pytest.importorskip("llama_cpp")

from localprobe_llama import library
from localprobe_llama import stream as streams
from localprobe_llama.edits import Edit, Move
from localprobe_llama.engine import LlamaEngine
from localprobe_llama.steering import steps
from tests.backends.llama_models import load, row
from tests.bundled import smollm2

PROMPT, LENGTH = 6, 9
SPANS = {"all": (0, None), "from the middle": (4, None), "one": (4, 5), "response": (PROMPT - 1, None)}
ROUNDING = 1e-5
"""Of float32 sums over a few hundred numbers, relative to a residual."""
MANY = 16


@pytest.fixture(
    scope="module", params=["llama", "gemma3_text", pytest.param("smollm2", marks=[pytest.mark.real, pytest.mark.slow])]
)
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaEngine]:
    name = request.param
    path = smollm2() if name == "smollm2" else tiny_gguf(name, tmp_path_factory.mktemp(name) / "tiny.gguf")
    engine = load(path)
    yield engine
    engine.close()


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[LlamaEngine]:
    engine = load(tiny_gguf("llama", tmp_path / "tiny.gguf"))
    yield engine
    engine.close()


def term(engine: LlamaEngine, name: str, span: str, layer: int | None = None) -> Term:
    at = middle(engine) if layer is None else layer
    made = Term(at, strong_delta(engine, at)) if name == "add" else OPERATORS[name][1](engine, at)
    start, stop = SPANS[span]
    return replace(made, start=start, stop=stop)


def mixed(engine: LlamaEngine) -> list[Steering]:
    """Sixteen rows: each operator at each kind of position, in turn."""
    names, spans = ["add", *OPERATORS], list(SPANS)
    return [(term(engine, names[n % len(names)], spans[(n + n // 8) % len(spans)]),) for n in range(MANY)]


def batch(engine: LlamaEngine, steerings: Sequence[Steering]) -> list[Output]:
    rows = [Row(text_ids(engine, n, LENGTH), steering, full=(LENGTH - 1,)) for n, steering in enumerate(steerings)]
    return engine.forward(rows, range(engine.info.layers))


def assert_steered(plain: FloatArray, steered: FloatArray, term: Term) -> None:
    """Residuals (layers, n, width): as the reference says at the layer of the term, and untouched before it."""
    covered = np.array([term.covers(position) for position in range(plain.shape[1])])
    expected = edited(plain[term.layer, covered], term)
    distance = np.linalg.norm(steered[term.layer, covered] - expected, axis=-1)
    assert (distance <= ROUNDING * np.linalg.norm(plain[term.layer, covered], axis=-1)).all()
    np.testing.assert_array_equal(steered[term.layer, ~covered], plain[term.layer, ~covered])
    np.testing.assert_array_equal(steered[: term.layer], plain[: term.layer])
    assert not np.array_equal(steered[term.layer + 1 :], plain[term.layer + 1 :])


def assert_same(one: Sequence[Output], other: Sequence[Output]) -> None:
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a.residuals, b.residuals)
        np.testing.assert_array_equal(a.full, b.full)


@pytest.mark.parametrize("name", ["add", *OPERATORS])
@pytest.mark.parametrize("span", SPANS)
def test_an_operator_alone_edits_its_positions_as_the_reference_does(engine: LlamaEngine, name: str, span: str) -> None:
    (plain,), (steered,) = batch(engine, [()]), batch(engine, [(term(engine, name, span),)])
    assert_steered(plain.residuals, steered.residuals, term(engine, name, span))


def test_sixteen_rows_with_operators_of_their_own_are_edited_as_the_reference_does(engine: LlamaEngine) -> None:
    steerings = mixed(engine)
    plain, steered = batch(engine, [()] * MANY), batch(engine, steerings)
    for one, other, (own,) in zip(plain, steered, steerings, strict=True):
        assert_steered(one.residuals, other.residuals, own)


def test_a_row_of_sixteen_is_the_same_bits_whatever_is_done_to_the_others(engine: LlamaEngine) -> None:
    """A batch of one size keeps llama.cpp to the same kernels."""
    steerings = mixed(engine)
    together = batch(engine, steerings)
    for number in range(0, MANY, 3):
        alone = batch(engine, [own if n == number else () for n, own in enumerate(steerings)])
        assert_same([together[number]], [alone[number]])


def decoded(engine: LlamaEngine, steerings: Sequence[Steering], tokens: int = 5) -> list[Step]:
    """Steps of a batch of prompts, with the coordinate at the edited layer and above it watched."""
    layers = (middle(engine), engine.info.layers - 1)
    watch = [Watch(layer, strong_delta(engine, layer, 5)) for layer in layers]
    prompts = [Prompt(text_ids(engine, n, PROMPT), own, Sampler(1.0)) for n, own in enumerate(steerings)]
    stream = engine.open(prompts, room=tokens, watch=watch)
    drawn = [stream.step(np.full(len(prompts), 0.5)) for _ in range(tokens)]
    stream.close()
    return drawn


def test_a_row_decodes_to_the_same_bits_whatever_is_done_to_the_others(engine: LlamaEngine) -> None:
    """Rows that follow each other are edited by one call, and here each has other neighbours."""
    steerings = [*mixed(engine)[: MANY - 3], *[(ablated(engine, middle(engine), share=s),) for s in (0.3, 0.6, 1.0)]]
    together = decoded(engine, steerings)
    for number in (0, 2, 5, 11, MANY - 2):
        alone = decoded(engine, [own if n == number else () for n, own in enumerate(steerings)])
        for one, other in zip(together, alone, strict=True):
            for field in ("ids", "logprobs", "scores"):
                np.testing.assert_array_equal(getattr(one, field)[number], getattr(other, field)[number])


def test_steps_follow_spans_that_begin_and_end_between_them(
    fresh: LlamaEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is planned for a step serves the next ones, until a span begins or ends, or the steering is changed."""
    layer = middle(fresh)
    spans = (replace(ablated(fresh, layer), start=PROMPT + 1, stop=PROMPT + 4), rescaled(fresh, layer))
    plans: list[int] = []

    def noted(rows: Sequence[tuple[Steering, int]]) -> tuple[Mapping[int, Sequence[Edit]], int]:
        plans.append(rows[0][1])
        return steps(rows)

    monkeypatch.setattr(streams, "steps", noted)
    watch = [Watch(layer, strong_delta(fresh, layer, 5))]
    stream = fresh.open([Prompt(text_ids(fresh, 0, PROMPT), spans, Sampler(1.0))], room=8, watch=watch)
    drawn = [stream.step(np.array([0.5])) for _ in range(8)]
    last = stream.settle()
    stream.close()
    ids = np.concatenate([text_ids(fresh, 0, PROMPT), *[step.ids for step in drawn]])
    (whole,) = fresh.forward([Row(ids, spans)], [layer])
    expected = whole.residuals[0, PROMPT:] @ watch[0].vector
    scores = np.concatenate([*[step.scores for step in drawn[1:]], last])[:, 0]
    size = np.linalg.norm(whole.residuals[0], axis=-1).max() * np.linalg.norm(watch[0].vector)
    np.testing.assert_allclose(scores, expected, atol=1e-3 * size)
    assert plans == [PROMPT, PROMPT + 1, PROMPT + 4]


def test_memory_of_a_gpu_is_copied_and_copied_back_to_the_same_bits(
    engine: LlamaEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert library.on_host()
    here, drawn = batch(engine, mixed(engine)), decoded(engine, mixed(engine))
    copies: list[int] = []
    put = library.tensor_set

    def counted(*arguments: Any) -> None:
        copies.append(1)
        put(*arguments)

    engine._pool.close()
    with monkeypatch.context() as patch:
        patch.setattr(library, "on_host", lambda: False)
        patch.setattr(library, "tensor_set", counted)
        assert_same(batch(engine, mixed(engine)), here)
        for one, other in zip(decoded(engine, mixed(engine)), drawn, strict=True):
            np.testing.assert_array_equal(one.ids, other.ids)
            np.testing.assert_array_equal(one.scores, other.scores)
        assert copies
        engine._pool.close()


def test_a_control_vector_serves_rows_that_only_add(fresh: LlamaEngine) -> None:
    layer = middle(fresh)
    add = Term(layer, strong_delta(fresh, layer))
    finished = replace(ablated(fresh, layer), stop=3)  # over before the first step
    stream = fresh.open([Prompt(text_ids(fresh, 0, PROMPT), (add, finished), Sampler(0))], room=4)
    assert set(stream._open()._control) == {layer}
    stream.steer(0, (add, capped(fresh, layer, 0.0, 0.1)))
    assert not stream._open()._control
    stream.close()


def everywhere(engine: LlamaEngine) -> Steering:
    return tuple(ablated(engine, layer) for layer in range(engine.info.layers))


def test_an_error_in_an_edit_is_raised_after_the_pass_and_the_step_can_be_run_again(
    fresh: LlamaEngine, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    ids = text_ids(fresh, 0, PROMPT)
    undisturbed = decoded(fresh, [everywhere(fresh)] * 2)
    before = fresh.forward([Row(ids, everywhere(fresh), full=(0,))], [1])

    def fail(*_: object) -> None:
        raise MemoryError("no memory for a sum")

    prompts = [Prompt(text_ids(fresh, n, PROMPT), everywhere(fresh), Sampler(1.0)) for n in range(2)]
    stream = fresh.open(prompts, room=5)
    drawn = [stream.step(np.full(2, 0.5)) for _ in range(2)]
    with monkeypatch.context() as patch:
        patch.setattr(Move, "__call__", fail)
        with pytest.raises(MemoryError, match="no memory for a sum"):
            stream.step(np.full(2, 0.5))
        with pytest.raises(MemoryError, match="no memory for a sum"):
            fresh.forward([Row(ids, everywhere(fresh), full=(0,))], [1])
    drawn += [stream.step(np.full(2, 0.5)) for _ in range(3)]
    stream.close()
    for one, other in zip(drawn, undisturbed, strict=True):
        np.testing.assert_array_equal(one.ids, other.ids)
        np.testing.assert_array_equal(one.logprobs, other.logprobs)
    assert_same(fresh.forward([Row(ids, everywhere(fresh), full=(0,))], [1]), before)
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("signals_heard")
def test_ctrl_c_in_an_edit_ends_the_pass_and_leaves_the_engine_usable(
    fresh: LlamaEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    steered = replace(row(fresh), steering=everywhere(fresh), full=(0,))
    before = fresh.forward([steered], [0, 3])
    edit, edits = Move.__call__, []

    def interrupt(move: Move, hidden: FloatArray) -> None:
        edits.append(len(hidden))
        if len(edits) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        edit(move, hidden)

    with monkeypatch.context() as patch:
        patch.setattr(Move, "__call__", interrupt)
        with pytest.raises(KeyboardInterrupt):
            fresh.forward([steered], [0, 3])
    assert len(edits) == 2
    assert_same(fresh.forward([steered], [0, 3]), before)
