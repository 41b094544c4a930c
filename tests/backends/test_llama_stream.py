"""Streams of the llama.cpp engine: room, caches that grow and are handed on, copies, and which way they are steered."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from localprobe.engine import FloatArray, IntArray, Prompt, Row, Sampler, Step, Term, Watch
from localprobe.errors import OutOfMemory, UsageError
from localprobe.fake import FakeEngine
from localprobe.testing.tiny import GGUF_ARCHITECTURES, tiny_gguf

pytest.importorskip("llama_cpp")

from localprobe_llama import pool
from localprobe_llama.engine import LlamaEngine
from localprobe_llama.stream import LlamaStream
from tests.backends.llama_models import TEXT, load, row, tiny_mamba
from tests.bundled import smollm2

GREEDY = Sampler(temperature=0)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaEngine]:
    engine = load(tiny_gguf("llama", tmp_path_factory.mktemp("llama") / "tiny.gguf"))
    yield engine
    engine.close()


def ids(engine: LlamaEngine, length: int, skip: int = 0) -> IntArray:
    return row(engine).ids[skip : skip + length]


def unit(engine: LlamaEngine, seed: int) -> FloatArray:
    vector = np.random.default_rng(seed).normal(size=engine.info.width)
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


def play(stream: LlamaStream, steps: int, rows: int = 1) -> list[Step]:
    uniforms = np.random.default_rng(0).random((steps, rows))
    return [stream.step(uniforms[number]) for number in range(steps)]


def same(one: Sequence[Step], other: Sequence[Step]) -> None:
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a.ids, b.ids)
        np.testing.assert_array_equal(a.logprobs, b.logprobs)
        np.testing.assert_array_equal(a.scores, b.scores)


def test_a_row_without_room_is_an_error_and_the_others_go_on(engine: LlamaEngine) -> None:
    stream = engine.open([Prompt(ids(engine, 5), sampler=GREEDY)], room=2)
    play(stream, 3)
    with pytest.raises(UsageError, match="row 0 is full at 7 tokens: open the stream with more room"):
        stream.step(np.array([0.5]))
    stream.close()


def test_more_rows_than_llama_cpp_decodes_at_once(engine: LlamaEngine) -> None:
    with pytest.raises(OutOfMemory, match="at most 256 rows at once, not 257"):
        engine.open([Prompt(ids(engine, 5), copies=257)], room=2)
    stream = engine.open([Prompt(ids(engine, 5), sampler=GREEDY, copies=256)], room=2)
    assert len(set(play(stream, 3, 256)[-1].ids.tolist())) == 1
    stream.close()


def test_copies_decode_bit_for_bit_as_prompts_of_their_own(engine: LlamaEngine) -> None:
    prompt = Prompt(ids(engine, 9), (Term(1, unit(engine, 1), 3),), Sampler(1.0))
    watch = [Watch(2, unit(engine, 2))]
    shared = engine.open([Prompt(prompt.ids, prompt.steering, prompt.sampler, copies=3)], room=6, watch=watch)
    apart = engine.open([prompt] * 3, room=6, watch=watch)
    same(play(shared, 6, 3), play(apart, 6, 3))
    shared.close()
    apart.close()


def test_a_cache_too_small_for_the_next_turn_is_moved_to_a_larger_one(
    engine: LlamaEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = [Watch(3, unit(engine, 0))]
    both = []
    for grain in (64, 1024):  # cells come in these steps: the first must move between the turns, the second need not
        monkeypatch.setattr(pool, "_GRAIN", grain)
        engine._pool.close()
        old = engine.open([Prompt(ids(engine, 20), sampler=Sampler(1.0))], room=6, watch=watch)
        answer = np.array([step.ids[0] for step in play(old, 5)], np.int32)
        before = old._context
        text = np.concatenate([ids(engine, 20), answer, np.resize(ids(engine, 20), 200)])
        stream = engine.open([Prompt(text, sampler=Sampler(1.0), keep=24)], room=31, watch=watch, reuse=old)
        moved = stream._context is not before
        both.append((moved, stream.prompt_scores[0], play(stream, 8)))
        stream.close()
    (moved, scores, steps), (stayed, other_scores, other_steps) = both
    assert moved
    assert not stayed
    np.testing.assert_array_equal(scores, other_scores)
    same(steps, other_steps)


@pytest.mark.parametrize("architecture", GGUF_ARCHITECTURES)
def test_after_a_drop_a_row_is_computed_bit_for_bit_as_if_it_were_alone(architecture: str, tmp_path: Path) -> None:
    """No tolerance: passes over one row take one kernel, and attention sums over the row's own cells in their order.
    Were the cells of dropped rows freed, new tokens would take places before the row's earlier ones."""
    engine = load(tiny_gguf(architecture, tmp_path / "tiny.gguf"))
    first, kept, last = (Prompt(ids(engine, n), sampler=GREEDY) for n in (3, 9, 6))
    alone = engine.open([kept], room=9)
    stream = engine.open([first, kept, last], room=9)
    stream.drop([0, 2])
    same(play(stream, 9), play(alone, 9))
    stream.close()
    alone.close()
    engine.close()


def test_one_steering_for_all_rows_goes_through_the_control_vector(engine: LlamaEngine) -> None:
    up, down = Term(1, unit(engine, 0)), Term(1, -unit(engine, 0))
    stream = engine.open([Prompt(ids(engine, n), (up,), GREEDY) for n in (4, 7)], room=8)
    assert stream._context is not None
    assert stream._context._control.keys() == {1}
    play(stream, 2, 2)
    assert not stream._edits
    stream.steer(0, (down,))
    assert not stream._context._control
    play(stream, 2, 2)
    assert stream._edits.keys() == {1}
    stream.drop([1])
    np.testing.assert_array_equal(stream._context._control[1], down.delta)
    stream.close()
    late = engine.open([Prompt(ids(engine, 6), (Term(1, up.delta, 5),), GREEDY)], room=4)
    play(late, 2, 1)
    assert not late._edits  # its prompt needed the callback, its answer does not
    late.close()


