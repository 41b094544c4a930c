"""Sections about probes: one for each model, and one for all together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from localprobe.report import detection_figures as figures
from localprobe.report import detection_tables as tables
from localprobe.report.section import Section

Result = Mapping[str, Any]


def sections(models: Sequence[Result], agreement: Sequence[Result] = ()) -> list[Section]:
    """What the probes of some models show: together if there are several, then one after another."""
    probes = [found for found in models if "layers" in found]
    found = [together(probes, agreement)] if len(probes) > 1 else []
    if any(each.get("behaviour") for each in models):
        found.append(behaviour(models))
    return found + [one(each) for each in probes]


def together(models: Sequence[Result], agreement: Sequence[Result]) -> Section:
    """Table 2 and Figure 4."""
    return Section(
        "Models side by side",
        lists=tuple(
            (label or "Models", tuple(f"{each['name']}: {each['verdict']['headline']}" for each in group))
            for label, group in grouped(models).items()
        ),
        figures=(figures.cross_model(models),),
        tables=(tables.models(models), *([tables.agreement(agreement)] if agreement else [])),
    )


def one(found: Result) -> Section:
    """Tables 1 and Figures 1 to 3 of one model; the verdict first."""
    name = slug(found["name"])
    verdict = found["verdict"]
    drawn = (
        figures.auroc_by_layer(found, name),
        figures.histogram(found, name),
        figures.random_directions(found, name),
        figures.lexical(found, name),
    )
    chosen = {found["nested"]["layer"], found["best"]["layer"]}
    paper = {*(found.get("paper_layers") or [each["layer"] for each in found["layers"]]), *chosen}
    trained = f"fitted on {found['train_pairs']} pairs" if found["train_pairs"] else "fitted elsewhere"
    return Section(
        f"{found['concept']} in {found['name']}" if "concept" in found else str(found["name"]),
        verdict["headline"],
        lists=(
            ("It shows", tuple(verdict["shows"])),
            ("It does not show", tuple(verdict["does_not_show"])),
            ("How", (f"{found['method']}, {trained}, measured on {found['test_pairs']} others.", *_how(found))),
        ),
        figures=tuple(each for each in drawn if each),
        tables=(tables.layers(found, name, paper), tables.baselines(found, name), *tables.left_out(found, name)),
        details=(tables.layers(found, name),),
    )


def behaviour(models: Sequence[Result]) -> Section:
    """Table 3 and Figure 5, every model."""
    rated = [found for found in models if found.get("behaviour")]
    drawn = figures.behaviour(rated)
    return Section(
        "Rated behaviour",
        lists=(("For every model, the best and the worst", tuple(map(_reading, rated))),),
        figures=(drawn,) if drawn else (),
        tables=(tables.correlations(rated), tables.binary(rated)),
    )


def grouped(models: Sequence[Result]) -> dict[str, list[Result]]:
    """Models by label, in order of appearance."""
    groups: dict[str, list[Result]] = {}
    for found in models:
        groups.setdefault(found.get("label", ""), []).append(found)
    return groups


def slug(name: str) -> str:
    """A name as part of a file's name or an id."""
    import re

    return re.sub(r"[^\w.]+", "-", name).strip("-")


def _how(found: Result) -> list[str]:
    test = found["permutation"]
    lines = [
        f"Permutation test, with the layer chosen anew in each of {test['n']}: p = {test['p']:.2g}; by chance an AUROC "
        f"of {test['chance_95']:.2f} is passed in 5 % of them.",
    ]
    if found.get("origin", {}).get("pooling") == "mean":
        lines.append(
            "Pooling is the mean over all tokens, as in the paper. In many models the first token is an attention "
            "sink, with a norm several times the rest: where AUROC dips in the middle layers, try --pooling "
            "mean-without-first."
        )
    return lines


def _reading(found: Result) -> str:
    r = found["behaviour"]["pearson"]
    low, high = r["interval"]
    if low > 0:
        says = "texts rated higher score higher"
    elif high < 0:
        says = "texts rated higher score lower: it reads the opposite, or something else"
    else:
        says = "no relation is shown"
    return f"{found['name']}: r = {r['value']:.2f} [{low:.2f}, {high:.2f}], p = {r['p']:.3f}: {says}."
