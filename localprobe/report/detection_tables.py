"""The paper's Tables 1 to 3 and tables of their controls."""

from __future__ import annotations

from collections.abc import Container, Sequence

from localprobe.probing.behaviour import Behaviour
from localprobe.probing.detection import Detection, ModelAgreement
from localprobe.probing.result import ProbeResult, Validation
from localprobe.report.table import Measured, Table, TableCell


def layers(result: ProbeResult, name: str, only: Container[int] | None = None) -> Table:
    """Table 1: every layer, or `only` some."""
    rows = tuple(
        (
            _marked(row.layer, result),
            Measured(row.auroc, row.auroc_interval, 3),
            Measured(row.accuracy, row.accuracy_interval, percent=True),
            Measured(row.separation, row.separation_interval),
            Measured(row.std_positive, row.std_positive_interval),
            Measured(row.std_negative, row.std_negative_interval),
            Measured(row.random.mean if row.random else None),
            Measured(row.random.std if row.random else None),
            Measured(row.random.z if row.random else None),
        )
        for row in result.layers
        if only is None or row.layer in only
    )
    columns = ("layer", "AUROC", "accuracy", "separation", "std +", "std -", "random mean", "random std", "z")
    return Table(
        f"{'layers' if only is None else 'table-1'}-{name}",
        "All layers" if only is None else f"Table 1. {result.test_pairs} pairs held out",
        columns,
        rows,
        "* cross-validated inside the training pairs; + best on these pairs, which flatters it. Brackets: 95 %, by "
        "bootstrap over pairs. z: the probe among random directions.",
    )


def baselines(result: ProbeResult, name: str) -> list[Table]:
    """Baselines on the same texts; no table if the texts are unknown."""
    if result.validation is None or (simpler := result.validation.baselines) is None:
        return []
    chosen = result.chosen
    rows: list[tuple[TableCell, ...]] = [
        (f"probe at layer {chosen.layer}", Measured(chosen.auroc, chosen.auroc_interval, 3), Measured(None))
    ]
    titled = (
        ("bag of words", simpler.bag_of_words),
        ("bag of words, each scenario by a fit without it", simpler.bag_of_words_unseen),
        (f"one word, {simpler.best_word.word!r}", simpler.best_word),
        ("length in words", simpler.length_words),
        ("length in characters", simpler.length_characters),
        ("the probe at layer 0", simpler.layer_0),
    )
    for title, baseline in titled:
        if baseline:
            lead = Measured(chosen.auroc - baseline.auroc, baseline.lead, 3) if baseline.lead else Measured(None)
            rows.append((title, Measured(baseline.auroc, baseline.interval, 3), lead))
    columns = ("what", "AUROC", "the probe's lead")
    return [Table(f"baselines-{name}", "Against simpler readings", columns, tuple(rows))]


def left_out(validation: Validation, name: str) -> list[Table]:
    """Probes fitted without a scenario or generator, scored on it."""
    tables = []
    for by, left in validation.leave_one_out.items():
        rows: list[tuple[TableCell, ...]] = [
            (group.name, group.pairs, Measured(group.at_layer.auroc, group.at_layer.interval, 3))
            for group in left.groups
        ]
        pairs = sum(group.pairs for group in left.groups)
        rows.append(
            (f"all, each by a fit without its {by}", pairs, Measured(left.pooled.auroc, left.pooled.interval, 3))
        )
        note = f"A {by} of one pair has no interval." if any(group.pairs == 1 for group in left.groups) else ""
        tables.append(Table(f"left-out-{by}-{name}", f"One {by} left out", (by, "pairs", "AUROC"), tuple(rows), note))
    return tables


