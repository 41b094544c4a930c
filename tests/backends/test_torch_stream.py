"""Decoding with the torch engine against transformers' own `generate`, and the life of a stream's cache."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from localprobe.engine import Prompt, Row, Sampler, Term, Watch
from localprobe.errors import EngineError, OutOfMemory, UsageError
from localprobe.testing.tiny import tiny_folder
from localprobe_torch import memory
from localprobe_torch.engine import TorchEngine
from tests.backends.torch_models import EACH_ARCHITECTURE, load, own_greedy, own_model, random_ids

GREEDY = Sampler(temperature=0)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TorchEngine]:
    engine = load(tiny_folder("mistral", tmp_path_factory.mktemp("mistral")))
    yield engine
    engine.close()


@pytest.mark.parametrize("architecture", EACH_ARCHITECTURE)
def test_greedy_rows_of_other_lengths_are_what_transformers_generates(architecture: str, tmp_path: Path) -> None:
    folder = tiny_folder(architecture, tmp_path)
    engine, model = load(folder), own_model(folder)
    ids = random_ids(3, 21, 9)  # sliding windows are of 8: some begin inside, some outside of one
    stream = engine.open([Prompt(row, sampler=GREEDY) for row in ids], room=20)
    played = np.stack([stream.step(np.zeros(3)).ids for _ in range(20)])
    for row, prompt in enumerate(ids):
        assert played[:, row].tolist() == own_greedy(model, prompt, 20)
    engine.close()


def test_prompts_of_one_length_give_the_same_as_of_several(engine: TorchEngine) -> None:
    """Rows at one position need no mask; the pass that makes none must equal the pass that does."""
    ids = random_ids(6, 6, 11)
    uniforms = np.random.default_rng(0).random((20, 3))
    alike = engine.open([Prompt(row) for row in ids[:2]], room=20)
    unlike = engine.open([Prompt(row) for row in ids], room=20)
    for number in range(20):
        one, other = alike.step(uniforms[number, :2]), unlike.step(uniforms[number])
        np.testing.assert_array_equal(one.ids, other.ids[:2])
        np.testing.assert_allclose(one.logprobs, other.logprobs[:2], atol=1e-4)


def test_a_span_that_ends_in_the_answer_is_felt_until_then(engine: TorchEngine) -> None:
    """Additions are kept from step to step; here they change at positions 8 and 10, in one row of two."""
    ids = random_ids(6, 4)
    delta = np.full(64, 0.7, np.float32)
    steering = (Term(1, delta, 0, 8), Term(2, -delta, 7, 10))
    stream = engine.open([Prompt(ids[0], steering), Prompt(ids[1])], room=9)
    steps = [stream.step(np.array([0.4, 0.6])) for _ in range(9)]
    answers = np.stack([step.ids for step in steps])
    for row, prompt in enumerate(ids):
        whole = Row(
            np.concatenate([prompt, answers[:, row]]), () if row else steering, full=tuple(range(len(prompt) + 8))
        )
        (output,) = engine.forward([whole])
        expected = output.full[np.arange(9) + len(prompt) - 1, answers[:, row]]
        np.testing.assert_allclose([step.logprobs[row] for step in steps], expected, atol=1e-4)


def test_room_that_is_used_up_is_said(engine: TorchEngine) -> None:
    stream = engine.open([Prompt(random_ids(4)[0])], room=2)
    stream.step(np.array([0.5]))
    stream.step(np.array([0.5]))
    with pytest.raises(UsageError, match="room for 2 tokens"):
        stream.step(np.array([0.5]))
    stream.settle()


def test_prompt_and_answer_must_fit_into_the_context(engine: TorchEngine) -> None:
    ids = np.full(250, 7, np.int32)
    with pytest.raises(UsageError, match="context of 256"):
        engine.open([Prompt(ids)], room=7)
    stream = engine.open([Prompt(ids), Prompt(ids[:3])], room=6, watch=[Watch(0, np.ones(64, np.float32))])
    for _ in range(6):
        stream.step(np.array([0.5, 0.5]))
    assert np.isfinite(stream.settle()).all()


def test_padding_beyond_the_context_is_never_shown_to_a_model(tmp_path: Path) -> None:
    """GPT-2 has an embedding for each position of its context, and none after."""
    engine = load(tiny_folder("gpt2", tmp_path))
    long, short = np.full(250, 7, np.int32), random_ids(4)[0]
    old = engine.open([Prompt(long), Prompt(short)], room=5)
    old.step(np.array([0.5, 0.5]))
    old.settle()
    prompts = [Prompt(np.append(long, 8).astype(np.int32), keep=250), Prompt(random_ids(40)[0], keep=0)]
    stream = engine.open(prompts, room=5, reuse=old)  # the second row makes 40 columns for the first, from 250 on
    stream.step(np.array([0.5, 0.5]))
    engine.close()


def test_all_rows_may_be_dropped(engine: TorchEngine) -> None:
    stream = engine.open([Prompt(ids) for ids in random_ids(4, 5)], room=3, watch=[Watch(0, np.ones(64, np.float32))])
    stream.step(np.array([0.5, 0.5]))
    stream.drop([1, 0])
    assert stream.step(np.empty(0)).scores.shape == (0, 1)
    assert stream.settle().shape == (0, 1)
    with pytest.raises(UsageError, match="row 0"):
        stream.drop([0])


def test_what_is_kept_must_be_in_the_cache(engine: TorchEngine) -> None:
    ids = random_ids(9)[0]
    old = engine.open([Prompt(ids[:4])], room=3)
    old.step(np.array([0.5]))  # sampled, not run
    with pytest.raises(UsageError, match="its cache holds 4"):
        engine.open([Prompt(ids, keep=5)], room=3, reuse=old)
    with pytest.raises(UsageError, match="1 rows"):
        engine.open([Prompt(ids), Prompt(ids)], room=3, reuse=old)
    with pytest.raises(UsageError, match="earlier stream"):
        engine.open([Prompt(ids, keep=4)], room=3)
    engine.open([Prompt(ids, keep=4)], room=3, reuse=old).close()  # the refusals left it as it was


def test_the_memory_of_a_closed_stream_is_free_at_once(engine: TorchEngine) -> None:
    gc.disable()  # no cycle may need to be found first
    try:
        stream = engine.open([Prompt(random_ids(4)[0], copies=2)], room=3)
        stream.step(np.array([0.5, 0.5]))
        keys = weakref.ref(stream._cache.layers[0].keys)
        stream.close()
        assert keys() is None
    finally:
        gc.enable()


def test_a_cache_that_cannot_fit_is_refused_before_it_is_made(
    engine: TorchEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda _device: 100_000)
    with pytest.raises(OutOfMemory, match=r"needs 0.4 GB, 0.0 GB are free"):
        engine.open([Prompt(random_ids(4)[0], copies=3000)], room=120)
    engine.open([Prompt(random_ids(4)[0])], room=3).close()


def test_a_stream_of_a_closed_engine_refuses(tmp_path: Path) -> None:
    engine = load(tiny_folder("llama", tmp_path))
    model = weakref.ref(engine._network.head._model)
    stream = engine.open([Prompt(random_ids(4)[0])], room=3)
    engine.close()
    assert model() is None, "the weights are free"
    with pytest.raises(EngineError, match="closed"):
        stream.step(np.array([0.5]))
    with pytest.raises(EngineError, match="closed"):
        engine.forward([Row(random_ids(4)[0])], [0])
    stream.close()
