"""Streams of the llama.cpp engine that rows join: cells, sequences, the control vector, windows and failures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from localprobe.engine import FloatArray, IntArray, Prompt, Reserve, Row, Sampler, Step, Stream, Term, Watch
from localprobe.errors import OutOfMemory, UsageError
from localprobe.testing.tiny import tiny_gguf
from localprobe.testing.tiny.configs import WINDOW

pytest.importorskip("llama_cpp")

import llama_cpp

from localprobe_llama import pool
from localprobe_llama.context import Context
from localprobe_llama.engine import LlamaEngine
from localprobe_llama.joining import JoinableStream
from tests.backends.llama_models import SUMS_IN_FLOAT16, TEXT, load, tiny_mamba
from tests.backends.test_llama_long_context import SHORT, write

GREEDY = Sampler(temperature=0)
RESERVE = Reserve(rows=6, tokens=250, longest=120)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaEngine]:
    engine = load(tiny_gguf("llama", tmp_path_factory.mktemp("llama") / "tiny.gguf"))
    yield engine
    engine.close()


@pytest.fixture
def small_caches(engine: LlamaEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Caches of no more cells than llama.cpp rounds to, so that a reserve of 250 tokens fills one."""
    monkeypatch.setattr(pool, "_GRAIN", 256)
    engine._pool.close()


def ids(engine: LlamaEngine, length: int, skip: int = 0) -> IntArray:
    return np.resize(np.roll(engine.encode(TEXT), -skip), length)


def unit(engine: LlamaEngine, seed: int) -> FloatArray:
    vector = np.random.default_rng(seed).normal(size=engine.info.width)
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


def opened(engine: LlamaEngine, reserve: Reserve = RESERVE, watch: tuple[Watch, ...] = ()) -> JoinableStream:
    stream = engine.open([], room=1, watch=watch, reserve=reserve)
    assert isinstance(stream, JoinableStream)
    return stream


def steps(stream: Stream, count: int, rows: int = 1) -> list[Step]:
    return [stream.step(np.full(rows, 0.5)) for _ in range(count)]


def right(engine: LlamaEngine, prompt: Prompt, played: list[Step], row: int = 0) -> None:
    """Assert that a row's log-probabilities are those of one pass over it, but for the order of sums."""
    answer = np.array([step.ids[row] for step in played], np.int32)
    first = len(prompt.ids) - 1
    targets = np.array([(first + number, token) for number, token in enumerate(answer)], np.int32)
    whole = Row(np.concatenate([prompt.ids, answer]), prompt.steering, targets=targets)
    expected = engine.forward([whole])[0].targets
    actual = [step.logprobs[row] for step in played]
    np.testing.assert_allclose(actual, expected, rtol=0, atol=SUMS_IN_FLOAT16.logprob)


@pytest.mark.usefixtures("small_caches")
def test_scattered_cells_serve_a_long_row(engine: LlamaEngine) -> None:
    """Rows of thirty cells, every other one dropped, and then a row of all that are left."""
    stream = opened(engine, Reserve(rows=8, tokens=256, longest=160))
    assert stream._open().cells == 256
    few = [Prompt(ids(engine, 25, skip), sampler=GREEDY) for skip in range(8)]
    stream.join(few, 7)
    steps(stream, 7, rows=8)
    stream.settle()
    stream.drop([0, 2, 4, 6])
    long = Prompt(ids(engine, 118, 3), sampler=GREEDY)
    stream.join([long], 10)
    stream.drop(range(4))
    right(engine, long, steps(stream, 10))
    stream.settle()
    stream.close()


@pytest.mark.usefixtures("small_caches")
def test_a_cache_without_cells_is_out_of_memory_and_the_others_go_on(engine: LlamaEngine) -> None:
    stream = opened(engine)
    stream._reserve = Reserve(6, 10_000, 120)  # more than the cache holds, so that llama.cpp has to say so
    prompt = Prompt(ids(engine, 90), sampler=GREEDY)
    stream.join([prompt], 20)
    played = steps(stream, 2)
    free = len(stream._free)
    with pytest.raises(OutOfMemory, match="the cache of 256 tokens has no place for 90 more"):
        stream.join([replace(prompt, ids=ids(engine, 90, 1)), replace(prompt, ids=ids(engine, 90, 2))], 20)
    assert len(stream._free) == free
    right(engine, prompt, [*played, *steps(stream, 4)])
    stream.join([replace(prompt, ids=ids(engine, 90, 1))], 20)
    stream.close()


