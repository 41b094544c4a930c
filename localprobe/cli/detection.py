"""The detection half for several models, one after another: what `compare` and `reproduce` share."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from localprobe.capture.job import Amount
    from localprobe.cli.options import Labelled
    from localprobe.contrast.pairs import Pair
    from localprobe.contrast.rated import Rated
    from localprobe.probing.detection import Detection
    from localprobe.probing.study import Choices


def detect_all(
    models: Sequence[Labelled],
    pairs: Sequence[Pair],
    choices: Choices,
    *,
    test: Sequence[Pair] | None = None,
    rated: Sequence[Rated] = (),
    layers: list[int] | None = None,
    vectors: Path | None = None,
    keep: Callable[[list[Detection]], None] = lambda done: None,
) -> list[Detection]:
    """Fit and validate on every model in turn; `keep` is told what is done after each, and the probes go to the folder
    `vectors` if it is given."""
    from localprobe.probing.detection import detect
    from localprobe.vectors import files

    done: list[Detection] = []
    for number, each in enumerate(models, 1):
        click.echo(f"{number} of {len(models)}: {each.chosen.model}", err=True)
        with each.chosen.load() as model, watching() as capturing:
            found = detect(
                model,
                pairs,
                choices,
                label=each.label,
                test=test,
                rated=rated,
                layers=layers,
                capturing=capturing,
                progress=lambda step: click.echo(f"  {step} ...", err=True),
            )
        done.append(found)
        if vectors:
            files.save(found.study.vector, vectors / f"{filename(found)}.safetensors")
        keep(done)
    return done


def filename(found: Detection) -> str:
    """A name for files of one model and engine."""
    from localprobe.report.detection import slug

    words = filter(None, (found.measured_on[name] for name in ("model", "engine", "quantisation")))
    return "-".join(slug(Path(str(word)).name) for word in words)


def as_json(done: Sequence[Detection], choices: Choices) -> dict[str, Any]:
    """What the models gave, and how far they agree."""
    from localprobe.probing.detection import comparison

    return {
        "concept": choices.concept,
        "method": choices.method,
        "pooling": choices.pooling,
        "seed": choices.seed,
        "models": [each.as_json() for each in done],
        "agreement": comparison(done, resamples=choices.effort.resamples, seed=choices.seed),
    }


@contextmanager
def watching() -> Iterator[Callable[[Amount], None]]:
    """A bar for a capture that is done in slices."""
    from localprobe.cli.show import counting

    with counting("capturing", 0) as count:
        yield lambda amount: count.reach(amount.texts, amount.total, amount.tokens, amount.rate)


def show(result: dict[str, Any]) -> None:
    """The models side by side, then how far they agree."""
    from rich.table import Table

    from localprobe.cli.show import console as out

    console = out()
    table = Table(
        box=None, header_style="bold", title=f"{result['concept']}, {result['pooling']}", title_justify="left"
    )
    for name in ("model", "label", "layer", "AUROC", "accuracy", "best layer", "AUROC there", "words alone"):
        table.add_column(name, justify="left" if name in {"model", "label"} else "right")
    for each in result["models"]:
        nested, best, words = each["nested"], each["best"], each["baselines"]["bag_of_words"]
        table.add_row(
            each["name"],
            each["label"],
            str(nested["layer"]),
            f"{nested['auroc']:.3f} [{nested['interval'][0]:.2f}, {nested['interval'][1]:.2f}]",
            f"{nested['accuracy']:.0%}",
            str(best["layer"]),
            f"{best['auroc']:.3f}",
            f"{words['auroc']:.2f}",
        )
    console.print(table)
    console.print("[dim]layer: chosen inside the training pairs; best layer: on the test pairs, which flatters it[/]")
    for each in result["models"]:
        console.print(f"\n[bold]{each['name']}[/]  {each['verdict']['headline']}", highlight=False)
        if behaves := each["behaviour"]:
            console.print(_behaves(behaves), highlight=False)
    for pair in result["agreement"]:
        console.print(_agrees(pair), highlight=False)


def _behaves(found: dict[str, Any]) -> str:
    r, rho, binary = found["pearson"], found["spearman"], found["binary"]
    return (
        f"  rated texts ({found['n']}): r = {r['value']:.2f} [{r['interval'][0]:.2f}, {r['interval'][1]:.2f}], "
        f"p = {r['p']:.3f}; rho = {rho['value']:.2f}, p = {rho['p']:.3f}; accuracy {binary['accuracy']:.0%} "
        f"[{binary['accuracy_interval'][0]:.0%}, {binary['accuracy_interval'][1]:.0%}] of {binary['n']} at the probe's "
        "own threshold"
    )


def _agrees(pair: dict[str, Any]) -> str:
    def figure(likeness: dict[str, Any]) -> str:
        if likeness["value"] is None:
            return "not defined"
        return f"{likeness['value']:.2f} [{likeness['interval'][0]:.2f}, {likeness['interval'][1]:.2f}]"

    text = (
        f"\n{' and '.join(pair['models'])}: scores r = {figure(pair['pearson'])}, within the poles "
        f"{figure(pair['within_poles'])}"
    )
    if pair["directions"]:
        text += f"; cosine of directions {min(pair['directions']):.4f} and more"
    return text
