"""The paper's Tables 1 to 3, out of results, and the figures that they should be read against."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any

from localprobe.report.table import Measured, Table, TableCell

Result = Mapping[str, Any]


def layers(found: Result, name: str, only: Container[int] | None = None) -> Table:
    """Table 1: every layer, or `only` some."""
    rows = tuple(
        (
            _marked(each["layer"], found),
            Measured(each["auroc"], each["auroc_interval"], 3),
            Measured(each["accuracy"], each["accuracy_interval"], percent=True),
            Measured(each["separation"], each["separation_interval"]),
            Measured(each["std_positive"], each["std_positive_interval"]),
            Measured(each["std_negative"], each["std_negative_interval"]),
            Measured(each["random"]["mean"]),
            Measured(each["random"]["std"]),
            Measured(each["random"]["z"]),
        )
        for each in found["layers"]
        if only is None or each["layer"] in only
    )
    columns = ("layer", "AUROC", "accuracy", "separation", "std +", "std -", "random mean", "random std", "z")
    return Table(
        f"{'layers' if only is None else 'table-1'}-{name}",
        "All layers" if only is None else f"Table 1. {found['test_pairs']} pairs held out",
        columns,
        rows,
        "* chosen inside the training pairs; + best on these pairs, which flatters it. Brackets: 95 % intervals, by "
        "bootstrap over pairs. z: the probe among random directions.",
    )


def baselines(found: Result, name: str) -> Table:
    """What else tells the same texts apart."""
    nested, words = found["nested"], found["baselines"]
    rows: list[tuple[TableCell, ...]] = [
        (f"probe at layer {nested['layer']}", Measured(nested["auroc"], nested["interval"], 3), Measured(None))
    ]
    titles = {
        "bag_of_words": "bag of words",
        "bag_of_words_unseen": "bag of words, each scenario by a fit without it",
        "best_word": f"one word, {words['best_word']['word']!r}",
        "length_words": "length in words",
        "length_characters": "length in characters",
        "layer_0": "the probe at layer 0",
    }
    for key, title in titles.items():
        if each := words[key]:
            lead = each["lead"]
            middle = Measured(nested["auroc"] - each["auroc"], lead, 3) if lead else Measured(None)
            rows.append((title, Measured(each["auroc"], each["interval"], 3), middle))
    return Table(f"baselines-{name}", "Against simpler readings", ("what", "AUROC", "the probe's lead"), tuple(rows))


def left_out(found: Result, name: str) -> list[Table]:
    """Probes fitted without a scenario, or without a generator, on what they have not seen."""
    tables = []
    for by, each in found["leave_one_out"].items():
        rows = [
            (group["name"], group["pairs"], Measured(group["at_layer"]["auroc"], group["at_layer"]["interval"], 3))
            for group in each["groups"]
        ]
        total = (f"all, each by a fit without its {by}", sum(row[1] for row in rows))
        rows.append((*total, Measured(each["pooled"]["auroc"], each["pooled"]["interval"], 3)))
        tables.append(Table(f"left-out-{by}-{name}", f"One {by} left out", (by, "pairs", "AUROC"), tuple(rows)))
    return tables


def models(found: Sequence[Result]) -> Table:
    """Table 2, with the layer chosen honestly beside the best one."""
    rows = tuple(
        (
            each["name"],
            each.get("label", ""),
            each["best"]["layer"],
            Measured(each["best"]["auroc"], each["best"]["interval"], 3),
            Measured(each["best"]["accuracy"], each["best"]["accuracy_interval"], percent=True),
            each["nested"]["layer"],
            Measured(each["nested"]["auroc"], each["nested"]["interval"], 3),
            Measured(each["nested"]["accuracy"], each["nested"]["accuracy_interval"], percent=True),
            Measured(each["permutation"]["p"], digits=4),
            Measured(each["baselines"]["bag_of_words"]["auroc"]),
        )
        for each in found
    )
    columns = (
        *("model", "label", "best layer", "AUROC", "accuracy", "chosen layer", "AUROC there", "accuracy there"),
        *("permutation p", "bag of words"),
    )
    return Table(
        "table-2",
        "Table 2. Models on the same pairs",
        columns,
        rows,
        "The best layer was picked on the test texts, as in the paper, and flatters; the chosen one was not.",
    )


def agreement(pairs: Sequence[Result]) -> Table:
    """Do two models score the same texts alike?"""
    rows = tuple(
        (
            *each["models"],
            *(_likeness(each[what]) for what in ("pearson", "spearman", "within_poles")),
            Measured(min(each["directions"]) if each["directions"] else None, digits=4),
        )
        for each in pairs
    )
    return Table(
        "agreement",
        "Agreement of scores",
        ("one", "other", "Pearson r", "Spearman rho", "r within the poles", "lowest cosine of directions"),
        rows,
        "Probes that both tell the poles apart agree for that reason alone; within the poles that is taken off. "
        "Directions are compared between two loads of one model only.",
    )


def binary(found: Sequence[Result]) -> Table:
    """Table 3, a column for every model."""
    shown = [(each["name"], each["behaviour"]["binary"]) for each in found if each.get("behaviour")]
    shares = ("accuracy", "precision", "recall", "f1", "specificity")
    counts = ("true_positive", "false_positive", "true_negative", "false_negative")
    rows: list[tuple[TableCell, ...]] = [("texts", *(b["n"] for _, b in shown))]
    rows += [(_title(what), *(Measured(b[what], b[f"{what}_interval"]) for _, b in shown)) for what in shares]
    rows += [(_title(what), *(b[what] for _, b in shown)) for what in counts]
    rows.append(("AUROC", *(Measured(b["auroc"], b["auroc_interval"]) for _, b in shown)))
    note = (
        "At the threshold from the training pairs; texts rated in the middle are left out. AUROC needs no threshold. "
        "Brackets: 95 %, Wilson's and for AUROC Newcombe's interval; perfect figures on a few texts leave much open."
    )
    columns = ("metric", *(name for name, _ in shown))
    return Table("table-3", "Table 3. Rated texts, yes or no", columns, tuple(rows), note)


def _title(what: str) -> str:
    return "F1" if what == "f1" else what.replace("_", " ")


def correlations(found: Sequence[Result]) -> Table:
    """Coefficients of every model, none left out."""
    rows = tuple(
        (
            each["name"],
            b["layer"],
            b["n"],
            Measured(b["pearson"]["value"], b["pearson"]["interval"]),
            Measured(b["pearson"]["p"], digits=4),
            Measured(b["spearman"]["value"], b["spearman"]["interval"]),
            Measured(b["spearman"]["p"], digits=4),
            "exact" if b["spearman"]["exact"] else "by random permutations",
        )
        for each in found
        if (b := each.get("behaviour"))
    )
    columns = ("model", "layer", "texts", "Pearson r", "p", "Spearman rho", "p of rho", "p is")
    return Table("correlation", "Scores and ratings", columns, rows, "p by permutation, two-sided.")


def _marked(layer: int, found: Result) -> str:
    marks = ("*" if layer == found["nested"]["layer"] else "") + ("+" if layer == found["best"]["layer"] else "")
    return f"{layer}{marks}"


def _likeness(found: Result) -> Measured:
    return Measured(found["value"], found["interval"])
