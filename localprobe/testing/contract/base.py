"""Shared by all parts of the suite: the engine under test, tolerances, and texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from localprobe.engine import Engine, FloatArray, IntArray, Output, Row, Steering, Term
from localprobe.testing.texts import TEXTS


@dataclass(frozen=True)
class Tolerance:
    """How far two computations of the same value may differ when batch shape or cache differ.

    Not used where the contract requires bitwise equality.
    """

    residual: float
    """Largest distance between two residuals, relative to their norm."""
    logprob: float
    """Largest difference of a log-probability, in nats."""
    uniform: float
    """How far a boundary between sampled tokens may move, in [0, 1)."""


TOLERANCES = {
    "float32": Tolerance(residual=2e-4, logprob=2e-3, uniform=1e-3),
    "float16": Tolerance(residual=2e-2, logprob=1e-1, uniform=2e-2),
    "bfloat16": Tolerance(residual=6e-2, logprob=3e-1, uniform=6e-2),
}


class ContractBase:
    """The engine under test and its tolerances."""

    tolerance: Tolerance | None = None
    """None uses the tolerance of the engine's dtype."""
    streams = ("DecodingContract", "SteeredDecodingContract", "ReuseContract", "JoinContract")
    """The parts of the suite that decode."""

    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls) -> Engine:
        raise NotImplementedError("override the fixture `engine` with the engine to test")

    @pytest.fixture
    def spare_engine(self) -> Engine:
        """An engine that a test may close."""
        pytest.skip("override the fixture `spare_engine` to test closing")

    @pytest.fixture(autouse=True)
    def _skip_decoding(self, request: pytest.FixtureRequest) -> None:
        """Skip the tests of streams on an engine that does not decode."""
        if request.function.__qualname__.split(".")[0] in self.streams:
            engine: Engine = request.getfixturevalue("engine")
            if engine.info.capabilities.no_decoding:
                pytest.skip("this test needs decoding")

    def within(self, engine: Engine) -> Tolerance:
        return self.tolerance or TOLERANCES[engine.info.dtype]

    def needs(self, engine: Engine, *capabilities: str) -> None:
        """Skip the test if the engine lacks one of these capabilities."""
        for name in capabilities:
            if name == "decoding":
                if engine.info.capabilities.no_decoding:
                    pytest.skip("this test needs decoding")
            elif not getattr(engine.info.capabilities, name):
                pytest.skip(f"the engine does not support {name.replace('_', ' ')}")

    def close_residuals(self, engine: Engine, actual: FloatArray, expected: FloatArray) -> None:
        """Assert that residuals (..., width) agree within the tolerance."""
        assert actual.shape == expected.shape
        norm = np.linalg.norm(expected, axis=-1)
        share = np.linalg.norm(actual - expected, axis=-1) / np.maximum(norm, np.median(norm) if norm.size else 0)
        assert share.max(initial=0) <= self.within(engine).residual

    def close_logprobs(self, engine: Engine, actual: FloatArray, expected: FloatArray) -> None:
        """Assert that log-probabilities agree, with a looser tolerance for negligible probabilities."""
        assert actual.shape == expected.shape
        matters = np.maximum(actual, expected) > -12
        difference = np.abs(actual - expected)
        assert difference[matters].max(initial=0) <= self.within(engine).logprob
        assert difference.max(initial=0) <= 10 * self.within(engine).logprob

    def close_scores(self, engine: Engine, actual: FloatArray, residuals: FloatArray, vector: FloatArray) -> None:
        """Assert that scores (n,) are the projections of residuals (n, width) on `vector` (width,)."""
        norm = np.linalg.norm(residuals, axis=-1)
        allowed = self.within(engine).residual * np.maximum(norm, np.median(norm)) * np.linalg.norm(vector)
        assert (np.abs(actual - residuals @ vector) <= allowed).all(), (actual, residuals @ vector)


def text_ids(engine: Engine, number: int, length: int) -> IntArray:
    """The first `length` ids of text number `number`."""
    ids = engine.encode(TEXTS[number % len(TEXTS)])
    assert len(ids) >= length, "a text of ninety characters has at least nine tokens"
    return ids[:length]


def one(engine: Engine, row: Row, layers: Sequence[int] = ()) -> Output:
    """A forward pass of one row."""
    (output,) = engine.forward([row], layers)
    return output


def middle(engine: Engine) -> int:
    """A layer with others below and above it."""
    return max(engine.info.layers // 2, engine.info.capabilities.first_layer)


def strong_delta(engine: Engine, layer: int, seed: int = 0, dose: float = 0.7) -> FloatArray:
    """A random direction (width,) whose norm is `dose` times the median residual norm at `layer`."""
    row = Row(text_ids(engine, 0, 9))
    norms = np.linalg.norm(one(engine, row, [layer]).residuals[0], axis=-1)
    direction = np.random.default_rng(seed).normal(size=engine.info.width)
    return np.asarray(direction * dose * np.median(norms[1:]) / np.linalg.norm(direction), dtype=np.float32)


def everywhere(engine: Engine, seed: int = 0, dose: float = 0.7) -> tuple[Term, ...]:
    """Steering of all positions at a middle layer."""
    layer = middle(engine)
    return (Term(layer, strong_delta(engine, layer, seed, dose)),)


def unit(engine: Engine, seed: int) -> FloatArray:
    """A random unit vector (width,)."""
    vector = np.random.default_rng(seed).normal(size=engine.info.width)
    return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)


def random_uniforms(seed: int, steps: int, rows: int) -> NDArray[np.float64]:
    return np.random.default_rng(seed).random((steps, rows))


def with_and_without(engine: Engine, steering: Steering, length: int = 9) -> tuple[FloatArray, FloatArray]:
    """Residuals of all layers (layers, length, width) of a text, without and with the steering."""
    row, layers = Row(text_ids(engine, 0, length)), range(engine.info.layers)
    return one(engine, row, layers).residuals, one(engine, replace(row, steering=steering), layers).residuals
