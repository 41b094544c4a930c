"""`localprobe reproduce`: the paper, for the models given."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from localprobe.cli.options import Labelled, models_options
from localprobe.cli.pairs import pair_options, study_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localprobe.contrast.pairs import Pair
    from localprobe.contrast.system_prompts import SystemPrompts
    from localprobe.experiments.experiment import Experiment
    from localprobe.probing.detection import Detection
    from localprobe.probing.study import Choices
    from localprobe.store.runs import Runs


@click.command()
@models_options
@click.option("--pairs", default="empathy", show_default=True, help="JSONL of pairs, or a set that ships.")
@click.option("--ratings", default="completions", show_default=True, help="Rated texts, JSONL, or a set that ships.")
@click.option(
    "--steering",
    default="reproduce",
    show_default=True,
    help="The grid to steer with: a TOML file or one that ships, as paper (raw alphas); none for detection alone.",
)
@click.option("--system-prompts", type=click.Path(path_type=Path), help="JSON with positive and negative.")
@study_options
@click.option(
    "--output", "-o", type=click.Path(path_type=Path), help="Folder for the report, its tables and the probes."
)
@click.option("--json", "as_json", is_flag=True, help="Print every figure with its interval as JSON.")
@pair_options
def reproduce(
    models: list[Labelled],
    pairs: str,
    ratings: str,
    steering: str,
    system_prompts: Path | None,
    how: dict[str, Any],
    output: Path | None,
    as_json: bool,
    fields: dict[str, str],
) -> None:
    """The paper's tables and figures for each MODEL, with what should be read beside them.

    What is done is kept: run the same command again and it goes on where it was.

    \b
    localprobe reproduce smollm2-135m
    localprobe reproduce phi-3-mini=safety-trained qwen2.5-7b=safety-trained dolphin-llama3.1-8b=uncensored
    """
    from localprobe import report
    from localprobe.cli import detection
    from localprobe.cli.pairs import hashed, path_of, read, study_of
    from localprobe.contrast.rated import read_rated
    from localprobe.contrast.system_prompts import read_system_prompts
    from localprobe.store.runs import Runs

    ships = path_of(pairs)[1]
    how["concept"] = how["concept"] or (pairs if ships else "empathy")
    choices, test, layers = study_of(pairs, how, fields)
    texts, rated = read(pairs, fields), read_rated(path_of(ratings)[0])
    prompts = read_system_prompts(system_prompts) if system_prompts else None
    folder = output or Path(f"reproduce-{choices.concept}")
    grid = _grid(steering, models, texts, choices, folder, prompts, whole=test is not None)
    name = f"{choices.concept} on {', '.join(each.chosen.model for each in models)}"
    about = {"hashes": hashed(pairs=pairs, test=how["test"], ratings=ratings)}
    runs, kept = Runs(), _Kept(name, about)
    result: dict[str, Any] = {"pairs": pairs, "ratings": ratings}

    def keep(done: list[Detection]) -> None:
        result.update(detection.as_json(done, choices))
        kept.add(runs, result)

    done = detection.detect_all(
        models, texts, choices, test=test, rated=rated, layers=layers, vectors=folder / "probes", keep=keep
    )
    if not as_json:
        detection.show(detection.as_json(done, choices))
    if grid:
        result["steering"] = _steer(grid, runs, quiet=as_json)
        kept.add(runs, result)
    run = runs.get(kept.id)
    report.write([run], folder / "report.html")
    report.write_csv([run], folder / "tables")
    if as_json:
        click.echo(json.dumps({"run": run.id, "folder": str(folder), **run.result}))
        return
    click.echo(f"\nreport {folder / 'report.html'}, tables and probes beside it; run {run.id}")


class _Kept:
    """The run of this command, kept anew whenever there is more of it."""

    def __init__(self, name: str, about: dict[str, Any]) -> None:
        self._name, self._about = name, about
        self.id = ""

    def add(self, runs: Runs, result: dict[str, Any]) -> None:
        self.id = runs.add("reproduce", self._name, result, about=self._about, id=self.id or None).id


def _grid(
    steering: str,
    models: Sequence[Labelled],
    pairs: Sequence[Pair],
    choices: Choices,
    folder: Path,
    system: SystemPrompts | None,
    *,
    whole: bool,
) -> Experiment | None:
    """The experiment to steer with; its pairs go to the folder, in the usual field names."""
    from localprobe.contrast.pairs import write_pairs
    from localprobe.experiments.experiment import ModelChoice
    from localprobe.experiments.experiment_file import named_experiment
    from localprobe.experiments.reproduction import adapted

    if steering == "none":
        return None
    grid = named_experiment(steering)
    write_pairs(pairs, folder / "pairs.jsonl")
    return adapted(
        grid,
        [ModelChoice(each.chosen.model, each.chosen.engine, each.label, each.chosen.options) for each in models],
        folder / "pairs.jsonl",
        concept=choices.concept,
        method=choices.method,
        pooling=choices.pooling,
        test_fraction=0 if whole else choices.test_fraction,
        seed=choices.seed,
        system=system,
    )


def _steer(grid: Experiment, runs: Runs, *, quiet: bool) -> dict[str, Any]:
    """Run the experiment, or go on with it, and show what came of it unless `quiet`."""
    from localprobe.cli.sweep import run_experiment
    from localprobe.cli.sweep_table import show

    run = run_experiment(grid, runs)
    if not quiet:
        show(run)
    return {**run.result, "run": run.id}
