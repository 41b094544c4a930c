"""Whether to believe a probe: the paper's Tables 1 and 2 and Figures 1 to 3, and what those leave out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from localprobe.engine import FloatArray
from localprobe.errors import DataError, UsageError
from localprobe.probing.agreement import Agreement, agreement
from localprobe.probing.baselines import Baselines, baselines
from localprobe.probing.choice import choose_layer
from localprobe.probing.examples import Examples
from localprobe.probing.leave_out import LeaveOut, leave_out
from localprobe.probing.lexical import Ablated, Lexical, lexical
from localprobe.probing.measures import Measures, measure
from localprobe.probing.methods import fit, method_of
from localprobe.probing.neutral import Neutral, neutral
from localprobe.probing.permutation import Permutation, flip_test, permutation_test
from localprobe.probing.probe import Probe, check_finite
from localprobe.probing.random_directions import RandomDirections, random_directions
from localprobe.probing.verdict import Verdict, judge
from localprobe.stats.intervals import Intervals, bootstrap


@dataclass(frozen=True, slots=True)
class Effort:
    """How often chance is asked."""

    resamples: int = 2000
    """Of the bootstrap."""
    permutations: int = 1000
    directions: int = 100
    """Random ones, at each layer."""


@dataclass(frozen=True, slots=True)
class LayerResult:
    """One layer, on the test pairs."""

    layer: int
    measures: Measures
    intervals: Intervals
    random: RandomDirections
    agreement: Agreement

    def as_json(self) -> dict[str, Any]:
        """Each measure beside its interval."""
        intervals = asdict(self.intervals)
        row: dict[str, Any] = {"layer": self.layer}
        for name, value in asdict(self.measures).items():
            row |= {name: value, f"{name}_interval": intervals[name]}
        return row | {"random": asdict(self.random), "agreement": asdict(self.agreement)}


@dataclass(frozen=True, slots=True)
class Validation:
    """What `validate` found. Figures of single layers are at the nested choice."""

    method: str
    train_pairs: int
    """0 where the probe is known, but not the pairs that it was fitted on."""
    test_pairs: int
    layers: tuple[LayerResult, ...]
    best: LayerResult
    """The paper's choice: the layer with the best AUROC on the test texts, which flatters it."""
    nested: LayerResult
    """The layer chosen inside the training pairs, on the test texts."""
    permutation: Permutation
    baselines: Baselines
    leave_one_out: Mapping[str, LeaveOut]
    """By `scenario` and by `generator`, as far as the pairs name at least two."""
    lexical: Lexical | None
    neutral: Neutral | None

    @property
    def verdict(self) -> Verdict:
        """What this probe shows, and what it does not."""
        return judge(self)

    def as_json(self) -> dict[str, Any]:
        """Plain dicts, lists and finite numbers; None for what is not known."""
        found = {
            "method": self.method,
            "train_pairs": self.train_pairs,
            "test_pairs": self.test_pairs,
            "layers": [each.as_json() for each in self.layers],
            "best": _choice(self.best),
            "nested": _choice(self.nested),
            "permutation": asdict(self.permutation),
            "baselines": asdict(self.baselines),
            "leave_one_out": {by: asdict(each) for by, each in self.leave_one_out.items()},
            "lexical": asdict(self.lexical) if self.lexical else None,
            "neutral": asdict(self.neutral) if self.neutral else None,
            "agreement": asdict(self.nested.agreement),
            "verdict": asdict(self.verdict),
        }
        return {name: _plain(value) for name, value in found.items()}


def validate(
    train: Examples | None,
    test: Examples,
    *,
    layers: Sequence[int],
    method: str = "mean-difference",
    probe: Probe | None = None,
    layer: int | None = None,
    candidates: Sequence[int] | None = None,
    ablated: Ablated | None = None,
    neutral_residuals: FloatArray | None = None,
    effort: Effort = Effort(),
    seed: int = 0,
    progress: Callable[[str], None] = lambda step: None,
) -> Validation:
    """Measure a probe on pairs that it has not seen, and ask of every figure how much of it is something else.

    `layers` are the numbers of the layers that all residuals hold. The probe is fitted on `train` unless it is given.
    Without `train` it must be given, and so must the `layer` that was chosen with it; then nothing is fitted again but
    what the test pairs allow. Wherever a layer is chosen, it is chosen among the `candidates`: give those that the
    probe's own layer was chosen among, so that the permutation test repeats what was done. `progress` is told each step
    as it begins. Raises DataError for pairs, residuals or names that cannot be used, and UsageError for a method or
    layer that does not exist.
    """
    method_of(method)
    test.checked()
    choices = [_place(each, layers) for each in (layers if candidates is None else candidates)]
    probe = _probe(train, test, layers, method, probe)
    index = _choice_of(layer, train, layers, choices, method, seed)
    progress("measures")
    high, low = probe.scores(test.positive), probe.scores(test.negative)  # (pairs, layers)
    counts = {"resamples": effort.resamples, "seed": seed}
    measures = [measure(high[:, b], low[:, b], float(probe.thresholds[b])) for b in range(len(layers))]
    intervals = bootstrap(high, low, probe.thresholds, **counts)
    progress("random directions")
    areas = [each.auroc for each in measures]
    random = random_directions(*test.poles, areas, count=effort.directions, seed=seed)
    progress("agreement between pairs")
    agreements = agreement(*(train or test).poles, method=method, seed=seed)
    results = tuple(map(LayerResult, layers, measures, intervals, random, agreements))
    progress("baselines")
    first = (high[:, layers.index(0)], low[:, layers.index(0)]) if 0 in layers else None
    words = baselines(train, test, (high[:, index], low[:, index]), first, **counts)
    progress("permutation test")
    if train:
        learnt, unseen = ((p[:, choices], n[:, choices]) for p, n in (train.poles, test.poles))
        permutation = permutation_test(learnt, unseen, method=method, permutations=effort.permutations, seed=seed)
    else:
        permutation = flip_test(high[:, index], low[:, index], permutations=effort.permutations, seed=seed)
    progress("scenarios and generators left out")
    return Validation(
        method=method,
        train_pairs=len(train) if train else 0,
        test_pairs=len(test),
        layers=results,
        best=max(results, key=_rank),
        nested=results[index],
        permutation=permutation,
        baselines=words,
        leave_one_out=_left_out(train, test, layers, choices, method, counts),
        lexical=_lexical(probe, test, ablated, index, counts),
        neutral=_neutral(probe, neutral_residuals, index, layers[index]),
    )


