"""Validate an existing probe on pairs that it was not fitted on."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from localprobe.capture.job import Amount, Capture
from localprobe.contrast.pairs import Pair
from localprobe.engine import FloatArray, Info
from localprobe.errors import DataError, DataWarning
from localprobe.model import Model
from localprobe.probing import notices
from localprobe.probing.config import TOKEN_LIMIT, ProbeConfig
from localprobe.probing.fit import candidates, probe_of
from localprobe.probing.report import ProbeReport
from localprobe.probing.texts import ProbeTexts
from localprobe.probing.validation import Progress, examine
from localprobe.store.identity import ModelIdentity
from localprobe.vectors.vector import Vector


def validate(
    model: Model,
    vector: Vector,
    texts: ProbeTexts,
    *,
    capturing: Callable[[Amount], None] = lambda amount: None,
    progress: Progress = lambda step: None,
) -> ProbeReport:
    """Measure a probe on the pairs of `texts_for`, with controls for other explanations.

    VectorError for a vector of another width; otherwise raises as `localprobe.probing.fit.fit`.
    """
    vector = vector.within(model.info.model, model.info.layers, model.info.width)
    notices.warn(model.info, texts)
    if line := notices.other_template(model.info, vector.origin):
        warnings.warn(line, DataWarning, stacklevel=2)
    capture = Capture(model.engine, texts.all, sorted(vector.directions), texts.config.pooling, limit=TOKEN_LIMIT)
    for amount in capture:
        capturing(amount)
    return conclude(vector, texts, capture.residuals, model.info, progress)


def texts_for(
    vector: Vector,
    pairs: Sequence[Pair],
    *,
    train: Sequence[Pair] = (),
    config: ProbeConfig = ProbeConfig(),
    keywords: Mapping[str, str] | None = None,
    source: str = "the set",
) -> ProbeTexts:
    """The texts of a validation: those of `pairs` that the probe was not fitted on, to measure on.

    `train` holds the pairs that it was fitted on, if `pairs` lacks them. The method, the pooling and the reading of
    special tokens are the vector's own; `config` gives the resampling budget. `source` names the source of `pairs` in
    error messages. Raises DataError for a vector that is not a probe, or if every pair was used to fit it.
    """
    probe_of(vector)
    learnt, unseen = _apart(vector, pairs, train, source)
    origin = vector.origin
    own = replace(config, method=origin.method, pooling=origin.pooling, special_tokens=origin.special_tokens)
    return ProbeTexts(vector.concept, own, learnt, unseen, validate=True, keywords=keywords)


def conclude(
    vector: Vector, texts: ProbeTexts, residuals: FloatArray, info: Info, progress: Progress = lambda step: None
) -> ProbeReport:
    """Measure on captured residuals (texts, layers, width) of `texts.all` at the vector's layers."""
    from threadpoolctl import threadpool_limits

    layers = sorted(vector.directions)
    with threadpool_limits(limits=1):  # many small matrices: threads would slow this down
        result = examine(
            probe_of(vector),
            texts.material(residuals, layers),
            concept=vector.concept,
            origin=vector.origin,
            config=texts.config,
            layer=vector.layer(),
            candidates=candidates(info.layers, layers),
            progress=progress,
        )
    scale = tuple(float(vector.directions[layer].scale) for layer in layers)
    return ProbeReport(vector, replace(result, measured_on=ModelIdentity.of(info), scale=scale))


def _apart(vector: Vector, pairs: Sequence[Pair], train: Sequence[Pair], source: str) -> tuple[list[Pair], list[Pair]]:
    """The pairs that the probe was fitted on, if all of them are given, and the others."""
    trained_on = set(vector.origin.trained_on)
    test = [pair for pair in pairs if not pair.hashes & trained_on]
    fitted = {name: pair for pair in [*pairs, *train] for name in pair.hashes & trained_on}
    if not test:
        raise DataError(f"every pair of {source} was used to fit this probe: give pairs that it has not seen")
    if len(test) == 1:
        raise DataError(f"only one pair of {source} was not used to fit this probe: measuring needs at least 2")
    if train and len(fitted) < len(trained_on):
        missing = f"{len(trained_on) - len(fitted)} of the {len(trained_on)} pairs"
        raise DataError(f"{missing} that the probe was fitted on are neither in `pairs` nor in `train`")
    return (list(fitted.values()) if trained_on and len(fitted) == len(trained_on) else []), test
