"""Measures of a probe (the paper's Tables 1 and 2 and Figures 1 to 3), with controls that the paper lacks.

Everything here works on captured residuals; `localprobe.probing.fit` captures them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from localprobe.engine import FloatArray
from localprobe.errors import DataError, UsageError
from localprobe.probing.agreement import agreement
from localprobe.probing.baselines import baselines
from localprobe.probing.choice import choose_layer
from localprobe.probing.config import ProbeConfig
from localprobe.probing.examples import Examples
from localprobe.probing.leave_out import LeaveOut, leave_out
from localprobe.probing.lexical import Ablated, Lexical, lexical
from localprobe.probing.measures import measure
from localprobe.probing.methods import method_of
from localprobe.probing.neutral import neutral
from localprobe.probing.permutation import flip_test, permutation_test
from localprobe.probing.probe import Probe, check_finite
from localprobe.probing.random_directions import random_directions
from localprobe.probing.result import HeldOutScores, LayerResult, ProbeResult, Validation, Verdict
from localprobe.probing.verdict import verdict_on
from localprobe.stats.auroc import aurocs
from localprobe.stats.intervals import bootstrap
from localprobe.vectors.vector import Origin

Progress = Callable[[str], None]
_NO_VERDICT = Verdict("", (), ())


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """The residuals that a probe is fitted and measured on, all at the same layers."""

    layers: Sequence[int]
    """Numbers of the layers."""
    train: Examples | None
    """None if the pairs that the probe was fitted on are not available."""
    test: Examples | None
    """None if no pair was held out."""
    ablated: Ablated | None = None
    neutral: FloatArray | None = None
    """(texts, layers, width) of texts without the concept."""

    def check(self, probe: Probe) -> None:
        """DataError unless all residuals have the probe's layers and width, and are finite."""
        for name, examples in (("test", self.test), ("training", self.train)):
            if examples is None:
                continue
            shape = examples.checked().positive.shape[1:]
            if shape != probe.directions.shape or shape[0] != len(self.layers):
                raise DataError(
                    f"the probe has (layers, width) {probe.directions.shape} and the residuals of the {name} texts "
                    f"have {shape} for {len(self.layers)} layers: they come from different models or layers"
                )
        if self.ablated is not None and self.test is not None:
            for pole in (self.ablated.positive, self.ablated.negative):
                if pole.shape != self.test.positive.shape:
                    raise DataError(
                        f"the ablated texts have residuals {pole.shape}, the test texts {self.test.positive.shape}"
                    )
                check_finite(pole, "ablated text")
        if self.neutral is not None:
            if self.neutral.ndim != 3 or not len(self.neutral) or self.neutral.shape[1:] != probe.directions.shape:
                raise DataError(
                    f"neutral residuals have shape {self.neutral.shape}, not (texts, *{probe.directions.shape})"
                )
            check_finite(self.neutral, "neutral text")


def measure_layers(
    probe: Probe, positive: FloatArray, negative: FloatArray, layers: Sequence[int], config: ProbeConfig
) -> tuple[LayerResult, ...]:
    """The measures of every layer with their intervals, from test residuals (pairs, layers, width)."""
    high, low = probe.scores(positive), probe.scores(negative)  # (pairs, layers)
    intervals = bootstrap(high, low, probe.thresholds, resamples=config.resamples, seed=config.seed)
    rows = []
    for i, layer in enumerate(layers):
        bounds = {f"{name}_interval": interval for name, interval in asdict(intervals[i]).items()}
        measures = measure(high[:, i], low[:, i], float(probe.thresholds[i]))
        rows.append(LayerResult(layer=layer, **asdict(measures), **bounds))
    return tuple(rows)


def examine(
    probe: Probe,
    material: Material,
    *,
    concept: str,
    origin: Origin,
    config: ProbeConfig,
    layer: int | None = None,
    candidates: Sequence[int] | None = None,
    validate: bool = True,
    progress: Progress = lambda step: None,
) -> ProbeResult:
    """Measure a probe on unseen pairs and, with `validate`, add controls for other explanations.

    `layer` is the probe's own; None chooses it inside the training pairs, among the `candidates` (all layers if None),
    and so do the permutation test and the fits without a group. Without training pairs the probe and its layer are
    taken as given; without test pairs nothing is measured. `progress` is called with the name of each step and may stop
    the work by raising. Raises DataError for residuals or names that cannot be used, UsageError for a method or
    layer that does not exist.
    """
    method_of(config.method)
    material.check(probe)
    layers, train, test = material.layers, material.train, material.test
    choices = [place_of(number, layers) for number in (layers if candidates is None else candidates)]
    index = place_of(layer, layers) if layer is not None else _chosen(train, choices, config)
    result = ProbeResult(concept, config, origin, len(train) if train else 0, 0, layers[index], ())
    if test is None:
        return result
    progress("measures")
    rows = measure_layers(probe, *test.poles, layers, config)
    scores = held_out_scores(probe, test, material)
    result = replace(result, test_pairs=len(test), layers=rows, scores=scores)
    if not validate:
        return result
    progress("random directions")
    areas = [row.auroc for row in rows]
    random = random_directions(*test.poles, areas, count=config.random_directions, seed=config.seed)
    progress("agreement between pairs")
    agreements = agreement(*(train or test).poles, method=config.method, seed=config.seed)
    rows = tuple(
        replace(row, random=drawn, agreement=agrees)
        for row, drawn, agrees in zip(rows, random, agreements, strict=True)
    )
    validation = _validation(probe, material, test, index, choices, config, progress)
    result = replace(result, layers=rows)
    return replace(result, validation=replace(validation, verdict=verdict_on(result, validation)))