def test_a_failed_pass_leaves_the_other_rows_bit_for_bit(engine: LlamaEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = (Watch(2, unit(engine, 9)),)
    first, second = (Prompt(ids(engine, n), (Term(1, unit(engine, n)),), GREEDY) for n in (9, 14))
    played = []
    for fails in (False, True):
        stream = opened(engine, watch=watch)
        stream.join([first], 20)
        own = steps(stream, 3)
        decode = Context.decode

        def fail(self: Context, tokens: IntArray, *rest: Any, decode: Any = decode) -> None:
            decode(self, tokens, *rest)
            if len(tokens) > 1:
                self.forget(int(rest[1][0]))
                raise OutOfMemory("none left")

        if fails:
            with monkeypatch.context() as patch, pytest.raises(OutOfMemory, match="none left"):
                patch.setattr(Context, "decode", fail)
                stream.join([second], 20)
            with monkeypatch.context() as patch, pytest.raises(OutOfMemory, match="none left"):
                patch.setattr(Context, "decode", fail)
                stream.prefill(second)
            assert len(stream._free) == stream._open().rows - 1
        played.append([*own, *steps(stream, 5)])
        stream.close()
    for one, other in zip(*played, strict=True):
        np.testing.assert_array_equal(one.ids, other.ids)
        np.testing.assert_array_equal(one.logprobs, other.logprobs)
        np.testing.assert_array_equal(one.scores, other.scores)


def test_rows_steered_alike_join_without_a_new_control_vector(
    engine: LlamaEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[object] = []
    plain = llama_cpp.llama_set_adapter_cvec

    def counted(*arguments: Any) -> int:
        calls.append(arguments)
        code: int = plain(*arguments)
        return code

    monkeypatch.setattr(llama_cpp, "llama_set_adapter_cvec", counted)
    up, down = Term(1, unit(engine, 0)), Term(1, -unit(engine, 0))
    stream = opened(engine)
    for n in (4, 7, 5):
        stream.join([Prompt(ids(engine, n), (up,), GREEDY)], 12)
        steps(stream, 2, len(stream._rows))
    stream.drop([1])
    assert stream._open()._control.keys() == {1}
    assert len(calls) == 1
    stream.join([Prompt(ids(engine, 6), (down,), GREEDY)], 8)  # now they differ: edits for all
    steps(stream, 2, 3)
    assert stream._edits.keys() == {1}
    assert len(calls) == 2
    for piece in (5, 9):  # held positions steered in another way, in pieces
        stream.prefill(Prompt(ids(engine, piece), (down,)))
        steps(stream, 1, 3)
    assert len(calls) == 2
    stream.close()


def test_watching_the_top_block_later_needs_no_larger_context(engine: LlamaEngine) -> None:
    """Its residual is computed for outputs only, of which the context has few: the prompt is run in pieces."""
    stream = opened(engine)
    assert stream._open().outputs == 32
    top = engine.info.layers - 1
    stream.watch([Watch(top, unit(engine, 1))])
    prompt = Prompt(ids(engine, 60), (Term(top, unit(engine, 2), 40),), GREEDY)
    (scores,) = stream.join([prompt], 8)
    expected = engine.forward([Row(prompt.ids, prompt.steering)], [top])[0].residuals[0] @ unit(engine, 1)
    np.testing.assert_allclose(scores[:, 0], expected, rtol=0, atol=2e-3)
    right(engine, prompt, steps(stream, 4))
    stream.close()


def test_more_rows_than_llama_cpp_has_sequences_are_refused(engine: LlamaEngine) -> None:
    with pytest.raises(OutOfMemory, match="at most 256 rows at once, not 257"):
        engine.open([], room=2, reserve=Reserve(257, 2000, 20))


def test_a_stream_without_rows_has_no_step(engine: LlamaEngine) -> None:
    stream = opened(engine)
    with pytest.raises(UsageError, match="no rows to decode"):
        stream.step(np.empty(0))
    stream.join([Prompt(ids(engine, 5), sampler=GREEDY)], 4)
    steps(stream, 1)
    stream.drop([0])
    assert stream.settle().shape == (0, 0)
    prompt = Prompt(ids(engine, 7), sampler=GREEDY)
    stream.join([prompt], 4)
    right(engine, prompt, steps(stream, 3))
    stream.close()


def test_another_stream_resumes_its_rows(engine: LlamaEngine) -> None:
    old = opened(engine)
    old.prefill(Prompt(ids(engine, 9)))
    old.join([Prompt(ids(engine, 12), sampler=GREEDY)], 8)
    steps(old, 3)
    prompt = Prompt(ids(engine, 20), sampler=GREEDY, keep=12)
    stream = engine.open([prompt], room=6, reuse=old)
    right(engine, prompt, steps(stream, 5))
    stream.close()


def test_the_reserve_says_which_rope_factors_rows_have(tmp_path: Path) -> None:
    engine = load(write(tmp_path / "long.gguf"))
    for length, reserve in ((30, Reserve(3, SHORT, SHORT)), (SHORT + 5, Reserve(2, SHORT + 100, SHORT + 60))):
        prompt = Prompt(ids(engine, length), sampler=GREEDY)
        stream = opened(engine, reserve)
        piece = stream.prefill(replace(prompt, ids=prompt.ids[:20]))  # short itself, and the beginning of a long row
        stream.join([replace(prompt, keep=20, held=piece.number)], 9)
        right(engine, prompt, steps(stream, 4))
        stream.close()
    with pytest.raises(OutOfMemory, match=f"past {SHORT}, llama.cpp computes this model as a long-context one"):
        opened(engine, Reserve(8, 2 * SHORT, 100))
    engine.close()


def test_positions_that_a_window_has_passed_are_computed_again(tmp_path: Path) -> None:
    """llama.cpp writes over them in blocks with a sliding window; a row that keeps fewer than are held needs them."""
    engine = load(tiny_gguf("gemma3_text", tmp_path / "tiny.gguf"))
    assert engine._model.window == WINDOW
    length = 5 * WINDOW
    text = Prompt(ids(engine, length), sampler=GREEDY)
    stream = opened(engine, Reserve(6, 1000, 200))
    first, held = stream.prefill(Prompt(ids(engine, 9))), stream.prefill(text)
    stream.release(first.number)
    stream.join([Prompt(ids(engine, 40, 5), sampler=GREEDY)], 60)  # begins in cells before those that are held
    for keep in (length, 3 * WINDOW):
        prompt = replace(text, ids=np.append(text.ids[:keep], ids(engine, 7, 2)), keep=keep, held=held.number)
        context = stream._open()
        kept = context.begin(stream._held[held.number].sequence, 5, keep)
        assert kept == (keep if keep == length else 0)
        context.forget(5)
        (scores,) = stream.join([prompt], 8)
        assert scores.shape == (7, 0)
        right(engine, prompt, steps(stream, 4, len(stream._rows)), len(stream._rows) - 1)
        stream.drop([len(stream._rows) - 1])
    stream.close()
    engine.close()


def test_a_recurrent_state_is_held_whole_or_computed_again(tmp_path: Path) -> None:
    engine = load(tiny_mamba(tmp_path / "mamba.gguf"))
    stream = opened(engine)
    prompt = Prompt(ids(engine, 12), sampler=GREEDY)
    stream.join([prompt], 20)
    played = steps(stream, 4)
    stream.settle()
    answer = np.array([step.ids[0] for step in played], np.int32)
    whole, part = stream.hold(0, 16), stream.hold(0, 10)
    steps(stream, 3)  # the row goes on from a state of its own
    assert [stream._held[number].length for number in (whole, part)] == [16, 0]
    for held, keep in ((whole, 16), (whole, 14), (part, 10)):
        text = np.concatenate([prompt.ids, answer])[:keep]
        later = Prompt(np.append(text, ids(engine, 5, 3)), sampler=GREEDY, keep=keep, held=held)
        (scores,) = stream.join([later], 8)
        assert scores.shape == (5, 0)
        right(engine, later, steps(stream, 3, 2), 1)
        stream.drop([1])
    stream.close()
    engine.close()