def models(detections: Sequence[Detection]) -> Table:
    """Table 2, with the cross-validated layer and the best one."""
    rows = []
    for detection in detections:
        probe, best, chosen = detection.probe, detection.probe.best, detection.probe.chosen
        validation = probe.validation
        words = validation.baselines.bag_of_words.auroc if validation and validation.baselines else None
        rows.append(
            (
                detection.name,
                detection.label,
                best.layer,
                Measured(best.auroc, best.auroc_interval, 3),
                Measured(best.accuracy, best.accuracy_interval, percent=True),
                chosen.layer,
                Measured(chosen.auroc, chosen.auroc_interval, 3),
                Measured(chosen.accuracy, chosen.accuracy_interval, percent=True),
                Measured(validation.permutation.p if validation else None, digits=4),
                Measured(words),
            )
        )
    columns = (
        *("model", "label", "best layer", "AUROC", "accuracy", "chosen layer", "AUROC there", "accuracy there"),
        *("permutation p", "bag of words"),
    )
    return Table(
        "table-2",
        "Table 2. Models on the same pairs",
        columns,
        tuple(rows),
        "The best layer was picked on the test texts, as in the paper, and flatters; the chosen one was not.",
    )


def agreement(pairs: Sequence[ModelAgreement]) -> Table:
    """Agreement of two models on the same texts."""
    rows = tuple(
        (
            *pair.models,
            Measured.of(pair.scores.pearson),
            Measured.of(pair.scores.spearman),
            Measured.of(pair.scores.within_poles),
            Measured(min(pair.directions) if pair.directions else None, digits=4),
        )
        for pair in pairs
    )
    return Table(
        "agreement",
        "Agreement of scores",
        ("one", "other", "Pearson r", "Spearman rho", "r within the poles", "lowest cosine of directions"),
        rows,
        "Probes that both separate the poles agree for that reason alone; r within the poles excludes it. "
        "Directions are compared between two loads of one model only.",
    )


def binary(models: Sequence[tuple[str, Behaviour]]) -> Table:
    """Table 3, one column per model."""
    results = [(name, rated.binary) for name, rated in models]
    shares = ("accuracy", "precision", "recall", "f1", "specificity")
    counts = ("true_positive", "false_positive", "true_negative", "false_negative")
    rows: list[tuple[TableCell, ...]] = [("texts", *(b.n for _, b in results))]
    rows += [
        (_title(share), *(Measured(getattr(b, share), getattr(b, f"{share}_interval")) for _, b in results))
        for share in shares
    ]
    rows += [(_title(count), *(getattr(b, count) for _, b in results)) for count in counts]
    rows.append(("AUROC", *(Measured(b.auroc, b.auroc_interval) for _, b in results)))
    note = (
        "At the threshold from the training pairs; texts rated in the middle are left out. AUROC needs no threshold. "
        "Brackets: 95 %, Wilson's and for AUROC Newcombe's interval; few texts give wide intervals."
    )
    columns = ("metric", *(name for name, _ in results))
    return Table("table-3", "Table 3. Rated texts, yes or no", columns, tuple(rows), note)


def correlations(models: Sequence[tuple[str, Behaviour]]) -> Table:
    """Correlation coefficients of every model."""
    rows = tuple(
        (
            name,
            rated.layer,
            rated.n,
            Measured(rated.pearson.value, rated.pearson.interval),
            Measured(rated.pearson.p, digits=4),
            Measured(rated.spearman.value, rated.spearman.interval),
            Measured(rated.spearman.p, digits=4),
            "exact" if rated.spearman.exact else "by random permutations",
        )
        for name, rated in models
    )
    columns = ("model", "layer", "texts", "Pearson r", "p", "Spearman rho", "p of rho", "p is")
    return Table("correlation", "Scores and ratings", columns, rows, "p by permutation, two-sided.")


def _title(measure: str) -> str:
    return "F1" if measure == "f1" else measure.replace("_", " ")


def _marked(layer: int, result: ProbeResult) -> str:
    return f"{layer}{'*' if layer == result.layer else ''}{'+' if layer == result.best.layer else ''}"
