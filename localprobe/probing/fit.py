"""Fit a probe on contrast pairs and measure it on held-out pairs, for Python, the CLI, sweeps and the app alike.

    report = fit(model, read_pairs(PAIR_SETS.path("empathy")), concept="empathy")
    report.verdict, report.vector

A caller that must be able to stop can call the three parts itself: `ProbeTexts.of` lists the texts to capture,
`localprobe.capture.job.Capture` captures them, and `conclude` needs no model any more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from localprobe.capture.job import Amount, Capture
from localprobe.contrast.pairs import Pair
from localprobe.engine import FloatArray, Info
from localprobe.errors import DataError
from localprobe.model import Model
from localprobe.probing import notices
from localprobe.probing.choice import middle
from localprobe.probing.config import TOKEN_LIMIT, ProbeConfig
from localprobe.probing.methods import fit as fit_directions
from localprobe.probing.probe import Probe
from localprobe.probing.report import ProbeReport
from localprobe.probing.result import ProbeResult
from localprobe.probing.texts import ProbeTexts
from localprobe.probing.validation import Material, Progress, examine
from localprobe.store.identity import ModelIdentity
from localprobe.vectors.vector import Direction, Origin, Vector


def fit(
    model: Model,
    pairs: Sequence[Pair],
    config: ProbeConfig = ProbeConfig(),
    *,
    concept: str,
    test: Sequence[Pair] | None = None,
    layers: Sequence[int] | None = None,
    keywords: Mapping[str, str] | None = None,
    validate: bool = True,
    capturing: Callable[[Amount], None] = lambda amount: None,
    progress: Progress = lambda step: None,
) -> ProbeReport:
    """Fit on a part of the pairs at `layers` (all if None) and measure on the rest, or on `test` if it is given.

    `concept` names the positive pole; the keyword list that ships under that name is used for the lexical ablation
    unless `keywords` are given. `validate` adds baselines, the permutation test and the verdict to the measures of
    each layer. `capturing` and `progress` are called as the work advances and may stop it by raising. Residuals are in
    the residual cache, so re-running resumes the capture. Raises DataError, UsageError or EngineError.
    """
    texts = ProbeTexts.of(pairs, concept, config, test=test, validate=validate, keywords=keywords)
    numbers = model.layers(layers)
    notices.warn(model.info, texts)
    capture = Capture(model.engine, texts.all, numbers, config.pooling, limit=TOKEN_LIMIT)
    for amount in capture:
        capturing(amount)
    return conclude(texts, capture.residuals, numbers, model.info, model.scale, progress)


def conclude(
    texts: ProbeTexts,
    residuals: FloatArray,
    layers: Sequence[int],
    info: Info,
    scale: FloatArray,
    progress: Progress = lambda step: None,
) -> ProbeReport:
    """Fit and measure on captured residuals (texts, layers, width) of `texts.all`.

    `scale` (model's layers,) is the median residual length of every layer of the model. Raises as `fit`.
    """
    config = texts.config
    trained_on = tuple(sorted(pair.hash for pair in texts.train))
    report = fit_material(
        texts.material(residuals, layers),
        concept=texts.concept,
        origin=Origin.of(
            info,
            method=config.method,
            pooling=config.pooling,
            trained_on=trained_on,
            special_tokens=config.special_tokens,
        ),
        config=config,
        scale=scale[list(layers)],
        candidates=candidates(info.layers, layers),
        validate=texts.validate,
        progress=progress,
    )
    return replace(report, result=replace(report.result, measured_on=ModelIdentity.of(info)))


def fit_material(
    material: Material,
    *,
    concept: str,
    origin: Origin,
    config: ProbeConfig,
    scale: FloatArray | None = None,
    candidates: Sequence[int] | None = None,
    validate: bool = True,
    progress: Progress = lambda step: None,
) -> ProbeReport:
    """Fit on the training pairs, choose a layer among the `candidates` by cross-validation inside them, and measure on
    the test pairs. `scale` (layers,) is the median residual length of each layer, if known. Raises DataError for pairs
    that cannot be used."""
    from threadpoolctl import threadpool_limits

    train = material.train
    if train is None:
        raise DataError("there are no training pairs to fit on")
    layers = material.layers
    progress("fitting")
    with threadpool_limits(limits=1):  # many small matrices: threads would slow this down
        probe = fit_directions(*train.checked().poles, config.method)
        result = examine(
            probe,
            material,
            concept=concept,
            origin=origin,
            config=config,
            candidates=candidates,
            validate=validate,
            progress=progress,
        )
    lengths = tuple(np.asarray(scale, dtype=np.float64).tolist()) if scale is not None else ()
    result = replace(result, scale=lengths)
    return ProbeReport(vector_of(probe, result, layers, lengths), result)


def vector_of(probe: Probe, result: ProbeResult, layers: Sequence[int], scale: Sequence[float]) -> Vector:
    """A fitted probe as a vector, with each layer's measures on the held-out pairs."""
    reached = {row.layer: row.measures for row in result.layers}
    directions = {
        layer: Direction(
            vector=probe.directions[i],
            norm=float(probe.norms[i]),
            threshold=float(probe.thresholds[i]),
            scale=float(scale[i]) if scale else 0.0,
            measures=reached.get(layer, {}),
        )
        for i, layer in enumerate(layers)
    }
    return Vector(result.concept, result.origin, directions, result.layer)


def candidates(model_layers: int, layers: Sequence[int]) -> list[int]:
    """The layers to choose from: the middle half if `layers` are all of the model's, else all of `layers`."""
    return [layers[i] for i in middle(model_layers)] if len(layers) == model_layers else list(layers)


def probe_of(vector: Vector, layers: Sequence[int] | None = None) -> Probe:
    """The directions of a vector as a probe, at `layers` or at all that it has, ascending.

    Raises DataError if the directions are not of length 1: a control vector is not a probe.
    """
    numbers = sorted(vector.directions) if layers is None else layers
    held = [vector.directions[layer] for layer in numbers]
    directions = np.stack([direction.vector if direction.probe is None else direction.unit for direction in held])
    if not np.allclose([vector.directions[layer].length for layer in numbers], 1, atol=1e-3):
        raise DataError(f"{vector.concept} holds control vectors of other lengths, not a probe: fit one")
    return Probe(
        directions,
        np.array([vector.directions[layer].norm for layer in numbers], dtype=np.float32),
        np.array([vector.directions[layer].threshold for layer in numbers], dtype=np.float32),
    )
