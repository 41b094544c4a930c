"""`localprobe sweep`: run an experiment, or go on with it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from localprobe.cli.options import loaded

if TYPE_CHECKING:
    from localprobe.experiments.experiment import Experiment
    from localprobe.experiments.sweep import Progress
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
@click.option("--dry-run", is_flag=True, help="Say how many cells and tokens it has, and about how long it takes.")
@click.option("--shard", default="1/1", callback=_part, help="Do part i of n only: on other machines, the others.")
@click.option("--store", type=click.Path(path_type=Path), help="File of runs; localprobe's own if not given.")
@click.option("--rows", type=click.IntRange(min=1), help="The most rows of a batch; fewer where memory is short.")
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
    """Generate and measure every cell of EXPERIMENT: a TOML file, or one that ships, as laptop or paper.

    What is done is in the store at once. Run the same command again and it goes on where it was.

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
    what, runs = read_experiment(EXPERIMENTS.resolve(experiment)), Runs(store)
    if dry_run:
        _dry_run(what, runs, as_json)
        return
    run = run_experiment(what, runs, shard, rows)
    if as_json:
        click.echo(json.dumps({"run": run.id, **run.result}))
        return
    from localprobe.cli.sweep_table import show

    show(run)
    click.echo(f"run {run.id}: localprobe report {run.id}, localprobe runs export {run.id}", err=True)


def _init(path: Path) -> None:
    from localprobe.errors import UsageError
    from localprobe.experiments.experiment_file import EXPERIMENTS
    from localprobe.store.files import write_whole

    if path.exists():
        raise UsageError(f"{path} is there already: give another name")
    write_whole(path, EXPERIMENTS.path("laptop").read_bytes())
    click.echo(f"wrote {path}; next: localprobe sweep {path} --dry-run")


def _dry_run(what: Experiment, runs: Runs, as_json: bool) -> None:
    from localprobe.experiments.estimate import estimate
    from localprobe.experiments.sweep import check

    check(what)
    found = estimate(what, runs, loaded)
    if as_json:
        click.echo(json.dumps(found.as_json()))
        return
    for each in found.models:
        left = f", {each.done:,} of them done" if each.done else ""
        click.echo(
            f"{each.model}: {each.cells:,} cells{left}; at most {each.tokens:,} tokens to generate, "
            f"about {_duration(each.seconds)} with measuring, at {each.rate:,.0f} tok/s ({each.source})"
        )
    click.echo(f"in all: {found.cells:,} cells, about {_duration(found.seconds)}; nothing was generated into the store")


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def run_experiment(what: Experiment, runs: Runs, part: tuple[int, int] = (1, 1), rows: int | None = None) -> Run:
    """Run an experiment with bars; on Ctrl-C, say how to go on."""
    from localprobe.experiments import sweep as sweeping

    sweeping.check(what)
    say = partial(click.echo, err=True)
    try:
        with _bars() as progress:
            return sweeping.run(what, runs, progress=progress, load=loaded, notify=say, part=part, width=rows)
    except KeyboardInterrupt:
        click.echo(
            f"localprobe: stopped; what is done is kept in run {what.run}: give the same command again to go on",
            err=True,
        )
        raise SystemExit(130) from None


@contextmanager
def _bars() -> Iterator[Callable[[Progress], None]]:
    """A bar for the stage that goes on, closed as it ends: a model that loads next draws for itself."""
    with ExitStack() as stack:
        shown: list[_Bar] = []

        def progress(now: Progress) -> None:
            if shown and shown[0].stage != (now.stage, now.model):
                shown.clear()
                stack.close()
            if not shown and now.done < now.total:
                shown.append(_Bar(stack, now))
            if shown:
                shown[0].reach(now)
            if now.done >= now.total:
                shown.clear()
                stack.close()

        yield progress


class _Bar:
    """The bar of one stage."""

    def __init__(self, stack: ExitStack, first: Progress) -> None:
        from localprobe.cli.show import counting

        self.stage = first.stage, first.model
        unit = "texts" if first.stage == "fitting" else "cells"
        self._count = stack.enter_context(counting(f"{first.stage}, {first.model}", first.total, unit))
        self._start = time.perf_counter()

    def reach(self, now: Progress) -> None:
        seconds = time.perf_counter() - self._start
        self._count.reach(now.done, now.total, now.tokens, now.tokens / seconds if seconds > 1 else 0.0)
