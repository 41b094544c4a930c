"""What is checked of an engine, the same for every library: residuals alone and in a batch, and steered decoding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from localprobe.engine import Engine, FloatArray, IntArray, Prompt, Row, Sampler, Term, Watch

LENGTHS = (23, 9, 31)
"""Tokens of the rows: all longer than the windows of the tiny configs."""
TOLERANCE = 2e-3
"""Largest distance of two residuals, relative to their length."""
_STEPS = 6
_LOGPROB = 2e-2
_KEYS = "alone {}"


class Mismatch(Exception):
    """Two computations of one value differ."""


def texts() -> list[IntArray]:
    """Random ids, without special ones."""
    random = np.random.default_rng(0)
    return [random.integers(5, 380, length).astype(np.int32) for length in LENGTHS]


def check_residuals(engine: Engine, expected: Sequence[FloatArray], library: str) -> None:
    """Compare with the library's own residuals of each text alone, (layers, n, width) float32."""
    rows, layers = [Row(ids) for ids in texts()], range(engine.info.layers)
    for number, (row, own) in enumerate(zip(rows, expected, strict=True)):
        _equal(engine.forward([row], layers)[0].residuals, own, f"text {number} alone differs from {library}")
    for number, (output, own) in enumerate(zip(engine.forward(rows, layers), expected, strict=True)):
        _equal(output.residuals, own, f"text {number} in a batch differs from {library}")


def check_steered(engine: Engine) -> None:
    """Compare decode steps, rows of unequal length steered from their own positions, with passes over the whole."""
    width, layer = engine.info.width, engine.info.layers // 2
    top = engine.info.layers - 1
    plain = engine.forward([Row(texts()[0])], [layer])[0].residuals[0]
    random = np.random.default_rng(1)
    length = float(np.median(np.linalg.norm(plain, axis=-1)))
    delta = _direction(random, width, 0.5 * length)
    probe = _direction(random, width, 1.0)
    prompts = [
        Prompt(ids, (Term(layer, delta, start),) if start is not None else (), Sampler(temperature=0))
        for ids, start in zip(texts(), (0, 4, None), strict=True)
    ]
    watch = [Watch(layer, probe), Watch(top, probe)]
    stream = engine.open(prompts, room=_STEPS + 1, watch=watch)
    steps = [stream.step(np.full(len(prompts), 0.5)) for _ in range(_STEPS)]
    scores = np.stack([*(step.scores for step in steps[1:]), stream.settle()])  # (steps, rows, watches)
    stream.close()
    for number, prompt in enumerate(prompts):
        ids = np.concatenate([prompt.ids, np.array([step.ids[number] for step in steps], np.int32)])
        first = len(prompt.ids)
        places = np.arange(first - 1, len(ids) - 1)
        targets = np.stack([places, ids[first:]], axis=1).astype(np.int32)
        whole = engine.forward([Row(ids, prompt.steering, targets=targets)], [layer, top])[0]
        off = np.abs(np.array([step.logprobs[number] for step in steps]) - whole.targets).max()
        if not off <= _LOGPROB:
            raise Mismatch(f"log-probabilities of decoded row {number} are off by {off:.2g}")
        for column, residuals in enumerate(whole.residuals[:, first:]):
            size = float(np.median(np.linalg.norm(residuals, axis=-1)))
            off = float(np.abs(scores[:, number, column] - residuals @ probe).max()) / size
            if not off <= TOLERANCE:
                raise Mismatch(f"scores of decoded row {number} are off by {off:.2g} of a residual")


def save(folder: str, expected: Sequence[FloatArray]) -> None:
    """Keep residuals beside a folder of weights, for the other library."""
    np.savez(f"{folder}/expected.npz", **{_KEYS.format(number): own for number, own in enumerate(expected)})


def load(folder: str) -> list[FloatArray]:
    """The residuals that `save` kept."""
    arrays: Mapping[str, FloatArray] = np.load(f"{folder}/expected.npz")
    return [arrays[_KEYS.format(number)] for number in range(len(LENGTHS))]


def _equal(actual: FloatArray, expected: FloatArray, what: str) -> None:
    if actual.shape != expected.shape:
        raise Mismatch(f"{what}: shape {actual.shape}, not {expected.shape}")
    length = np.linalg.norm(expected, axis=-1)
    share = np.linalg.norm(actual - expected, axis=-1) / np.maximum(length, np.median(length, axis=-1, keepdims=True))
    worst = share.max(axis=-1)  # by layer
    if not (worst <= TOLERANCE).all():
        layer = int(np.argmax(~(worst <= TOLERANCE)))
        raise Mismatch(f"{what} by {worst[layer]:.2g} of its length from layer {layer} on")


def _direction(random: np.random.Generator, width: int, length: float) -> FloatArray:
    vector = random.standard_normal(width)
    return np.asarray(vector * (length / np.linalg.norm(vector)), dtype=np.float32)