def _probe(train: Examples | None, test: Examples, layers: Sequence[int], method: str, probe: Probe | None) -> Probe:
    """The probe, given or fitted, of the layers and width of all residuals."""
    if train:
        train.checked()
        probe = probe or fit(*train.poles, method)
    if probe is None:
        raise UsageError("nothing to validate: give a probe, or the pairs to fit it on")
    for name, shape in (
        ("test", test.positive.shape[1:]),
        *([("training", train.positive.shape[1:])] if train else []),
    ):
        if shape != probe.directions.shape or shape[0] != len(layers):
            raise DataError(
                f"the probe has (layers, width) {probe.directions.shape} and the residuals of the {name} texts have "
                f"{shape} for {len(layers)} layers: they are of different models or layers"
            )
    return probe


def _choice_of(
    layer: int | None, train: Examples | None, layers: Sequence[int], choices: list[int], method: str, seed: int
) -> int:
    """Index of the layer that is given, or else chosen inside the training pairs."""
    if layer is not None:
        return _place(layer, layers)
    if train is None:
        raise UsageError("without training pairs no layer can be chosen: say which one the probe is used at")
    return choices[choose_layer(*(pole[:, choices] for pole in train.poles), method=method, seed=seed)]


def _place(layer: int, layers: Sequence[int]) -> int:
    if layer not in layers:
        raise UsageError(f"layer {layer} was not captured: there are layers {', '.join(map(str, layers))}")
    return layers.index(layer)


def _left_out(
    train: Examples | None,
    test: Examples,
    layers: Sequence[int],
    choices: list[int],
    method: str,
    counts: Mapping[str, int],
) -> dict[str, LeaveOut]:
    together = train.joined(test) if train else test
    names = {"scenario": together.scenarios, "generator": together.generators}
    return {
        by: leave_out(together, each, layers, by=by, choices=choices, method=method, **counts)
        for by, each in names.items()
        if len(set(each)) > 1
    }


def _lexical(
    probe: Probe, test: Examples, ablated: Ablated | None, index: int, counts: Mapping[str, int]
) -> Lexical | None:
    if ablated is None:
        return None
    poles = (*test.poles, ablated.positive, ablated.negative)
    if len({pole.shape for pole in poles}) > 1:
        raise DataError(f"the ablated texts have residuals {ablated.positive.shape}, the test texts {poles[0].shape}")
    for pole in poles[2:]:
        check_finite(pole, "ablated text")
    scores = [probe.scores(pole)[:, index] for pole in poles]
    return lexical((scores[0], scores[1]), (scores[2], scores[3]), ablated.replaced, ablated.keywords, **counts)


def _neutral(probe: Probe, residuals: FloatArray | None, index: int, layer: int) -> Neutral | None:
    if residuals is None:
        return None
    if residuals.ndim != 3 or not len(residuals) or residuals.shape[1:] != probe.directions.shape:
        raise DataError(f"neutral residuals have shape {residuals.shape}, not (texts, *{probe.directions.shape})")
    check_finite(residuals, "neutral text")
    return neutral(probe, residuals, index, layer)


def _rank(result: LayerResult) -> tuple[float, float, float]:
    """AUROC; where that is equal accuracy, then separation in units of the spread."""
    each = result.measures
    return each.auroc, each.accuracy, each.separation / (each.std_positive + each.std_negative + 1e-12)


def _choice(result: LayerResult) -> dict[str, Any]:
    return {
        "layer": result.layer,
        "auroc": result.measures.auroc,
        "interval": result.intervals.auroc,
        "accuracy": result.measures.accuracy,
        "accuracy_interval": result.intervals.accuracy,
    }


def _plain(value: Any) -> Any:
    """Lists for tuples, and None for numbers that JSON does not have."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
