"""Rows that join a stream of the torch engine: where they are kept, and what happens when memory is short."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from localprobe import checks
from localprobe.engine import FloatArray, Prompt, Reserve, Row, Sampler, Step, Term, Watch
from localprobe.errors import OutOfMemory, UsageError
from localprobe.testing.tiny import tiny_folder
from localprobe_torch import memory, slots
from localprobe_torch.engine import TorchEngine
from localprobe_torch.joining import JoinStream
from localprobe_torch.kv import Frame
from tests.backends.rope_models import ORIGINAL, texts, write
from tests.backends.torch_models import load, random_ids

GREEDY = Sampler(temperature=0)
WATCH = Watch(1, np.ones(64, np.float32))
RESERVE = Reserve(rows=8, tokens=400, longest=120)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TorchEngine]:
    engine = load(tiny_folder("mistral", tmp_path_factory.mktemp("mistral")))
    yield engine
    engine.close()


@pytest.fixture
def stream(engine: TorchEngine) -> Iterator[JoinStream]:
    stream = engine.open([], room=1, watch=[WATCH], reserve=RESERVE)
    assert isinstance(stream, JoinStream)
    yield stream
    stream.close()


def prompts(*lengths: int) -> list[Prompt]:
    """Each steered in its own way, from its last position on."""
    deltas = np.random.default_rng(1).normal(size=(len(lengths), 64)).astype(np.float32)
    return [
        Prompt(ids, (Term(1, delta, len(ids) - 1),), GREEDY)
        for ids, delta in zip(random_ids(*lengths), deltas, strict=True)
    ]


def step(stream: JoinStream) -> Step:
    return stream.step(np.full(len(stream.lengths), 0.5))


def alone(engine: TorchEngine, prompt: Prompt, count: int) -> list[int]:
    """The tokens that a stream of this prompt alone samples."""
    stream = engine.open([prompt], room=count)
    return [int(stream.step(np.array([0.5])).ids[0]) for _ in range(count)]


def finite(step: Step) -> bool:
    return bool(np.isfinite(step.logprobs).all())


def test_rows_that_come_and_go_in_any_order_are_as_if_alone(engine: TorchEngine, stream: JoinStream) -> None:
    random = np.random.default_rng(2)
    wanted = prompts(*random.integers(2, 20, 14))
    live: list[int] = []
    answers: list[list[int]] = [[] for _ in wanted]
    for row, prompt in enumerate(wanted):
        stream.join([prompt], 30)
        live.append(row)
        for _ in range(random.integers(0, 4)):
            for number, token in zip(live, step(stream).ids.tolist(), strict=True):
                answers[number].append(token)
        if len(live) > 4:
            gone = random.choice(len(live), 3, replace=False).tolist()
            stream.drop(gone)
            live = [number for at, number in enumerate(live) if at not in gone]
    for prompt, answer in zip(wanted, answers, strict=True):
        assert answer == alone(engine, prompt, len(answer))


def test_a_cache_with_spare_space_is_not_made_anew(stream: JoinStream) -> None:
    first, *others = prompts(9, 5, 6, 7, 8)
    stream.join([first], 11)
    for prompt in others[:2]:  # one slot, two, four
        stream.join([prompt], 10)
    keys = stream._cache.layers[0].keys
    assert keys.shape[:2] == (4, 20)
    stream.drop([0])
    stream.join([others[2]], 10)
    stream.join([others[3]], 10)
    step(stream)
    assert stream._cache.layers[0].keys is keys


def test_spare_space_ends_at_the_reserve(stream: JoinStream) -> None:
    for prompt in prompts(*[4] * 8):
        stream.join([prompt], 40)
    assert stream._cache.slots == 8
    stream.drop(range(1, 8))
    stream.join(prompts(100), 20)
    assert (stream._cache.slots, stream._cache.columns) == (2, 120)  # 8 rows of as many would be 960 positions


def test_what_a_long_row_took_beyond_the_reserve_is_given_back(engine: TorchEngine, stream: JoinStream) -> None:
    short = prompts(4, 5, 6, 3, 7)
    stream.join(short, 10)
    stream.join(prompts(80), 40)
    assert stream._cache.size > RESERVE.tokens
    played = [step(stream).ids[:2].tolist()]
    stream.drop([2, 3, 4, 5])
    assert stream._cache.size < RESERVE.tokens
    played += [step(stream).ids.tolist() for _ in range(5)]
    assert [list(row) for row in zip(*played, strict=True)] == [alone(engine, prompt, 6) for prompt in short[:2]]


def test_what_is_not_finite_stays_in_its_row(
    engine: TorchEngine, stream: JoinStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Masked positions still take part in products, where NaN times 0 is NaN."""
    monkeypatch.setattr(checks, "LONGEST", np.inf)  # in float16 residuals overflow long before it
    long, middle, short = prompts(30, 12, 4)
    huge = np.full(64, 3e38, np.float32)
    spoilt = replace(middle, steering=(Term(0, huge), Term(1, huge)))  # infinite after layer 1, NaN from there on
    stream.join([long], 12)  # every step is over the columns that `spoilt` fills
    stream.join([spoilt], 12)
    assert not finite(step(stream))
    stream.join([short], 12)
    stream.drop([1])  # the last row moves into its slot
    assert finite(step(stream))
    stream.join([spoilt], 12)
    step(stream)
    stream.drop([2])
    stream.join([short], 12)  # in the slot that it leaves
    step(stream)
    assert finite(step(stream))


