"""`localprobe demo`: a tour in minutes, on a model small enough for any machine."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from localprobe.cli.options import BUNDLED, Chosen, model_options

if TYPE_CHECKING:
    from rich.table import Table

    from localprobe.cli.show import Console
    from localprobe.contrast.pairs import Pair
    from localprobe.generation.answer import AnswerBuilder
    from localprobe.model import Model
    from localprobe.probing.report import ProbeReport
    from localprobe.probing.result import ProbeResult
    from localprobe.vectors.vector import Vector

DOSES = (-0.25, 0.0, 0.25)
_SCENARIO = "the_listener"
_TOKENS = 90
_ABOVE = 4  # layers above the steered one, for a second score that does not contain alpha directly


@click.command()
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    default=Path("empathy.safetensors"),
    show_default=True,
    help="Where to save the direction.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the split of pairs and of the answers.")
@model_options
def demo(output: Path, seed: int, chosen: Chosen) -> None:
    """Find empathy in a small model, test it on held-out pairs, and answer one scenario at three doses."""
    from localprobe.cli.show import Console, styled
    from localprobe.contrast.pairs import PAIR_SETS, read_pairs
    from localprobe.contrast.scenarios import scenario
    from localprobe.vectors import files as vector_files

    start = time.perf_counter()
    console = Console()
    pairs = read_pairs(PAIR_SETS.path("empathy"))
    with chosen.load() as model:
        model.ids(scenario(_SCENARIO).prompt())  # a prompt that is too long raises before the fit
        info = model.info
        about = f" ({info.place}): {info.layers} layers of {info.width}"
        console.print(styled((info.model, "bold"), " on ", (info.engine, "bold"), about))
        report = _probe(model, pairs, seed, console)
        vector_files.save(report.vector, output)
        _answers(model, report.vector, seed, console)
    _next(output, chosen, console)
    console.print(f"{time.perf_counter() - start:.0f} seconds", style="dim")


def _probe(model: Model, pairs: list[Pair], seed: int, console: Console) -> ProbeReport:
    """Capture every pair at every layer, fit on 70 %, and measure on the other 30 %."""
    from localprobe.cli import show
    from localprobe.probing.config import ProbeConfig
    from localprobe.probing.fit import fit

    start = time.perf_counter()
    # One pass over each text gives every layer. Residuals are cached, so re-running resumes the capture.
    with show.capturing() as capturing:
        config = ProbeConfig(seed=seed)
        report = fit(model, pairs, config, concept="empathy", validate=False, capturing=capturing)
    result = report.result
    console.print(
        f"{2 * len(pairs)} texts captured at every layer in {time.perf_counter() - start:.0f} s; "
        f"fitted on {result.train_pairs} pairs, measured on the {result.test_pairs} held out"
    )
    _table(result, console)
    return report


def _table(result: ProbeResult, console: Console) -> None:
    from rich.table import Table

    table = Table(box=None, header_style="bold")
    for name in ("layer", "AUROC", "", "accuracy", "separation"):
        table.add_column(name, justify="left" if name == "" else "right")
    for row in result.layers:
        bar = "█" * round(24 * max(0.0, row.auroc - 0.5) * 2)
        chosen = row.layer == result.layer
        table.add_row(
            str(row.layer),
            f"{row.auroc:.3f}",
            bar,
            f"{row.accuracy:.0%}",
            f"{row.separation:.2f}" + (" ← chosen" if chosen else ""),
            style="bold green" if chosen else None,
        )
    console.print(table)
    console.print(
        f"Layer {result.layer} was chosen among the middle layers by cross-validation inside the training pairs, not "
        "by this table."
    )
    console.print(
        "A high AUROC at layer 0, which reads each word without its neighbours, is a warning: words alone go far in "
        "separating these texts.",
        style="dim",
    )


def _answers(model: Model, vector: Vector, seed: int, console: Console) -> None:
    """One scenario at three doses, as three rows of one batch, shown side by side while they stream."""
    from rich.live import Live

    from localprobe.cli.show import styled
    from localprobe.contrast.scenarios import scenario
    from localprobe.engine import Sampler
    from localprobe.generation.answer import AnswerBuilder
    from localprobe.steering.knob import watch

    question = scenario(_SCENARIO)
    prompt = question.prompt()
    layer = vector.layer()
    above = min(layer + _ABOVE, model.info.layers - 1)
    knobs = [model.knob(vector, dose=dose) for dose in DOSES]
    sampler = Sampler(temperature=0.7)
    requests = [
        model.request(prompt, [knob] if knob.alpha else [], sampler=sampler, key=f"demo {seed}", tokens=_TOKENS)
        for knob in knobs
    ]
    answers = [AnswerBuilder() for _ in DOSES]
    heads = [f"dose {dose:+.2f} (alpha {knob.alpha:+.1f})" for dose, knob in zip(DOSES, knobs, strict=True)]
    console.print(styled("\n", (question.title, "bold"), f"  {prompt}\n"))
    with Live(console=console, refresh_per_second=10, transient=False) as live:
        for event in model.generate(requests, [watch(vector, layer), watch(vector, above)]):
            answers[event.row].take(event)
            live.update(_columns(heads, answers, (layer, above)))
    console.print(
        f"\nProbe: mean projection of the answer's tokens on each layer's direction. At layer {layer}, the "
        f"steered one, it contains the alpha that was added; at layer {above} it is the model's own response.",
        style="dim",
    )


def _columns(heads: list[str], answers: list[AnswerBuilder], layers: tuple[int, int]) -> Table:
    import numpy as np
    from rich.table import Table

    table = Table(expand=True, show_footer=True)
    for head, answer in zip(heads, answers, strict=True):
        scores = answer.projections  # (tokens, watches), the last token's still unknown
        means = np.nanmean(scores, axis=0) if np.isfinite(scores).any() else ()
        reading = ", ".join(f"{mean:+.1f} at layer {layer}" for mean, layer in zip(means, layers, strict=False))
        table.add_column(head, footer=f"probe {reading}", ratio=1)
    table.add_row(*(answer.text for answer in answers))
    return table


def _next(output: Path, chosen: Chosen, console: Console) -> None:
    from localprobe.cli.show import styled

    model = "" if chosen.name == BUNDLED else f" --model {chosen.name}"
    console.print(
        styled("\nSaved the direction of every layer to ", (str(output), "bold"), ". Next:"),
        highlight=False,
    )
    console.print(
        f"  localprobe validate {output} empathy{model}\n"
        "      what this probe shows, and what it does not\n"
        f'  localprobe steer {output} "My friend has gone quiet. What should I do?" --dose 0.2{model}\n'
        "      any prompt, any dose; --layer for another layer\n"
        "  localprobe models\n"
        "      larger models to try: localprobe demo --model phi-3-mini",
        highlight=False,
    )
