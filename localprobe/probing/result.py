"""The measures of a fitted probe: the values that runs store, and that the report, the app and exports read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localprobe.errors import UsageError
from localprobe.probing.agreement import PairAgreement
from localprobe.probing.baselines import Baselines
from localprobe.probing.config import ProbeConfig
from localprobe.probing.leave_out import LeaveOut
from localprobe.probing.lexical import Lexical
from localprobe.probing.neutral import Neutral
from localprobe.probing.permutation import Permutation
from localprobe.probing.random_directions import RandomDirections
from localprobe.stats.intervals import Interval
from localprobe.store.identity import ModelIdentity
from localprobe.vectors.vector import Origin

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LayerScores = tuple[tuple[float, ...], ...]
"""Scores of some texts, one tuple per layer."""


@dataclass(frozen=True, slots=True)
class LayerResult:
    """The measures of the paper's Table 1 at one layer, on pairs held out of the fit, with 95 % intervals."""

    layer: int
    auroc: float
    auroc_interval: Interval
    accuracy: float
    """At the threshold fixed on the training texts."""
    accuracy_interval: Interval
    separation: float
    """Difference of the two poles' mean scores."""
    separation_interval: Interval
    std_positive: float
    """Population standard deviation of the positive texts' scores."""
    std_positive_interval: Interval
    std_negative: float
    std_negative_interval: Interval
    random: RandomDirections | None = None
    """None unless the probe was validated; so is `agreement`."""
    agreement: PairAgreement | None = None

    @property
    def measures(self) -> dict[str, float]:
        """The measures without intervals, as a vector's file stores them."""
        names = ("auroc", "accuracy", "separation", "std_positive", "std_negative")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True)
class HeldOutScores:
    """Scores of texts held out of the fit: dot products with the probe's direction at each layer."""

    positive: LayerScores
    negative: LayerScores
    neutral: LayerScores = ()
    """Of reference texts without the concept; empty unless the probe was validated."""
    ablated_positive: LayerScores = ()
    """Of the positive texts with their keywords replaced; empty without a keyword list."""
    ablated_negative: LayerScores = ()
    ablated_auroc: tuple[float, ...] = ()
    threshold: tuple[float, ...] = ()
    """Per layer: midpoint of the two training means."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a probe shows and does not show, in short sentences, most important first."""

    headline: str
    shows: tuple[str, ...]
    does_not_show: tuple[str, ...]

    def __str__(self) -> str:
        return self.headline


@dataclass(frozen=True, slots=True)
class Validation:
    """Controls for other explanations of the figures, at the cross-validated layer."""

    permutation: Permutation
    baselines: Baselines | None
    """None if the texts are unknown, as for arrays captured by another tool."""
    leave_one_out: Mapping[str, LeaveOut]
    """By `scenario` and by `generator`, for each that the pairs name at least two of."""
    lexical: Lexical | None
    """None without a keyword list."""
    neutral: Neutral | None
    """None without neutral texts."""
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """A probe's figures on pairs held out of the fit."""

    concept: str
    config: ProbeConfig
    origin: Origin
    train_pairs: int
    """0 if the pairs that the probe was fitted on are not available."""
    test_pairs: int
    layer: int
    """The cross-validated layer: chosen inside the training pairs."""
    layers: tuple[LayerResult, ...]
    """Ascending; empty if fewer than two pairs were held out."""
    scale: tuple[float, ...] = ()
    """Median residual length at each layer of the probe, ascending; empty if unknown."""
    scores: HeldOutScores | None = None
    validation: Validation | None = None
    """None unless the probe was validated."""
    measured_on: ModelIdentity | None = None
    """None for arrays captured by another tool."""
    pairs: str = ""
    """Where the pairs came from, as the user named it."""

    @property
    def name(self) -> str:
        """The concept and the model: `empathy on smollm2-135m (llama)`."""
        model = self.measured_on.model if self.measured_on else self.origin.model
        engine = self.measured_on.engine if self.measured_on else self.origin.engine
        return " ".join(filter(None, (self.concept, model and f"on {model}", engine and f"({engine})")))

    @property
    def chosen(self) -> LayerResult:
        """The cross-validated layer's figures."""
        return self.at(self.layer)

    @property
    def best(self) -> LayerResult:
        """The layer with the best AUROC on the test texts: the paper's choice, which flatters the probe.

        Ties go to the more accurate layer, then to the one with the wider separation in units of the spread.
        """
        return max(
            self.layers,
            key=lambda row: (row.auroc, row.accuracy, row.separation / (row.std_positive + row.std_negative + 1e-12)),
        )

    @property
    def verdict(self) -> Verdict | None:
        """What the probe shows and does not show; None unless it was validated."""
        return self.validation.verdict if self.validation else None

    def at(self, layer: int) -> LayerResult:
        """The figures of one layer."""
        return next(row for row in self.layers if row.layer == layer)

    def index(self, layer: int) -> int:
        """The index of a layer in `layers`."""
        return [row.layer for row in self.layers].index(layer)

    def draw_auroc(self, axis: Axes) -> None:
        """Draw AUROC by layer on matplotlib Axes, with random directions and a bag of words."""
        from localprobe.figures.probing import auroc_by_layer

        words = self.validation.baselines if self.validation else None
        auroc_by_layer(
            axis,
            [row.layer for row in self.layers],
            [row.auroc for row in self.layers],
            [row.auroc_interval for row in self.layers],
            random=[row.random.aurocs for row in self.layers if row.random],
            bag_of_words=words.bag_of_words.auroc if words else None,
            chosen=self.layer,
        )

    def draw_scores(self, axis: Axes, layer: int | None = None) -> None:
        """Draw the scores of the held-out texts at a layer, the cross-validated one if None."""
        from localprobe.figures.probing import score_histogram

        if self.scores is None:
            raise UsageError("no pair was held out, so there are no scores to draw")
        number = self.layer if layer is None else layer
        at, scores = self.index(number), self.scores
        neutral = scores.neutral[at] if scores.neutral else ()
        score_histogram(
            axis, scores.positive[at], scores.negative[at], neutral, threshold=scores.threshold[at], layer=number
        )
