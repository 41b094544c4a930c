"""Rows that join a stream of MLX: what the contract suite cannot see from outside."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from localprobe.engine import Engine, LoadOptions, Prompt, Reserve, Row, Sampler, Stream, Term, Watch, Weights
from localprobe.errors import OutOfMemory, UsageError
from localprobe.testing.tiny import tiny_folder

if os.environ.get("LOCALPROBE_TEST_MLX") != "1":
    pytest.skip("needs a process of its own: LOCALPROBE_TEST_MLX=1", allow_module_level=True)
pytest.importorskip("mlx.core")

from localprobe_mlx import backend
from localprobe_mlx.cache import LayerCache
from localprobe_mlx.memory import Memory
from localprobe_mlx.network import Network
from tests.backends import rope_models
from tests.backends.rope_models import ORIGINAL, texts

pytestmark = pytest.mark.mlx
GREEDY = Sampler(0.0)
RESERVE = Reserve(rows=4, tokens=200, longest=50)
TEXTS = [np.arange(start, start + length, dtype=np.int32) for start, length in ((5, 6), (60, 9), (30, 4))]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = load(tiny_folder("llama", tmp_path_factory.mktemp("llama")))
    yield engine
    engine.close()


def load(folder: Path) -> Engine:
    return backend.load(Weights("tiny", folder, "folder", "tiny"), LoadOptions())


def watches(engine: Engine) -> list[Watch]:
    vectors = np.random.default_rng(0).standard_normal((3, engine.info.width)).astype(np.float32)
    return [Watch(layer, vector) for layer, vector in enumerate(vectors)]


def opened(engine: Engine, *ids: Any, watch: list[Watch] | None = None, room: int = 20) -> Stream:
    return engine.open([Prompt(own, sampler=GREEDY) for own in ids], room=room, watch=watch or [], reserve=RESERVE)


def steps(stream: Stream, count: int, rows: int) -> list[list[int]]:
    """Greedy tokens (steps, rows)."""
    return [stream.step(np.zeros(rows)).ids.tolist() for _ in range(count)]


def alone(engine: Engine, ids: Any, count: int, steering: tuple[Term, ...] = ()) -> list[int]:
    """Greedy tokens of a row in a stream of its own."""
    stream = engine.open([Prompt(ids, steering, GREEDY)], room=count)
    tokens = [token for (token,) in steps(stream, count, 1)]
    stream.close()
    return tokens


def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that gets the number of rows of every pass from now on."""
    rows: list[int] = []
    climb = Network.climb

    def counted(self: Network, ids: Any, *args: Any, **kwargs: Any) -> Any:
        rows.append(ids.shape[0])
        return climb(self, ids, *args, **kwargs)

    monkeypatch.setattr(Network, "climb", counted)
    return rows