def test_a_prefill_that_fails_leaves_the_other_rows(
    engine: TorchEngine, stream: JoinStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = prompts(6, 9)
    stream.join([first], 10)
    steps = [step(stream), step(stream)]
    extend = stream.network.extend

    def fails(ids: object, frame: Frame, *arguments: object, **more: object) -> object:
        states = extend(ids, frame, *arguments, **more)  # type: ignore[arg-type]
        if frame.columns > 1:
            raise MemoryError
        return states

    with monkeypatch.context() as patch:
        patch.setattr(stream.network, "extend", fails)
        for attempt in (lambda: stream.join([second], 10), lambda: stream.prefill(second)):
            with pytest.raises(OutOfMemory, match="KV cache does not fit"):
                attempt()
    assert stream.lengths == [8]
    steps.append(step(stream))
    assert np.isfinite(steps[-1].scores).all(), "the token that the failed join has run keeps its score"
    stream.join([second], 10)
    last = step(stream)
    assert [*(one.ids[0] for one in steps), last.ids[0]] == alone(engine, first, 4)
    assert last.ids[1] == alone(engine, second, 1)[0]


def test_a_cache_that_cannot_grow_in_all_layers_goes_on(
    engine: TorchEngine, stream: JoinStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = prompts(6, 9)
    stream.join([first], 10)
    tokens = step(stream).ids.tolist()
    resize = slots._resize
    resized: list[object] = []

    def fails(*arguments: object) -> None:
        if len(resized) == 2:
            raise MemoryError
        resized.append(arguments)
        resize(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(slots, "_resize", fails)
        with pytest.raises(OutOfMemory):
            stream.join([second], 30)
    tokens += [int(step(stream).ids[0]) for _ in range(2)]
    stream.join([second], 30)
    steps = [step(stream) for _ in range(3)]
    assert [*tokens, *(int(one.ids[0]) for one in steps)] == alone(engine, first, 6)
    assert [int(one.ids[1]) for one in steps] == alone(engine, second, 3)


def test_memory_is_checked_for_the_reserve_and_before_the_cache_grows(
    engine: TorchEngine, stream: JoinStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = sum(engine._network.column_bytes.values())
    one = prompts(10)[0]
    stream.join([one], 10)
    with monkeypatch.context() as patch:
        patch.setattr(memory, "free_bytes", lambda _device: size * (RESERVE.tokens - 1))
        with pytest.raises(OutOfMemory, match="KV cache"):
            engine.open([], room=1, reserve=RESERVE)
        patch.setattr(memory, "free_bytes", lambda _device: size * 8)
        for attempt in (lambda: stream.join([one], 10), lambda: stream.prefill(one), lambda: stream.hold(0, 9)):
            with pytest.raises(OutOfMemory, match="KV cache"):
                attempt()
        stream.hold(0, 8)
        patch.setattr(memory, "free_bytes", lambda _device: size * 45)  # for two rows of 20, not for spare ones
        stream.join([one], 10)
        stream.join([one], 10)
    assert stream._cache.slots == 3
    assert finite(step(stream))


def test_held_positions_are_freed(stream: JoinStream) -> None:
    gc.disable()  # no cycle may need to be found first
    try:
        stream.join(prompts(9), 10)
        for number in (stream.hold(0, 4), stream.prefill(prompts(5)[0]).number):
            keys = weakref.ref(stream._held[number].layers[0][0])
            stream.release(number)
            assert keys() is None
    finally:
        gc.enable()


def test_a_row_cannot_be_run_beyond_its_room(stream: JoinStream) -> None:
    short, long = prompts(4, 6)
    stream.join([long], 9)
    stream.join([short], 2)
    for _ in range(3):
        step(stream)  # the third runs the second token, for its score
    with pytest.raises(UsageError, match="row 1 has no room for more than 6 tokens"):
        step(stream)
    stream.drop([1])
    assert finite(step(stream))


def test_what_cannot_begin_a_row_is_refused(engine: TorchEngine, stream: JoinStream) -> None:
    prompt = prompts(9)[0]
    held = stream.prefill(replace(prompt, ids=prompt.ids[:4])).number
    refused: Sequence[tuple[Prompt, str]] = [
        (replace(prompt, keep=3), "0 are held"),
        (replace(prompt, keep=5, held=held), "4 are held"),
        (replace(prompt, held=held + 1), f"under the number {held + 1}"),
        (replace(prompt, ids=np.full(250, 7, np.int32)), "context of 256"),
    ]
    for wrong, message in refused:
        with pytest.raises(UsageError, match=message):
            stream.join([wrong], 10)
    stream.join([replace(prompt, keep=4, held=held)], 10)
    with pytest.raises(UsageError, match="cannot hold 10 positions of row 0: its cache has 9"):
        stream.hold(0, 10)
    stream.release(held)
    with pytest.raises(UsageError, match="under the number"):
        stream.release(held)
    with pytest.raises(UsageError, match="not both"):
        engine.open([prompt], room=2, reserve=RESERVE, reuse=engine.open([prompt], room=2))
    with pytest.raises(UsageError, match="opened with `reserve`"):
        engine.open([prompt], room=2, reuse=stream)


def test_the_beginning_of_a_long_prompt_is_rotated_as_all_of_it(tmp_path: Path) -> None:
    """Long RoPE takes its factors by the positions of a pass, and those of the first pieces are small."""
    engine = load(write("longrope, Phi-3", tmp_path))
    ids, watch = texts()[3][: ORIGINAL + 10], Watch(1, np.ones(engine.info.width, np.float32))
    stream = engine.open([], room=1, watch=[watch], reserve=Reserve(4, 300, 120))
    prompt = Prompt(ids, sampler=GREEDY)
    scores: list[FloatArray] = []
    number, done = None, 0
    for stop in (20, ORIGINAL, ORIGINAL + 4):
        held = stream.prefill(replace(prompt, ids=ids[:stop], keep=done, held=number))
        scores.append(held.scores)
        number, done = held.number, stop
    (rest,) = stream.join([replace(prompt, keep=done, held=number)], 5)
    answer = [stream.step(np.array([0.5])) for _ in range(3)]
    whole = np.append(ids, np.array([one.ids[0] for one in answer], np.int32))
    (output,) = engine.forward([Row(whole, full=tuple(range(len(ids) - 1, len(whole) - 1)))], [1])
    expected = output.residuals[0] @ watch.vector
    np.testing.assert_allclose(np.concatenate([*scores, rest])[:, 0], expected[: len(ids)], atol=1e-3, rtol=1e-4)
    for place, one in enumerate(answer):
        np.testing.assert_allclose(one.logprobs[0], output.full[place, one.ids[0]], atol=1e-4)
    with pytest.raises(UsageError, match="other factors"):
        stream.join([Prompt(ids[:9])], 5)
    engine.close()
