"""The canary: checks that capture and steering work on this engine and model.

It catches silent failures: a hook that never fires, a vector one layer off, a mask that steers nothing in one-token
decode steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np

from localprobe.edits import edited
from localprobe.engine import (
    Coordinates,
    Engine,
    FloatArray,
    IntArray,
    Output,
    Row,
    Sampler,
    Steering,
    Term,
    Watch,
)
from localprobe.errors import CanaryFailed
from localprobe.generation.answer import AnswerBuilder
from localprobe.generation.decode import Decoding, Request
from localprobe.store import memo

_KIND = "canary"
_TEXT = "The lighthouse keeper wrote a short letter and put it under the door before the storm came in."
_TOLERANCE = {"float32": 2e-3, "float16": 2e-2, "bfloat16": 5e-2}
_ROUNDING = 5e-2
"""Tolerance between a batch and a single row with quantised weights: their kernels round activations to 8 bits, and a
batch of 64 tokens uses other kernels than one of 24, which round differently (2 % measured)."""
_DOSE = 0.5


@dataclass(frozen=True, slots=True)
class Check:
    """The outcome of one check."""

    name: str
    passed: bool
    detail: str


def ensure(engine: Engine) -> tuple[Check, ...]:
    """Run the canary, unless it passed before for these weights, engine and versions; CanaryFailed if a check fails."""
    about = key(engine)
    stored = memo.recall(_KIND, about)
    if isinstance(stored, list) and stored:
        return tuple(Check(**check) for check in stored)
    checks = run(engine)
    failed = [check for check in checks if not check.passed]
    if failed:
        raise CanaryFailed(
            f"{engine.info.engine} cannot be trusted with {engine.info.model}: "
            + "; ".join(f"{check.name} ({check.detail})" for check in failed)
        )
    memo.keep(_KIND, about, [asdict(check) for check in checks])
    return checks


def key(engine: Engine) -> list[str]:
    """All that the checks depend on: another tokenizer has other ids, another end token may end the answer at once."""
    info = engine.info
    return [*memo.model_key(info), memo.ids_key([_ids(engine)]), str(info.eos), str(info.capabilities)]


def run(engine: Engine) -> tuple[Check, ...]:
    """Run every check: a few short passes."""
    return tuple(_checks(engine))


def _checks(engine: Engine) -> Iterator[Check]:
    info = engine.info
    ids = _ids(engine)
    layer = max(info.layers // 2, info.capabilities.first_layer)
    below = max(layer - 1, 0)
    tolerance = _TOLERANCE.get(info.dtype, _TOLERANCE["bfloat16"])
    alike = max(tolerance, _ROUNDING) if info.quantisation else tolerance
    last = len(ids) - 1

    plain = _pass(engine, ids, (), (below, layer), last)
    if not np.isfinite(plain.residuals).all():  # the checks below would only stumble over it
        yield Check("residuals are finite numbers", False, "NaN or infinity: the weights are damaged, or overflow")
        return
    length = float(np.median(np.linalg.norm(plain.residuals[1, 1:], axis=-1)))
    delta = _random(info.width, _DOSE * length)
    steered = _pass(engine, ids, (Term(layer, delta),), (below, layer), last)
    again = _pass(engine, ids, (Term(layer, np.zeros_like(delta)),), (below, layer), last)

    change = float(np.abs(steered.full - plain.full).max())
    yield Check("steering changes the prediction", change > 1e-3, f"log-probabilities move by {change:.3g}")
    equal = bool(np.array_equal(again.full, plain.full) and np.array_equal(again.residuals, plain.residuals))
    yield Check("alpha 0 restores it bit for bit", equal, "same" if equal else "differs from the unsteered pass")

    moved = steered.residuals[1] - plain.residuals[1]  # (n, width)
    error = float(np.abs(moved - delta).max() / np.abs(delta).max())
    yield Check("the steered layer moves by alpha * v", error < tolerance, f"off by {error:.2g} of its largest part")
    if below < layer:
        still = bool(np.array_equal(steered.residuals[0], plain.residuals[0]))
        yield Check("the layer before does not move", still, f"layer {below} {'is the same' if still else 'moved'}")
    yield _stopped(engine, ids, layer, plain, alike)
    yield from _rows(engine, ids, layer, delta, plain, steered, alike)
    operators = _operators(engine, layer, delta)
    for term in operators:
        yield _operator(engine, ids, term, plain, tolerance)
    if not info.capabilities.no_decoding:
        tolerance = max(20 * tolerance, 3 * alike)
        yield _decode(engine, ids, (Term(layer, delta),), "a decode step is steered as a prefill is", tolerance)
        for term in operators:
            steering = (Term(below, delta), term)
            yield _decode(engine, ids, steering, f"a decode step can {term.operator} as a prefill can", tolerance)


def _ids(engine: Engine) -> IntArray:
    return engine.encode(_TEXT)[: max(4, min(24, engine.info.context - 4))]


def _stopped(engine: Engine, ids: IntArray, layer: int, plain: Output, tolerance: float) -> Check:
    stopped = engine.forward([Row(ids)], [layer])[0].residuals[0]
    off = _distance(stopped, plain.residuals[1])
    return Check("a pass that stops early reads the same", off < tolerance, f"relative difference {off:.2g}")


def _rows(
    engine: Engine, ids: IntArray, layer: int, delta: FloatArray, plain: Output, steered: Output, tolerance: float
) -> Iterator[Check]:
    """One batch of three rows: steered from the first token, steered from the fourth, and unsteered."""
    capabilities = engine.info.capabilities
    if not (capabilities.row_steering and capabilities.span_steering):
        return
    last = (len(ids) - 1,)
    rows = [
        Row(ids, (Term(layer, delta),), full=last),
        Row(ids, (Term(layer, delta, 3),), full=last),
        Row(ids, full=last),
    ]
    whole, part, none = (output.residuals[0] for output in engine.forward(rows, [layer]))
    off = max(_distance(whole, steered.residuals[1]), _distance(none, plain.residuals[1]))
    yield Check("each row of a batch has its own steering", off < tolerance, f"relative difference {off:.2g}")
    off = max(_distance(part[:3], plain.residuals[1, :3]), _distance(part[3:] - delta, none[3:]))
    yield Check("a span steers its positions alone", off < tolerance, f"relative difference {off:.2g}")


def _operators(engine: Engine, layer: int, delta: FloatArray) -> list[Term]:
    """A term for each operator of the engine besides addition, each of an effect of about `delta`."""
    length = float(np.linalg.norm(delta))
    basis, target = (delta / length)[None], np.array([-length], dtype=np.float32)
    terms = [
        Term(layer, delta, keep_norm=True),
        Term.along(layer, Coordinates(basis, target, share=1.0)),
        Term.along(layer, Coordinates(basis, np.zeros_like(target), low=length / 2, high=length)),
    ]
    return [term for term in terms if term.operator in engine.info.capabilities.operators]


def _operator(engine: Engine, ids: IntArray, term: Term, plain: Output, tolerance: float) -> Check:
    steered = _pass(engine, ids, (term,), (max(term.layer - 1, 0), term.layer), len(ids) - 1)
    off = _distance(steered.residuals[1], edited(plain.residuals[1], term))
    return Check(f"the steered layer follows {term.operator}", off < tolerance, f"relative difference {off:.2g}")


def _decode(engine: Engine, ids: IntArray, steering: Steering, name: str, tolerance: float) -> Check:
    """Compare steered decode steps with one steered pass over the same tokens, by live scores along the first delta.

    An unsteered step would be off by half a residual length. In standard deviations of residuals along one direction
    that is half the square root of the width, far more than rounding.
    """
    watched = min(max(term.layer for term in steering) + 1, engine.info.layers - 1)
    delta = steering[0].delta
    probe = delta / np.linalg.norm(delta)
    request = Request(ids, steering, Sampler(temperature=0), tokens=4)
    decoding = Decoding(engine, [request], [Watch(watched, probe)])
    answer = AnswerBuilder()
    try:
        while not decoding.done:
            for event in decoding.step():
                answer.take(event)
    finally:
        decoding.close()
    if not answer.ids:  # the model ended at once: the prompt's own scores are steered too
        return Check(name, True, "the model said nothing, so nothing was compared")
    whole = np.concatenate([ids, np.array(answer.ids, dtype=np.int32)])
    residuals = engine.forward([Row(whole, steering)], [watched])[0].residuals[0, len(ids) :]
    reference = residuals @ probe
    size = float(np.median(np.linalg.norm(residuals, axis=-1))) / np.sqrt(engine.info.width)
    off = float(np.abs(np.array(answer.scores) - reference).max()) / size
    # Batches of different sizes sum in different orders, so the results are not bitwise equal.
    return Check(name, bool(off < tolerance), f"live scores off by {off:.2g} sd")


def _pass(engine: Engine, ids: IntArray, steering: Steering, layers: tuple[int, int], last: int) -> Output:
    return engine.forward([Row(ids, steering, full=(last,))], layers)[0]


def _random(width: int, length: float) -> FloatArray:
    vector = np.random.default_rng(0).standard_normal(width)
    return np.asarray(vector * (length / np.linalg.norm(vector)), dtype=np.float32)


def _distance(a: FloatArray, b: FloatArray) -> float:
    return float(np.linalg.norm(a - b) / max(float(np.linalg.norm(b)), 1e-12))
