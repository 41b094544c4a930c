"""`localprobe sweep`: run an experiment, or resume it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from localprobe.cli.options import loaded
from localprobe.cli.output import say, say_json

if TYPE_CHECKING:
    from localprobe.experiments.experiment import Experiment
    from localprobe.experiments.sweep import SweepProgress
    from localprobe.store.runs import Run, Runs

_WRITTEN = Path("experiment.toml")


def _part(context: click.Context, option: click.Parameter, value: str) -> tuple[int, int]:
    """`2/3` as (2, 3)."""
    match = re.fullmatch(r"(\d+)/(\d+)", value)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise click.BadParameter(f"{value!r}: write part i of n as 1/3, 2/3 or 3/3")
    return int(match[1]), int(match[2])


@click.command()
@click.argument("experiment", required=False)
@click.option("--init", is_flag=True, help="Write a commented experiment to EXPERIMENT (experiment.toml) and stop.")
@click.option("--dry-run", is_flag=True, help="Print how many cells and tokens it has, and about how long it takes.")
@click.option("--shard", default="1/1", callback=_part, help="Do only part i of n; other machines do the others.")
@click.option("--store", type=click.Path(path_type=Path), help="File of runs; localprobe's own if not given.")
@click.option("--rows", type=click.IntRange(min=1), help="The most rows of a batch; fewer if memory is short.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def sweep(
    experiment: str | None,
    init: bool,
    dry_run: bool,
    shard: tuple[int, int],
    store: Path | None,
    rows: int | None,
    as_json: bool,
) -> None:
    """Generate and measure every cell of EXPERIMENT: a TOML file, or one that ships, such as laptop or paper.

    Every answer is stored as soon as it is finished; re-running the command resumes it.

    \b
    localprobe sweep --init
    localprobe sweep experiment.toml --dry-run
    localprobe sweep experiment.toml
    """
    from localprobe.experiments.experiment_file import EXPERIMENTS, read_experiment
    from localprobe.store.runs import Runs

    if init:
        _init(Path(experiment) if experiment else _WRITTEN)
        return
    if experiment is None:
        raise click.UsageError("name an experiment: a TOML file, or laptop or paper; --init writes one")
    spec, runs = read_experiment(EXPERIMENTS.resolve(experiment)), Runs(store)
    if dry_run:
        _dry_run(spec, runs, as_json)
        return
    run = run_experiment(spec, runs, shard, rows)
    if as_json:
        say_json({"run": run.id, **run.result})
        return
    from localprobe.cli.sweep_table import show

    show(run)
    say(f"run {run.id}: localprobe report {run.id}, localprobe runs export {run.id}", err=True)


def _init(path: Path) -> None:
    from localprobe.errors import UsageError
    from localprobe.experiments.experiment_file import EXPERIMENTS
    from localprobe.store.files import write_whole
    from localprobe.store.names import exists

    if exists(path):
        raise UsageError(f"{path} exists already: give another name")
    write_whole(path, EXPERIMENTS.path("laptop").read_bytes())
    say(f"wrote {path}; next: localprobe sweep {path} --dry-run")


def _dry_run(spec: Experiment, runs: Runs, as_json: bool) -> None:
    from localprobe.experiments.estimate import estimate
    from localprobe.experiments.sweep import check

    check(spec)
    plan = estimate(spec, runs, loaded)
    if as_json:
        say_json(plan.as_json())
        return
    for part in plan.models:
        done = f", {part.done:,} of them done" if part.done else ""
        say(
            f"{part.model}: {part.cells:,} cells{done}; at most {part.tokens:,} tokens to generate, "
            f"about {_duration(part.seconds)} with measuring, at {part.rate:,.0f} tok/s ({part.source})"
        )
    say(f"in all: {plan.cells:,} cells, about {_duration(plan.seconds)}; no answers were generated")


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def run_experiment(spec: Experiment, runs: Runs, part: tuple[int, int] = (1, 1), rows: int | None = None) -> Run:
    """Run an experiment with progress bars; on Ctrl-C, say how to resume it."""
    from localprobe.experiments import sweep as sweeping

    sweeping.check(spec)
    try:
        with _bars() as progress:
            return sweeping.run(
                spec, runs, progress=progress, load=loaded, notify=partial(say, err=True), part=part, width=rows
            )
    except KeyboardInterrupt:
        say(
            f"localprobe: stopped; finished answers are in run {spec.run}: re-run the command to resume it",
            err=True,
        )
        raise SystemExit(130) from None


@contextmanager
def _bars() -> Iterator[Callable[[SweepProgress], None]]:
    """A bar for the current stage, closed at its end, before the next model draws its loading bar."""
    with ExitStack() as stack:
        bars: list[_Bar] = []

        def progress(stage: SweepProgress) -> None:
            if bars and bars[0].stage != (stage.stage, stage.model):
                bars.clear()
                stack.close()
            if not bars and stage.done < stage.total:
                bars.append(_Bar(stack, stage))
            if bars:
                bars[0].reach(stage)
            if stage.done >= stage.total:
                bars.clear()
                stack.close()

        yield progress


class _Bar:
    """The bar of one stage."""

    def __init__(self, stack: ExitStack, first: SweepProgress) -> None:
        from localprobe.cli.show import counting

        self.stage = first.stage, first.model
        unit = "texts" if first.stage == "fitting" else "cells"
        self._count = stack.enter_context(counting(f"{first.stage}, {first.model}", first.total, unit))
        self._start = time.perf_counter()

    def reach(self, stage: SweepProgress) -> None:
        seconds = time.perf_counter() - self._start
        self._count.reach(stage.done, stage.total, stage.tokens, stage.tokens / seconds if seconds > 1 else 0.0)
