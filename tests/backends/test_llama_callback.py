"""Capture, additions and early stop in the eval callback: the same bits whichever way a pass goes."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from localprobe.engine import FloatArray, Output, Prompt, Row, Sampler, Steering, Term, Watch
from localprobe.errors import UnsupportedModel
from localprobe.testing.tiny import GGUF_ARCHITECTURES, tiny_gguf

pytest.importorskip("llama_cpp")

import llama_cpp

from localprobe_llama import forward as passes
from localprobe_llama.callback import Tap
from localprobe_llama.context import Context
from localprobe_llama.engine import LlamaEngine
from localprobe_llama.model import LlamaModel
from tests.backends.llama_models import TEXT, close, load, row
from tests.bundled import smollm2


@pytest.fixture(scope="module", params=[*GGUF_ARCHITECTURES, pytest.param("smollm2", marks=pytest.mark.real)])
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


def delta(engine: LlamaEngine, layer: int, seed: int = 0) -> FloatArray:
    """About as long as the residuals of its layer."""
    residual = engine.forward([row(engine, 9)], [layer])[0].residuals[0, 1:]
    direction = np.random.default_rng(seed).normal(size=engine.info.width)
    length = np.linalg.norm(residual, axis=-1).mean()
    return np.asarray(direction / np.linalg.norm(direction) * length, np.float32)


def run(engine: LlamaEngine, steering: Steering, layers: Sequence[int], *, controls: bool) -> list[Output]:
    """Two rows steered alike, through the control vector or through the callback."""
    one, other = row(engine, 9), row(engine, 5)
    rows = [replace(one, steering=steering, full=(0, 8)), replace(other, steering=steering, full=(4,))]
    could, engine._model.controls = engine._model.controls, controls
    try:
        return engine.forward(rows, layers)
    finally:
        engine._model.controls = could


def assert_equal(one: Sequence[Output], other: Sequence[Output]) -> None:
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a.residuals, b.residuals)
        np.testing.assert_array_equal(a.targets, b.targets)
        np.testing.assert_array_equal(a.full, b.full)


@pytest.mark.parametrize("where", ["one", "middle", "last", "two layers", "two terms"])
def test_the_control_vector_and_the_callback_steer_bit_for_bit_alike(engine: LlamaEngine, where: str) -> None:
    last = engine.info.layers - 1
    places = {"one": [1], "middle": [last // 2], "last": [last], "two layers": [1, last], "two terms": [2, 2]}[where]
    steering = tuple(Term(layer, delta(engine, layer, seed)) for seed, layer in enumerate(places))
    layers = range(engine.info.layers)
    controlled = run(engine, steering, layers, controls=True)
    added = run(engine, steering, layers, controls=False)
    assert_equal(controlled, added)
    plain = run(engine, (), layers, controls=True)
    assert not np.array_equal(plain[0].full, added[0].full)
    np.testing.assert_array_equal(plain[0].residuals[: places[0]], added[0].residuals[: places[0]])


def test_the_control_vector_is_used_where_it_can_be_and_only_there(
    fresh: LlamaEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    controls: list[set[int]] = []
    control = Context.control

    def spy(context: Context, deltas: dict[int, FloatArray]) -> None:
        controls.append(set(deltas))
        control(context, deltas)

    monkeypatch.setattr(Context, "control", spy)
    one, ids = delta(fresh, 1), row(fresh, 9).ids
    controls.clear()
    everywhere, span, bottom = (Term(1, one),), (Term(1, one, 2),), (Term(0, one),)
    for steerings in ([everywhere, everywhere], [everywhere, ()], [span, span], [bottom, bottom]):
        fresh.forward([Row(ids, steering) for steering in steerings], [2])
    assert controls == [{1}, set(), set(), set()]


def test_a_control_vector_that_does_nothing_is_found_out_at_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tiny_gguf("llama", tmp_path / "tiny.gguf")
    deaf = load(path)
    expected = run(deaf, (Term(2, delta(deaf, 2)),), [3], controls=True)
    deaf.close()
    monkeypatch.setattr(llama_cpp, "llama_set_adapter_cvec", lambda *_: 0)
    deaf = load(path)
    assert not deaf._model.controls
    assert_equal(run(deaf, (Term(2, delta(deaf, 2)),), [3], controls=deaf._model.controls), expected)
    deaf.close()


def test_a_stopped_pass_reads_the_same_bits_and_leaves_the_next_one_clean(engine: LlamaEngine) -> None:
    one = row(engine)
    whole = engine.forward([replace(one, full=(0, len(one.ids) - 1))], range(engine.info.layers))
    for layer in (0, engine.info.layers // 2, engine.info.layers - 1):
        (stopped,) = engine.forward([one], [layer])
        np.testing.assert_array_equal(stopped.residuals[0], whole[0].residuals[layer])
        assert_equal(engine.forward([replace(one, full=(0, len(one.ids) - 1))], range(engine.info.layers)), whole)


def test_steering_above_the_deepest_layer_asked_for_is_not_reached(fresh: LlamaEngine) -> None:
    one = row(fresh, 6)
    plain, steered = (
        fresh.forward([replace(one, steering=steering)], [1])
        for steering in ((), (Term(0, np.zeros(fresh.info.width, np.float32)), Term(3, delta(fresh, 3), 2)))
    )
    assert_equal(plain, steered)


def test_only_layers_that_are_needed_are_looked_at(fresh: LlamaEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int | None] = []
    at_layer = Tap._at_layer

    def spy(tap: Tap, node: int) -> bool:
        looked.append(tap.layer(node))
        return at_layer(tap, node)

    monkeypatch.setattr(Tap, "_at_layer", spy)
    one = row(fresh, 6)
    fresh.forward([one], [1])
    fresh.forward([replace(one, full=(5,))], [2, 0])
    fresh.forward([replace(one, full=(5,))])
    fresh.forward([replace(one, steering=(Term(1, np.ones(fresh.info.width, np.float32), 3),), full=(5,))], [3])
    assert looked == [1, 0, 2, 1, 3]


@pytest.mark.parametrize("shared", [False, True])
def test_a_row_longer_than_a_pass_goes_through_in_pieces(
    fresh: LlamaEngine, monkeypatch: pytest.MonkeyPatch, shared: bool
) -> None:
    ids = np.resize(row(fresh).ids, 23)
    last = fresh.info.layers - 1
    steering = (Term(last, delta(fresh, last), 3, 17), Term(0, delta(fresh, 0), 5), Term(1, delta(fresh, 1)))
    targets = np.array([[22, 7], [2, 3], [9, 1]], np.int32)
    long = Row(ids, steering, spans=((0, 23), (6, 10), (22, 23)), targets=targets, full=(8, 0))
    rows = [Row(ids[:3], full=(2,)), long, Row(ids[:6])] if shared else [long]
    layers = [last, 0, 2]
    whole = fresh.forward(rows, layers)
    fresh._pool.close()
    monkeypatch.setattr(LlamaModel, "batch", 8)
    for one, other in zip(fresh.forward(rows, layers), whole, strict=True):
        close(fresh, one, other)


def test_a_batch_that_llama_cpp_cuts_in_several_passes_is_put_together_in_order(
    fresh: LlamaEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = fresh.info.layers - 1
    steering = (Term(1, delta(fresh, 1), 2, 7), Term(last, delta(fresh, last), 6))
    rows = [replace(row(fresh, 9), steering=steering, full=(8, 1)), replace(row(fresh, 5), full=(2,))]
    layers = [0, 1, last]
    whole = fresh.forward(rows, layers)
    fresh._pool.close()
    create = llama_cpp.llama_init_from_model

    def cut(model: Any, params: Any) -> Any:
        params.n_ubatch = 4
        return create(model, params)

    monkeypatch.setattr(llama_cpp, "llama_init_from_model", cut)
    for one, other in zip(fresh.forward(rows, layers), whole, strict=True):
        close(fresh, one, other)
    with pytest.raises(UnsupportedModel, match="4 of 14 residuals"):
        fresh.forward([replace(row, full=()) for row in rows], [0])  # a stop ends all the passes: never half a result


def test_the_same_graph_is_known_by_its_nodes_and_another_by_its_names(
    fresh: LlamaEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    by_name = Tap.layer

    def spy(tap: Tap, node: int) -> int | None:
        asked.append(node)
        return by_name(tap, node)

    monkeypatch.setattr(Tap, "layer", spy)
    stream = fresh.open([Prompt(row(fresh, 9).ids, sampler=Sampler(0))], room=4, watch=[Watch(1, delta(fresh, 1))])
    counts = []
    for _ in range(4):
        asked.clear()
        stream.step(np.array([0.5]))
        counts.append(len(asked))
    stream.close()
    assert counts[0] == 0  # nothing is run
    assert counts[1] > 20  # a graph for one token
    assert counts[2:] == [2, 2]  # its first node, before which it is not known, and the residual that is wanted


@pytest.mark.parametrize(
    ("where", "name", "error"),
    [
        pytest.param(passes._Gathered, "take", MemoryError("no memory for a copy"), id="of a residual"),
        pytest.param(Tap, "layer", OverflowError("no such node"), id="of a question"),
    ],
)
def test_an_error_in_a_callback_is_raised_after_the_pass_and_the_engine_goes_on(
    where: type,
    name: str,
    error: Exception,
    fresh: LlamaEngine,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    before = fresh.forward([row(fresh)], [1, 2])

    def fail(*_: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(where, name, fail)
        with pytest.raises(type(error), match=str(error)):
            fresh.forward([row(fresh)], [1, 2])
    assert_equal(fresh.forward([row(fresh)], [1, 2]), before)
    assert capfd.readouterr() == ("", "")


def test_other_layers_are_wanted_of_the_graph_that_is_known(fresh: LlamaEngine) -> None:
    """A node that one pass skipped is read by the next, whether or not the graph is the same."""
    watch = [Watch(layer, delta(fresh, layer)) for layer in range(fresh.info.layers)]
    prompt = Prompt(row(fresh, 9).ids, sampler=Sampler(0))
    found = []
    for stream_watch in (watch, watch[:1], watch[2:], watch):
        stream = fresh.open([prompt], room=4, watch=stream_watch)
        found.append([stream.step(np.array([0.5])).scores for _ in range(4)])
        stream.close()
    whole = np.array(found[0][1:])  # (steps, rows, layers)
    for part, layers in zip(found[1:], (slice(1), slice(2, None), slice(None)), strict=True):
        np.testing.assert_array_equal(np.array(part[1:]), whole[..., layers])


class Interrupting(np.ndarray[Any, Any]):
    """A vector to watch that presses Ctrl-C, once, when a residual is projected on it."""

    armed = False

    def __rmatmul__(self, residual: Any) -> Any:
        if Interrupting.armed:
            Interrupting.armed = False
            os.kill(os.getpid(), signal.SIGINT)
        return residual @ np.asarray(self)


@pytest.mark.usefixtures("signals_heard")
def test_ctrl_c_ends_the_pass_and_leaves_the_engine_usable(
    fresh: LlamaEngine, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    before = fresh.forward([row(fresh)], [0, 3])
    take, taken = passes._Gathered.take, []

    def interrupt(gathered: Any, place: int, residual: FloatArray, start: int) -> None:
        taken.append(place)
        if len(taken) == 1:
            os.kill(os.getpid(), signal.SIGINT)
        take(gathered, place, residual, start)

    monkeypatch.setattr(passes._Gathered, "take", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fresh.forward([row(fresh)], [0, 3])
    assert taken == [0]
    assert_equal(fresh.forward([row(fresh)], [0, 3]), before)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("signals_heard")
def test_ctrl_c_in_a_step_can_be_stepped_over(fresh: LlamaEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = [Prompt(row(fresh, n).ids, sampler=Sampler(0)) for n in (9, 4)]
    stream = fresh.open(prompts, room=6, watch=[Watch(1, delta(fresh, 1))])
    undisturbed = [stream.step(np.full(2, 0.5)) for _ in range(5)]
    stream.close()

    stream = fresh.open(prompts, room=6, watch=[Watch(1, delta(fresh, 1))])
    stream._watch._vectors[1] = stream._watch._vectors[1].view(Interrupting)
    steps = [stream.step(np.full(2, 0.5)) for _ in range(2)]
    Interrupting.armed = True
    with pytest.raises(KeyboardInterrupt):
        stream.step(np.full(2, 0.5))
    steps += [stream.step(np.full(2, 0.5)) for _ in range(3)]
    stream.close()
    for one, other in zip(steps, undisturbed, strict=True):
        np.testing.assert_array_equal(one.ids, other.ids)
        np.testing.assert_array_equal(one.logprobs, other.logprobs)
        np.testing.assert_array_equal(one.scores, other.scores)


def test_an_architecture_that_names_no_residuals_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tap, "layer", lambda *_: None)
    with pytest.raises(UnsupportedModel, match=r"0 of 1 residuals at layer 0 \(tensor l_out-0\)"):
        load(tiny_gguf("llama", tmp_path / "tiny.gguf"))


def test_a_text_in_full_gives_the_same_ids(engine: LlamaEngine) -> None:
    assert engine.decode(row(engine).ids) == TEXT
