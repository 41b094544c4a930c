"""Probes on residuals captured by another tool, without a model or texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from localprobe.contrast.pairs import Pair, split
from localprobe.engine import FloatArray
from localprobe.errors import DataError, UsageError
from localprobe.probing.config import ProbeConfig
from localprobe.probing.examples import Examples
from localprobe.probing.fit import fit_material
from localprobe.probing.report import ProbeReport
from localprobe.probing.texts import measurable
from localprobe.probing.validation import Material, Progress
from localprobe.vectors.vector import Origin


def validate_arrays(
    positive: Any,
    negative: Any,
    *,
    layers: Sequence[int] | None = None,
    config: ProbeConfig = ProbeConfig(),
    concept: str = "concept",
    texts: tuple[Sequence[str], Sequence[str]] | None = None,
    scenarios: Sequence[str] | None = None,
    neutral: Any = None,
    model: str = "",
    validate: bool = True,
    progress: Progress = lambda step: None,
) -> ProbeReport:
    """Fit a probe on residuals and test it on pairs held out, as `fit` does with texts.

    `positive` and `negative` are (pairs, layers, width), or (pairs, width) for one layer: row i of both is one pair,
    already pooled. `layers` are the numbers of the layers (0.. if None). `texts`, both poles in the same order, add the
    baselines of words and length; `scenarios`, one per pair, stratify the split and are left out in turn; `neutral`
    (texts, layers, width) are residuals of neutral texts. `config.pooling` is only recorded. Raises DataError for
    arrays that cannot be used, UsageError for `layers` that do not match them.
    """
    poles = _residuals(positive, "positive"), _residuals(negative, "negative")
    numbers = list(range(poles[0].shape[1])) if layers is None else list(layers)
    if len(numbers) != poles[0].shape[1] or len(set(numbers)) != len(numbers):
        raise UsageError(f"`layers` names {len(numbers)} layers, and the residuals hold {poles[0].shape[1]}")
    examples = Examples(
        *poles,
        tuple(texts[0]) if texts else (),
        tuple(texts[1]) if texts else (),
        tuple(scenarios or ()),
    ).checked()
    train, test = _split(examples, config, validate)
    origin = Origin(model, width=poles[0].shape[2], method=config.method, pooling=config.pooling)
    return fit_material(
        Material(numbers, train, test, neutral=None if neutral is None else _residuals(neutral, "neutral")),
        concept=concept,
        origin=origin,
        config=config,
        validate=validate and test is not None,
        progress=progress,
    )


def _residuals(values: Any, name: str) -> FloatArray:
    """Residuals as float32 (rows, layers, width); DataError for another shape or numbers that are not finite."""
    array = np.asarray(values, dtype=np.float32)
    if array.ndim == 2:
        array = array[:, None, :]
    if array.ndim != 3 or not array.size:
        raise DataError(f"`{name}` has shape {np.shape(values)}: give residuals (pairs, layers, width)")
    return array


def _split(examples: Examples, config: ProbeConfig, validate: bool) -> tuple[Examples, Examples | None]:
    """Training and test pairs, split by scenario as texts are."""
    if not config.test_fraction:
        return examples, None
    names = examples.scenarios or ("",) * len(examples)
    rows = [Pair("", "", scenario, line=i) for i, scenario in enumerate(names)]
    train, test = split(rows, test_fraction=config.test_fraction, seed=config.seed)
    test_pairs = measurable(test, len(examples), config, validate)
    train_rows, test_rows = ([pair.line for pair in part] for part in (train, test_pairs))
    return examples.rows(np.array(train_rows)), examples.rows(np.array(test_rows)) if test_rows else None
