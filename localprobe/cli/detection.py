"""Fitting and validating on several models in turn, for `compare` and `reproduce`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from localprobe.cli.output import say

if TYPE_CHECKING:
    from localprobe.cli.options import Labelled
    from localprobe.contrast.pairs import Pair
    from localprobe.contrast.rated import Rated
    from localprobe.probing.behaviour import Behaviour
    from localprobe.probing.comparison import Likeness
    from localprobe.probing.config import ProbeConfig
    from localprobe.probing.detection import Comparison, Detection, ModelAgreement


@dataclass(frozen=True, slots=True)
class Study:
    """What is fitted and measured on every model of a study."""

    source: str
    """Where the pairs come from, as the user named it."""
    concept: str
    pairs: Sequence[Pair]
    test: Sequence[Pair] | None
    layers: list[int] | None
    keywords: Mapping[str, str] | None
    config: ProbeConfig

    @classmethod
    def of(
        cls,
        pairs: str,
        concept: str | None,
        test: str | None,
        layers: str | None,
        keywords: Path | None,
        config: ProbeConfig,
        fields: dict[str, str | None],
    ) -> Study:
        """The study of a command's options."""
        from localprobe.cli.layers import parse
        from localprobe.cli.pairs import read
        from localprobe.probing.keywords import KEYWORD_LISTS, read_keywords

        return cls(
            pairs,
            concept or Path(pairs).stem,
            read(pairs, fields),
            read(test, fields) if test else None,
            parse(layers),
            read_keywords(KEYWORD_LISTS.resolve(keywords)) if keywords else None,
            config,
        )


def detect_all(
    models: Sequence[Labelled],
    study: Study,
    *,
    rated: Sequence[Rated] = (),
    vectors: Path | None = None,
    keep: Callable[[Comparison], None] = lambda comparison: None,
) -> Comparison:
    """Fit and validate on every model in turn. `keep` is called with the comparison so far after each model; the probes
    are written to the folder `vectors` if it is given."""
    from localprobe.cli import show
    from localprobe.probing.detection import Comparison, compare, detect
    from localprobe.vectors import files as vector_files

    reports = []
    comparison = Comparison(study.concept, study.config, (), (), study.source)
    for number, labelled in enumerate(models, 1):
        say(f"{number} of {len(models)}: {labelled.chosen.name}", err=True)
        with labelled.chosen.load() as model, show.capturing() as capturing:
            report, detection = detect(
                model,
                study.pairs,
                study.config,
                concept=study.concept,
                label=labelled.label,
                test=study.test,
                rated=rated,
                layers=study.layers,
                keywords=study.keywords,
                capturing=capturing,
                progress=show.step,
            )
        reports.append((report, detection))
        if vectors:
            vector_files.save(report.vector, vectors / f"{filename(detection)}.safetensors")
        comparison = compare(study.concept, study.config, reports, pairs=study.source)
        keep(comparison)
    return comparison


def filename(detection: Detection) -> str:
    """A name for files of one model and engine."""
    from localprobe.report.detection import slug

    identity = detection.measured_on
    return "-".join(
        slug(Path(str(word)).name) for word in (identity.model, identity.engine, identity.quantisation) if word
    )


def show(comparison: Comparison) -> None:
    """The models side by side, then how far they agree."""
    from rich.table import Table

    from localprobe.cli.show import console as out
    from localprobe.cli.show import styled
    from localprobe.stats.intervals import bracketed

    console = out()
    title = f"{comparison.concept}, {comparison.config.pooling}"
    table = Table(box=None, header_style="bold", title=title, title_justify="left")
    for name in ("model", "label", "layer", "AUROC", "accuracy", "best layer", "AUROC there", "words alone"):
        table.add_column(name, justify="left" if name in {"model", "label"} else "right")
    for detection in comparison.models:
        probe, chosen, best = detection.probe, detection.probe.chosen, detection.probe.best
        words = probe.validation.baselines if probe.validation else None
        table.add_row(
            detection.name,
            detection.label,
            str(chosen.layer),
            bracketed(chosen.auroc, chosen.auroc_interval, value_spec=".3f"),
            f"{chosen.accuracy:.0%}",
            str(best.layer),
            f"{best.auroc:.3f}",
            f"{words.bag_of_words.auroc:.2f}" if words else "",
        )
    console.print(table)
    console.print(
        "layer: cross-validated inside the training pairs; best layer: on the test pairs, which flatters it",
        style="dim",
    )
    for detection in comparison.models:
        console.print(styled("\n", (detection.name, "bold"), f"  {detection.probe.verdict}"), highlight=False)
        if detection.behaviour:
            console.print(_behaviour(detection.behaviour), highlight=False)
    for agreement in comparison.agreement:
        console.print(_agreement(agreement), highlight=False)


def _behaviour(rated: Behaviour) -> str:
    from localprobe.stats.intervals import bracketed

    r, rho, binary = rated.pearson, rated.spearman, rated.binary
    return (
        f"  rated texts ({rated.n}): r = {bracketed(r.value, r.interval)}, p = {r.p:.3f}; "
        f"rho = {rho.value:.2f}, p = {rho.p:.3f}; accuracy "
        f"{bracketed(binary.accuracy, binary.accuracy_interval, '.0%')} of {binary.n} at the probe's own threshold"
    )


def _agreement(agreement: ModelAgreement) -> str:
    scores = agreement.scores
    text = (
        f"\n{' and '.join(agreement.models)}: scores r = {_likeness(scores.pearson)}, within the poles "
        f"{_likeness(scores.within_poles)}"
    )
    if agreement.directions:
        text += f"; cosine of directions at least {min(agreement.directions):.4f}"
    return text


def _likeness(likeness: Likeness) -> str:
    from localprobe.stats.intervals import bracketed

    if likeness.value is None or likeness.interval is None:
        return "not defined"
    return bracketed(likeness.value, likeness.interval)