def held_out_scores(probe: Probe, test: Examples, material: Material) -> HeldOutScores:
    """Scores of every text that is not a training text."""
    ablated = material.ablated
    without = (probe.scores(ablated.positive), probe.scores(ablated.negative)) if ablated else None
    return HeldOutScores(
        positive=_by_layer(probe.scores(test.positive)),
        negative=_by_layer(probe.scores(test.negative)),
        neutral=_by_layer(probe.scores(material.neutral)) if material.neutral is not None else (),
        ablated_positive=_by_layer(without[0]) if without else (),
        ablated_negative=_by_layer(without[1]) if without else (),
        ablated_auroc=tuple(aurocs(without[0].T, without[1].T).tolist()) if without else (),
        threshold=tuple(probe.thresholds.tolist()),
    )


def _chosen(train: Examples | None, choices: Sequence[int], config: ProbeConfig) -> int:
    """Index of the layer with the best cross-validated AUROC inside the training pairs, among `choices` (indices)."""
    if train is None:
        raise UsageError("without training pairs no layer can be chosen: give the probe's `layer`")
    return choices[choose_layer(*(pole[:, choices] for pole in train.poles), method=config.method, seed=config.seed)]


def place_of(layer: int, layers: Sequence[int]) -> int:
    """Index of a layer among those that were captured; UsageError for another."""
    if layer not in layers:
        raise UsageError(f"layer {layer} was not captured: there are layers {', '.join(map(str, layers))}")
    return layers.index(layer)


def _validation(
    probe: Probe,
    material: Material,
    test: Examples,
    index: int,
    choices: list[int],
    config: ProbeConfig,
    progress: Progress,
) -> Validation:
    """The controls, still without a verdict."""
    counts = {"resamples": config.resamples, "seed": config.seed}
    high, low = probe.scores(test.positive), probe.scores(test.negative)  # (pairs, layers)
    progress("baselines")
    simpler = None
    if test.positive_texts and (material.train is None or material.train.positive_texts):
        first = material.layers.index(0) if 0 in material.layers else None
        at_first = None if first is None else (high[:, first], low[:, first])
        simpler = baselines(material.train, test, (high[:, index], low[:, index]), at_first, **counts)
    progress("permutation test")
    if material.train is None:
        permutation = flip_test(high[:, index], low[:, index], permutations=config.permutations, seed=config.seed)
    else:
        learnt, unseen = ((p[:, choices], n[:, choices]) for p, n in (material.train.poles, test.poles))
        permutation = permutation_test(
            learnt, unseen, method=config.method, permutations=config.permutations, seed=config.seed
        )
    progress("scenarios and generators left out")
    return Validation(
        permutation=permutation,
        baselines=simpler,
        leave_one_out=_left_out(material.train, test, material.layers, choices, config.method, counts),
        lexical=_lexical(probe, material.ablated, (high, low), index, counts),
        neutral=None if material.neutral is None else neutral(probe, material.neutral, index, material.layers[index]),
        verdict=_NO_VERDICT,
    )


def _left_out(
    train: Examples | None,
    test: Examples,
    layers: Sequence[int],
    choices: list[int],
    method: str,
    counts: Mapping[str, int],
) -> dict[str, LeaveOut]:
    together = train.joined(test) if train else test
    groups = {"scenario": together.scenarios, "generator": together.generators}
    return {
        by: leave_out(together, names, layers, by=by, choices=choices, method=method, **counts)
        for by, names in groups.items()
        if len(set(names)) > 1
    }


def _lexical(
    probe: Probe,
    ablated: Ablated | None,
    scores: tuple[FloatArray, FloatArray],
    index: int,
    counts: Mapping[str, int],
) -> Lexical | None:
    if ablated is None:
        return None
    before = scores[0][:, index], scores[1][:, index]
    after = probe.scores(ablated.positive)[:, index], probe.scores(ablated.negative)[:, index]
    return lexical(before, after, ablated.replaced, ablated.keywords, **counts)


def _by_layer(scores: FloatArray) -> tuple[tuple[float, ...], ...]:
    """Scores (texts, layers) as one tuple per layer, rounded to six digits."""
    return tuple(tuple(float(f"{score:.6g}") for score in layer) for layer in scores.T)