def test_an_unsteered_stream_after_a_steered_one_has_no_control_vector(engine: LlamaEngine) -> None:
    prompt = Prompt(ids(engine, 7), sampler=GREEDY)
    stream = engine.open([prompt], room=6)
    expected = play(stream, 5)
    stream.close()
    steered = engine.open([Prompt(prompt.ids, (Term(1, 50 * unit(engine, 0)),), GREEDY)], room=6)
    assert not np.array_equal(play(steered, 5)[-1].logprobs, expected[-1].logprobs)
    steered.close()
    stream = engine.open([prompt], room=6)
    same(play(stream, 5), expected)
    stream.close()


def test_contexts_are_kept_for_the_next_call_and_no_more_than_two(engine: LlamaEngine) -> None:
    engine._pool.close()
    streams = [engine.open([Prompt(ids(engine, 5), sampler=GREEDY)], room=3) for _ in range(4)]
    for stream in streams:
        stream.close()
    assert len(engine._pool._idle) == 2
    kept = engine._pool._idle[0]
    stream = engine.open([Prompt(ids(engine, 5), sampler=GREEDY)], room=3)
    assert stream._context is kept
    stream.close()


def test_a_stream_that_is_forgotten_frees_its_context(engine: LlamaEngine) -> None:
    stream = engine.open([Prompt(ids(engine, 5), sampler=GREEDY)], room=3)
    assert stream._context is not None
    freed = stream._context._finalize
    del stream
    gc.collect()
    assert not freed.alive


def test_closing_the_engine_closes_its_streams(tmp_path: Path) -> None:
    engine = load(tiny_gguf("qwen2", tmp_path / "tiny.gguf"))
    stream = engine.open([Prompt(ids(engine, 5), sampler=GREEDY)], room=3)
    engine.close()
    with pytest.raises(UsageError, match="stream is closed"):
        stream.step(np.array([0.5]))
    stream.close()


def test_a_stream_of_another_engine_cannot_be_gone_on_from(engine: LlamaEngine) -> None:
    other = FakeEngine().open([Prompt(np.array([5, 6], np.int32))], room=3)
    with pytest.raises(UsageError, match="only a stream of this engine"):
        engine.open([Prompt(ids(engine, 5), keep=2)], room=3, reuse=other)


def test_an_open_that_fails_closes_the_old_stream_and_keeps_the_engine(
    engine: LlamaEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = engine.open([Prompt(ids(engine, 5), sampler=GREEDY)], room=3)
    play(old, 2)
    with monkeypatch.context() as patch:
        patch.setattr(LlamaStream, "_prefill_one", lambda *_, **__: (_ for _ in ()).throw(OutOfMemory("none left")))
        with pytest.raises(OutOfMemory, match="none left"):
            engine.open([Prompt(ids(engine, 9), keep=3)], room=3, reuse=old)
    with pytest.raises(UsageError, match="closed"):
        old.step(np.array([0.5]))
    assert play(engine.open([Prompt(ids(engine, 5), sampler=GREEDY)], room=3), 2)


def test_a_recurrent_model_goes_on_from_its_whole_past_or_from_none(tmp_path: Path) -> None:
    engine = load(tiny_mamba(tmp_path / "mamba.gguf"))
    assert not engine._model.rewinds
    first, watch = ids(engine, 6), [Watch(1, unit(engine, 0))]
    for settled, keep in ((True, 9), (True, 7), (False, 8)):  # the whole cache, less of it, the whole again
        old = engine.open([Prompt(first, sampler=GREEDY)], room=4, watch=watch)
        answer = [step.ids[0] for step in play(old, 3)]
        if settled:
            old.settle()
        text = np.concatenate([first, np.array(answer, np.int32), ids(engine, 5, 8)])
        stream = engine.open([Prompt(text, sampler=GREEDY, keep=keep)], room=4, watch=watch, reuse=old)
        assert stream.prompt_scores[0].shape == (len(text) - keep, 1)
        expected = engine.forward([Row(text, full=(len(text) - 1,))], [1])[0]
        np.testing.assert_allclose(
            stream.prompt_scores[0][:, 0], expected.residuals[0, keep:] @ watch[0].vector, atol=1e-4
        )
        step = play(stream, 1)[0]
        assert step.logprobs[0] == pytest.approx(expected.full[0, step.ids[0]], abs=1e-4)
        stream.close()
    engine.close()


@pytest.mark.real
@pytest.mark.slow
def test_one_row_of_sixteen_decodes_bit_for_bit_as_in_other_company() -> None:
    engine = load(smollm2())
    whole = engine.encode(TEXT)
    direction = 40 * unit(engine, 0)
    prompts = [Prompt(whole[: 5 + n], (Term(15, (n - 8) / 8 * direction),), GREEDY) for n in range(16)]
    mixed = engine.open(prompts, room=12)
    plain = engine.open([Prompt(prompt.ids, sampler=GREEDY) for prompt in prompts], room=12)
    for one, other in zip(play(mixed, 12, 16), play(plain, 12, 16), strict=True):
        assert one.ids[8] == other.ids[8]  # alpha 0
        assert one.logprobs[8] == other.logprobs[8]
        assert not np.array_equal(one.logprobs, other.logprobs)
    mixed.close()
    plain.close()
    engine.close()
