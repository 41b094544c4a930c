"""The fake engine beyond the contract: how it loads, and what its knobs do."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from localprobe.engine import Backend, Capabilities, LoadOptions, Prompt, Row, Sampler, Term, Weights
from localprobe.errors import UsageError
from localprobe.fake import FakeEngine, backend

WEIGHTS = Weights("fake", Path("/nowhere"), "fake", "")
ONE = (Term(3, np.ones(32, np.float32)),)


def test_it_loads_as_any_backend_does() -> None:
    assert isinstance(backend, Backend)
    assert backend.available().installed
    engine = backend.load(WEIGHTS, LoadOptions(dtype="float32", device="cpu", context=100))
    assert (engine.info.engine, engine.info.model, engine.info.context) == ("fake", "fake", 100)


@pytest.mark.parametrize(
    "options", [LoadOptions(dtype="bfloat16"), LoadOptions(device="cuda"), LoadOptions(quantise="4bit")], ids=str
)
def test_it_refuses_options_that_it_cannot_honour(options: LoadOptions) -> None:
    with pytest.raises(UsageError, match="the fake engine"):
        backend.load(WEIGHTS, options)


def test_a_seed_names_a_model() -> None:
    row = Row(FakeEngine().encode("abc"), full=(3,))
    first, same, other = (FakeEngine(seed=seed).forward([row])[0].full for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)
    assert FakeEngine().info.weights == FakeEngine(seed=0).info.weights != FakeEngine(seed=1).info.weights


def test_what_it_writes_is_mostly_printable_and_not_one_letter() -> None:
    engine = FakeEngine()
    stream = engine.open([Prompt(engine.encode("Once upon"), sampler=Sampler(0.7))], room=80)
    text = engine.decode([int(stream.step(np.array([u])).ids[0]) for u in np.random.default_rng(0).random(80)])
    assert sum(letter.isprintable() and letter.isascii() for letter in text) > 60
    assert len(set(text)) > 15


def test_an_engine_that_can_do_less_refuses_the_rest() -> None:
    engine = FakeEngine(capabilities=Capabilities(row_steering=False, span_steering=False, reuse=False, first_layer=4))
    row = Row(engine.encode("abc"))
    with pytest.raises(UsageError, match="make one batch per steering"):
        engine.forward([row, Row(row.ids, (Term(5, ONE[0].delta),))])
    with pytest.raises(UsageError, match="layer 3 cannot be steered"):
        engine.forward([Row(row.ids, ONE)])
    with pytest.raises(UsageError, match="can only steer all positions"):
        engine.open([Prompt(row.ids, (Term(5, ONE[0].delta, start=1),))], room=2)
    stream = engine.open([Prompt(row.ids)], room=2)
    with pytest.raises(UsageError, match="open without `reuse`"):
        engine.open([Prompt(row.ids)], room=2, reuse=stream)


def test_a_stream_refuses_to_outgrow_its_room() -> None:
    engine = FakeEngine()
    stream = engine.open([Prompt(engine.encode("abc"))], room=2)
    for _ in range(2):
        stream.step(np.array([0.5]))
    stream.settle()
    stream.step(np.array([0.5]))  # sampled, but with no place to be run
    with pytest.raises(UsageError, match="row 0 is full at 6 tokens"):
        stream.settle()


def test_it_can_be_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    engine = FakeEngine(delay=0.02)
    stream = engine.open([Prompt(engine.encode("abc"))], room=5)
    for _ in range(3):
        stream.step(np.array([0.5]))
    assert waited == [0.02] * 3
