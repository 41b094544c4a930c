"""The paper's detection half for several models on the same texts: Tables 1 to 3 and Figures 1 to 5.

Every model gets the same split of the same pairs, and its own probe. All results are shown, not only the best.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from localprobe.capture.job import Amount, Capture
from localprobe.capture.residuals import Text
from localprobe.chat_template import Marked
from localprobe.contrast.pairs import Pair
from localprobe.contrast.rated import Rated
from localprobe.engine import FloatArray
from localprobe.model import Model
from localprobe.probing.behaviour import Behaviour, behaviour
from localprobe.probing.comparison import ScoreAgreement, direction_agreement, score_agreement
from localprobe.probing.config import TOKEN_LIMIT, ProbeConfig
from localprobe.probing.fit import fit, probe_of
from localprobe.probing.report import ProbeReport
from localprobe.probing.result import ProbeResult
from localprobe.probing.validation import Progress
from localprobe.store.identity import ModelIdentity
from localprobe.vectors.vector import Vector


@dataclass(frozen=True, slots=True)
class Detection:
    """The results of one model."""

    label: str
    """Its group in a report, such as `safety-trained`; may be empty."""
    probe: ProbeResult
    behaviour: Behaviour | None = None
    """Rated texts and the probe's scores; None without rated texts."""

    @property
    def measured_on(self) -> ModelIdentity:
        """The model that it was measured on."""
        return self.probe.measured_on or ModelIdentity(self.probe.origin.model, self.probe.origin.engine)

    @property
    def name(self) -> str:
        """The model and engine, and how it is quantised."""
        return self.measured_on.name

    @property
    def titled(self) -> str:
        """The name with its label."""
        return f"{self.name}, {self.label}" if self.label else self.name


@dataclass(frozen=True, slots=True)
class ModelAgreement:
    """How far two models agree on the same test texts, each at its own layer."""

    models: tuple[str, str]
    layers: tuple[int, int]
    scores: ScoreAgreement
    directions: tuple[float, ...] | None
    """Cosine of the two probes' directions at each layer; None for two different models, whose directions cannot be
    compared."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Several models on the same pairs: the result of `compare`, and of the detection half of `reproduce`."""

    concept: str
    config: ProbeConfig
    models: tuple[Detection, ...]
    agreement: tuple[ModelAgreement, ...]
    pairs: str = ""
    """Where the pairs came from, as the user named it."""


def detect(
    model: Model,
    pairs: Sequence[Pair],
    config: ProbeConfig,
    *,
    concept: str,
    label: str = "",
    test: Sequence[Pair] | None = None,
    rated: Sequence[Rated] = (),
    layers: Sequence[int] | None = None,
    keywords: Mapping[str, str] | None = None,
    capturing: Callable[[Amount], None] = lambda amount: None,
    progress: Progress = lambda step: None,
) -> tuple[ProbeReport, Detection]:
    """Fit and validate a probe on one model, and correlate it with rated texts if there are any. Raises DataError,
    UsageError or EngineError."""
    report = fit(
        model,
        pairs,
        config,
        concept=concept,
        test=test,
        layers=layers,
        keywords=keywords,
        capturing=capturing,
        progress=progress,
    )
    correlates = None
    if rated:
        progress("rated texts")
        correlates = rated_behaviour(model, report.vector, rated, seed=config.seed, capturing=capturing)
    return report, Detection(label, report.result, correlates)


def rated_behaviour(
    model: Model,
    vector: Vector,
    rated: Sequence[Rated],
    *,
    seed: int = 0,
    capturing: Callable[[Amount], None] = lambda amount: None,
) -> Behaviour:
    """Correlate a probe with rated texts, which are captured on their own. Raises DataError for texts that cannot be
    used, or a vector that is not a probe."""
    probe_of(vector)
    pooling = "mean" if vector.origin.pooling == "answer" else vector.origin.pooling
    words = [text.text for text in rated]
    texts: list[Text] = [*map(Marked, words)] if vector.origin.special_tokens else [*words]
    capture = Capture(model.engine, texts, sorted(vector.directions), pooling, limit=TOKEN_LIMIT)
    for amount in capture:
        capturing(amount)
    return behaviour(vector, rated, capture.residuals, seed=seed)


def compare(
    concept: str,
    config: ProbeConfig,
    detections: Sequence[tuple[ProbeReport, Detection]],
    *,
    pairs: str = "",
) -> Comparison:
    """Agreement of every two models on the test texts, and the cosines of their directions."""
    agreement = tuple(_agreement(first, second, config) for first, second in combinations(detections, 2))
    return Comparison(concept, config, tuple(detection for _, detection in detections), agreement, pairs)


def paper_layers(depth: int, layers: Sequence[int]) -> list[int]:
    """The paper's layers 8, 12, 16, 20, 24 (and 28 of 32) that were captured; in a shallower model, the layers at the
    same relative depths."""
    depths = range(8, depth, 4) if depth >= 25 else [depth * eighth // 8 for eighth in range(2, 7)]
    return [layer for layer in dict.fromkeys(depths) if layer in layers and layer <= 28]


def _agreement(
    first: tuple[ProbeReport, Detection], second: tuple[ProbeReport, Detection], config: ProbeConfig
) -> ModelAgreement:
    reports, detections = (first[0], second[0]), (first[1], second[1])
    return ModelAgreement(
        models=(detections[0].name, detections[1].name),
        layers=(reports[0].layer, reports[1].layer),
        scores=score_agreement(*map(_scores, reports), resamples=config.resamples, seed=config.seed),
        directions=_directions(reports, detections),
    )


def _scores(report: ProbeReport) -> tuple[FloatArray, FloatArray]:
    result = report.result
    assert result.scores is not None  # it was validated
    at = result.index(result.layer)
    return np.array(result.scores.positive[at], np.float32), np.array(result.scores.negative[at], np.float32)


def _directions(
    reports: tuple[ProbeReport, ProbeReport], detections: tuple[Detection, Detection]
) -> tuple[float, ...] | None:
    """Cosines of each layer, for two loads of one model."""
    if not detections[0].measured_on.same_weights(detections[1].measured_on):
        return None
    first, second = (probe_of(report.vector) for report in reports)
    return direction_agreement(first.directions, second.directions)


@dataclass(frozen=True, slots=True)
class RatedProbe:
    """One probe against rated texts: an entry of the result of `correlate`."""

    name: str
    """Concept, model and engine."""
    probe: str
    """The probe's file, as the user named it."""
    measured_on: ModelIdentity
    behaviour: Behaviour


@dataclass(frozen=True, slots=True)
class Ratings:
    """Probes against the same rated texts: the result of `correlate`."""

    ratings: str
    """Where the texts came from, as the user named it."""
    models: tuple[RatedProbe, ...]
