"""Sections about probes: one per model, and one for all models."""

from __future__ import annotations

from collections.abc import Sequence

from localprobe.probing.behaviour import Behaviour
from localprobe.probing.detection import Comparison, Detection, ModelAgreement, Ratings, paper_layers
from localprobe.probing.result import ProbeResult, Validation
from localprobe.report import detection_figures as figures
from localprobe.report import detection_tables as tables
from localprobe.report.section import Section
from localprobe.stats.intervals import bracketed

Rated = tuple[str, Behaviour]
"""A model's name with its label, and its correlation with ratings."""


def compared(comparison: Comparison) -> list[Section]:
    """The probes of some models: first together if there are several, then one after another."""
    models = comparison.models
    sections = [together(models, comparison.agreement)] if len(models) > 1 else []
    rated = [(detection.titled, detection.behaviour) for detection in models if detection.behaviour]
    if rated:
        sections.append(behaviour(rated))
    return sections + [one(detection.probe, detection.name) for detection in models]


def rated(ratings: Ratings) -> list[Section]:
    """Probes and rated texts."""
    return [behaviour([(model.name, model.behaviour) for model in ratings.models])]


def together(models: Sequence[Detection], agreement: Sequence[ModelAgreement]) -> Section:
    """Table 2 and Figure 4."""
    return Section(
        "Models side by side",
        lists=tuple(
            (label or "Models", tuple(f"{detection.name}: {detection.probe.verdict}" for detection in group))
            for label, group in _grouped(models).items()
        ),
        figures=(figures.cross_model(models),),
        tables=(tables.models(models), *([tables.agreement(agreement)] if agreement else [])),
    )


def one(result: ProbeResult, name: str) -> Section:
    """Table 1 and Figures 1 to 3 of one model; the verdict first."""
    validation = result.validation
    assert validation is not None  # only validated probes are reported
    id_ = slug(name)
    drawn = (
        figures.auroc_by_layer(result, id_),
        figures.histogram(result, id_),
        figures.random_directions(result, id_),
        figures.lexical(result, id_),
    )
    depth = result.measured_on.layers if result.measured_on else result.origin.layers
    numbers = [row.layer for row in result.layers]
    paper = paper_layers(depth, numbers) if depth else []
    rows = {*(paper or numbers), result.layer, result.best.layer}
    trained = f"fitted on {result.train_pairs} pairs" if result.train_pairs else "fitted elsewhere"
    fitted = f"{result.config.method}, {trained}, measured on {result.test_pairs} others."
    verdict = validation.verdict
    return Section(
        f"{result.concept} in {name}",
        verdict.headline,
        lists=(
            ("It shows", verdict.shows),
            ("It does not show", verdict.does_not_show),
            ("Method", (fitted, *_method(result, validation))),
        ),
        figures=tuple(figure for figure in drawn if figure),
        tables=(tables.layers(result, id_, rows), *tables.baselines(result, id_), *tables.left_out(validation, id_)),
        details=(tables.layers(result, id_),),
    )


def behaviour(models: Sequence[Rated]) -> Section:
    """Table 3 and Figure 5, every model."""
    return Section(
        "Rated behaviour",
        lists=(("For every model, the best and the worst", tuple(_reading(*model) for model in models)),),
        figures=(figures.behaviour(models),),
        tables=(tables.correlations(models), tables.binary(models)),
    )


def slug(name: str) -> str:
    """A name made safe for file names and ids."""
    import re

    return re.sub(r"[^\w.]+", "-", name).strip("-")


def _grouped(models: Sequence[Detection]) -> dict[str, list[Detection]]:
    groups: dict[str, list[Detection]] = {}
    for detection in models:
        groups.setdefault(detection.label, []).append(detection)
    return groups


def _method(result: ProbeResult, validation: Validation) -> list[str]:
    test = validation.permutation
    lines = [
        f"Permutation test, which chooses the layer again in each of {test.n} permutations: p = {test.p:.2g}; 5 % of "
        f"them exceed an AUROC of {test.chance_95:.2f}.",
    ]
    if result.config.pooling == "mean":
        lines.append(
            "Pooling is the mean over all tokens, as in the paper. In many models the first token is an attention "
            "sink, with a norm several times the rest: where AUROC dips in the middle layers, try the pooling "
            "mean-without-first."
        )
    return lines


def _reading(name: str, rated: Behaviour) -> str:
    r = rated.pearson
    low, high = r.interval
    if low > 0:
        says = "texts rated higher score higher"
    elif high < 0:
        says = "texts rated higher score lower: it reads the opposite, or something else"
    else:
        says = "no relation is shown"
    return f"{name}: r = {bracketed(r.value, r.interval)}, p = {r.p:.3f}: {says}."
