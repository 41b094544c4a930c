"""Residuals that are captured once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from localprobe.capture.cache import ResidualCache, cached_residuals
from localprobe.capture.residuals import pooled as uncached
from localprobe.chat_template import Exchange
from localprobe.engine import Output, Row
from localprobe.fake import FakeEngine
from localprobe.store import memo

TEXTS = ["One text.", "Another, longer text.", "A third"]
LAYERS = [0, 3]


class Counting(FakeEngine):
    """Counts the rows that it runs."""

    ran = 0

    def forward(self, rows: Sequence[Row], layers: Sequence[int] = ()) -> list[Output]:
        self.ran += len(rows)
        return super().forward(rows, layers)


@pytest.fixture
def counting() -> Counting:
    return Counting()


def capture(engine: FakeEngine, folder: Path, texts: Sequence[str] = TEXTS, layers: Sequence[int] = LAYERS):  # type: ignore[no-untyped-def]
    return cached_residuals(engine, texts, layers, cache=ResidualCache(engine.info, "mean", folder))


def test_a_second_capture_runs_nothing_and_gives_the_same_bits(counting: Counting, tmp_path: Path) -> None:
    first = capture(counting, tmp_path)
    np.testing.assert_array_equal(first, uncached(counting, TEXTS, LAYERS))
    before = counting.ran
    np.testing.assert_array_equal(capture(counting, tmp_path), first)
    assert counting.ran == before


def test_only_new_texts_are_run(counting: Counting, tmp_path: Path) -> None:
    capture(counting, tmp_path)
    before = counting.ran
    found = capture(counting, tmp_path, [*TEXTS, "New"])
    assert counting.ran == before + 1
    np.testing.assert_array_equal(found, uncached(counting, [*TEXTS, "New"], LAYERS))


def test_layers_that_are_kept_serve_a_smaller_wish_and_no_larger_one(counting: Counting, tmp_path: Path) -> None:
    capture(counting, tmp_path, layers=[0, 2, 3])
    before = counting.ran
    np.testing.assert_array_equal(capture(counting, tmp_path, layers=[3, 0]), uncached(FakeEngine(), TEXTS, [3, 0]))
    assert counting.ran == before
    capture(counting, tmp_path, layers=[0, 5])
    assert counting.ran == before + 3


def test_other_weights_and_other_poolings_are_other_residuals(tmp_path: Path) -> None:
    capture(FakeEngine(), tmp_path)
    other = Counting(seed=1)
    capture(other, tmp_path)
    assert other.ran == 3
    assert ResidualCache(FakeEngine().info, "last", tmp_path).get(other.encode(TEXTS[0]), LAYERS) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"quantisation": "4bit"},
        {"quantisation": "8bit"},
        {"dtype": "bfloat16"},
        {"device": "cuda:0"},
        {"version": "numpy 0, oneDNN"},
        {"weights": "other"},
        {"engine": "other"},
    ],
)
def test_a_model_that_computes_otherwise_has_residuals_of_its_own(changes: dict[str, str], tmp_path: Path) -> None:
    """One folder loaded in 4 and in 8 bits, for example: the weights on disk are the same."""
    kept = FakeEngine()
    capture(kept, tmp_path)
    cache = ResidualCache(replace(kept.info, **changes), "mean", tmp_path)  # type: ignore[arg-type]
    assert cache.get(kept.encode(TEXTS[0]), LAYERS) is None
    assert ResidualCache(kept.info, "mean", tmp_path).get(kept.encode(TEXTS[0]), LAYERS) is not None


def test_residuals_of_another_localprobe_are_not_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its engines may have had a fault that was mended since."""
    engine = FakeEngine()
    capture(engine, tmp_path)
    monkeypatch.setattr(memo, "__version__", "9.9")
    assert ResidualCache(engine.info, "mean", tmp_path).get(engine.encode(TEXTS[0]), LAYERS) is None


@pytest.mark.parametrize("damage", [lambda data: data[:-7], lambda data: data[:-4] + b"\0\0\0\0", lambda data: b""])
def test_a_torn_file_is_captured_again(counting: Counting, tmp_path: Path, damage) -> None:  # type: ignore[no-untyped-def]
    first = capture(counting, tmp_path)
    victim = next(tmp_path.rglob("*.safetensors"))
    victim.write_bytes(damage(victim.read_bytes()))
    before = counting.ran
    np.testing.assert_array_equal(capture(counting, tmp_path), first)
    assert counting.ran == before + 1


def test_an_interrupted_capture_resumes(tmp_path: Path) -> None:
    engine = Counting()
    cache = ResidualCache(engine.info, "mean", tmp_path)

    def interrupt(tokens: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached_residuals(engine, TEXTS, LAYERS, cache=cache, done=interrupt)
    before = engine.ran
    cached_residuals(engine, TEXTS, LAYERS, cache=cache)
    assert engine.ran == before + 2


def test_a_cache_that_cannot_be_written_is_no_error(engine: FakeEngine, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = capture(engine, tmp_path / "file")
    np.testing.assert_array_equal(found, uncached(engine, TEXTS, LAYERS))


def test_progress_tells_the_tokens_that_were_run(engine: FakeEngine, tmp_path: Path) -> None:
    told: list[int] = []
    cache = ResidualCache(engine.info, "mean", tmp_path)
    for _ in range(2):
        cached_residuals(engine, TEXTS, LAYERS, cache=cache, done=told.append)
    assert sorted(told[:3]) == sorted(len(engine.encode(text)) for text in TEXTS)
    assert told[3:] == [0, 0, 0]


def test_an_answer_is_kept_apart_from_the_whole_chat_and_from_another_template(tmp_path: Path) -> None:
    texts = [Exchange("Hi", "Good day.")]
    for template in ("<{{ messages[0].content }}>", "[{{ messages[0].content }}]"):
        engine = Counting()
        engine.info = replace(engine.info, chat_template=template)
        found = [
            cached_residuals(engine, texts, LAYERS, pooling, cache=ResidualCache(engine.info, pooling, tmp_path))
            for pooling in ("answer", "mean", "answer", "mean")
        ]
        assert engine.ran == 2
        np.testing.assert_array_equal(found[0], found[2])
        assert not np.array_equal(found[0], found[1])