def test_tokens_that_were_run_ahead_are_not_run_again(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = opened(engine, TEXTS[0])
    steps(stream, 2, 1)
    ran = passes(monkeypatch)
    stream.join([Prompt(TEXTS[1], sampler=GREEDY)], 20)
    assert ran == [1]  # the new prompt
    steps(stream, 1, 2)
    assert ran == [1, 2]
    stream.close()


def test_projections_read_before_need_no_other_run(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b, c = watches(engine)
    stream = opened(engine, TEXTS[0], watch=[a, b])
    expected = opened(engine, TEXTS[0], watch=[c, b, a])
    tokens, scores = [], []
    for watch, reruns in (([a, b], 0), ([b, a], 0), ([a], 0), ([], 0), ([c, a], 1), ([a, c, a], 0)):
        ran = passes(monkeypatch)
        stream.watch(watch)
        step = stream.step(np.zeros(1))
        assert len(ran) == reruns + 1  # and the run ahead of the next token
        monkeypatch.undo()
        right = dict(zip((c, b, a), expected.step(np.zeros(1)).scores[0], strict=True))
        np.testing.assert_allclose(step.scores[0], [right[own] for own in watch], rtol=1e-4, atol=1e-4)
        tokens.append(step.ids[0])
        scores.append(step.scores)
    assert tokens == alone(engine, TEXTS[0], 6)
    assert np.isnan(scores[0]).all() and not np.isnan(scores[-1]).any()
    stream.close()
    expected.close()


def test_steering_and_leaving_while_tokens_run_ahead(engine: Engine) -> None:
    delta = np.random.default_rng(1).standard_normal(engine.info.width).astype(np.float32)
    stream = opened(engine, TEXTS[0], TEXTS[1])
    first = steps(stream, 2, 2)
    stream.join([Prompt(TEXTS[2], sampler=GREEDY)], 20)
    second = steps(stream, 2, 3)
    late = Term(1, delta, start=len(TEXTS[2]) + 1)  # the token sampled last, which is being run, is its first
    stream.steer(2, (late,))
    stream.drop([0])
    third = steps(stream, 4, 2)
    assert [row[1] for row in first + second] + [row[0] for row in third] == alone(engine, TEXTS[1], 8)
    assert [row[2] for row in second] + [row[1] for row in third] == alone(engine, TEXTS[2], 6, (late,))
    stream.close()


def test_a_join_that_fails_leaves_the_others_as_they_are(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = watches(engine)[:1]
    stream = opened(engine, TEXTS[0], TEXTS[1], watch=watch)
    begun = steps(stream, 2, 2)
    append, calls = LayerCache.append, []

    def fail_at_the_third_layer(self: LayerCache, *args: Any) -> None:
        calls.append(args)
        if len(calls) == 3:
            raise RuntimeError("[malloc] Unable to allocate")
        append(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(LayerCache, "append", fail_at_the_third_layer)
        with pytest.raises(OutOfMemory, match="a cache with more rows does not fit into memory"):
            stream.join([Prompt(TEXTS[2])], 20)
    with monkeypatch.context() as patch:
        patch.setattr(Memory, "free", 1000)
        for call in (lambda: stream.join([Prompt(TEXTS[2])], 20), lambda: stream.hold(0, 6)):
            with pytest.raises(OutOfMemory, match=r"needs about 0.0 GB, but 0.0 GB are free"):
                call()
    step = stream.step(np.zeros(2))
    assert not np.isnan(step.scores).any(), "scores of the tokens that the failed join ran"
    going = [*begun, step.ids.tolist(), *steps(stream, 3, 2)]
    for row in range(2):
        assert [tokens[row] for tokens in going] == alone(engine, TEXTS[row], 6)
    stream.close()


def test_more_than_the_memory_is_not_reserved(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Memory, "free", 1000)
    with pytest.raises(OutOfMemory, match="4 rows with 200 tokens in all"):
        engine.open([], room=1, reserve=RESERVE)


def test_a_full_row_does_not_hold_up_the_others_until_it_is_run(engine: Engine) -> None:
    stream = opened(engine, TEXTS[0], room=3)
    stream.join([Prompt(TEXTS[1], sampler=GREEDY)], 20)
    tokens = steps(stream, 4, 2)  # the fourth token of the first row is beyond its room, and never run
    with pytest.raises(UsageError, match="row 0 has no room for another token"):
        stream.step(np.zeros(2))
    stream.drop([0])
    tokens += [[-1, token] for (token,) in steps(stream, 2, 1)]
    assert [row[1] for row in tokens] == alone(engine, TEXTS[1], 6)
    stream.close()


def test_rows_may_join_those_of_an_earlier_stream(engine: Engine) -> None:
    old = opened(engine, TEXTS[0])
    held = old.prefill(Prompt(TEXTS[1])).number
    (first,) = (tokens[0] for tokens in steps(old, 1, 1))
    ids = np.append(TEXTS[0], np.int32(first))
    stream = engine.open([Prompt(ids, sampler=GREEDY, keep=6)], room=20, reuse=old, reserve=RESERVE)
    stream.join([Prompt(TEXTS[2], sampler=GREEDY)], 20)
    assert [tokens[0] for tokens in steps(stream, 4, 2)] == alone(engine, TEXTS[0], 5)[1:]
    with pytest.raises(UsageError, match=f"holds no positions of number {held}"):
        stream.release(held)
    stream.close()


@pytest.mark.parametrize("long", [False, True], ids=["short", "long"])
def test_rows_and_pieces_are_on_the_side_of_the_reserve(long: bool, tmp_path: Path) -> None:
    engine = load(rope_models.write("longrope, Phi-3", tmp_path))
    length = ORIGINAL + 10 if long else ORIGINAL - 10
    ids, other = texts()[3][:length], texts()[3][::-1][: length + 3].copy()
    watch = [Watch(1, watches(engine)[1].vector)]
    longest = 120 if long else ORIGINAL
    stream = engine.open([], room=1, watch=watch, reserve=Reserve(3, 400, longest))
    stream.join([Prompt(other, sampler=GREEDY)], 6)
    piece = stream.prefill(Prompt(ids[:30]))
    (scores,) = stream.join([Prompt(ids, sampler=GREEDY, keep=30, held=piece.number)], 6)
    stream.release(piece.number)
    residuals = engine.forward([Row(ids)], [1])[0].residuals[0]
    np.testing.assert_allclose(np.concatenate([piece.scores, scores])[:, 0], residuals @ watch[0].vector, atol=2e-3)
    tokens = steps(stream, 5, 2)
    assert [row[0] for row in tokens] == alone(engine, other, 5)
    assert [row[1] for row in tokens] == alone(engine, ids, 5)
    with pytest.raises(UsageError, match=f"is for rows of {'more than' if long else 'up to'} {ORIGINAL} tokens"):
        stream.join([Prompt(texts()[3][: 9 if long else ORIGINAL + 1])], 3)
    stream.close()
    engine.close()
