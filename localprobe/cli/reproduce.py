"""`localprobe reproduce`: the paper, for the models given."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from localprobe.cli.options import Labelled, models_options
from localprobe.cli.output import say, say_json
from localprobe.cli.pairs import pair_options, probe_options, study_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localprobe.cli.detection import Study
    from localprobe.contrast.system_prompts import SystemPrompts
    from localprobe.experiments.experiment import Experiment
    from localprobe.store.runs import Runs


@click.command()
@models_options
@click.option("--pairs", default="empathy", show_default=True, help="A file of pairs, or a set that ships.")
@click.option("--ratings", default="completions", show_default=True, help="A file of rated texts, or a set that ships.")
@click.option(
    "--steering",
    default="reproduce",
    show_default=True,
    help="The grid to steer with: a TOML file, or one that ships, such as paper (raw alphas); none for detection only.",
)
@click.option("--system-prompts", type=click.Path(path_type=Path), help="JSON with positive and negative.")
@study_options
@probe_options(pooling="mean")
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
    concept: str | None,
    output: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """The paper's tables and figures for each MODEL, with controls.

    Re-running the command resumes it.

    \b
    localprobe reproduce smollm2-135m
    localprobe reproduce phi-3-mini=safety-trained qwen2.5-7b=safety-trained dolphin-llama3.1-8b=uncensored
    """
    from localprobe import report
    from localprobe.cli import detection
    from localprobe.cli.pairs import hashed
    from localprobe.contrast.pairs import PAIR_SETS
    from localprobe.contrast.rated import RATED_SETS, read_rated
    from localprobe.contrast.system_prompts import SYSTEM_PROMPTS, read_system_prompts
    from localprobe.store.json_values import to_json
    from localprobe.store.names import file_name
    from localprobe.store.runs import Runs

    concept = concept or (pairs if PAIR_SETS.holds(PAIR_SETS.resolve(pairs)) else "empathy")
    study = detection.Study.of(pairs, concept, **options)
    rated = read_rated(RATED_SETS.resolve(ratings))
    prompts = read_system_prompts(SYSTEM_PROMPTS.resolve(system_prompts)) if system_prompts else None
    folder = output or Path(f"reproduce-{file_name(concept)}")
    grid = _grid(steering, models, study, folder, prompts)
    name = f"{concept} on {', '.join(model.chosen.name for model in models)}"
    about = {"hashes": hashed(pairs=pairs, test=options["test"], ratings=ratings)}
    runs, run = Runs(), ""
    result: dict[str, Any] = {"ratings": ratings}

    def keep(**part: Any) -> None:
        nonlocal run
        result.update(part)
        run = runs.add("reproduce", name, result, about=about, id=run or None).id

    comparison = detection.detect_all(
        models, study, rated=rated, vectors=folder / "probes", keep=lambda part: keep(detection=to_json(part))
    )
    if not as_json:
        detection.show(comparison)
    if grid:
        keep(steering=_steer(grid, runs, quiet=as_json))
    saved = runs.get(run)
    report.write([saved], folder / "report.html")
    report.write_csv([saved], folder / "tables")
    if as_json:
        say_json({"run": run, "folder": str(folder), **saved.result})
        return
    say(f"\nreport {folder / 'report.html'}, tables and probes beside it; run {run}")


def _grid(
    steering: str,
    models: Sequence[Labelled],
    study: Study,
    folder: Path,
    system: SystemPrompts | None,
) -> Experiment | None:
    """The experiment to steer with; writes its pairs to the folder, under our field names."""
    from localprobe.contrast.pairs import write_pairs
    from localprobe.experiments.experiment import ModelChoice, adapted
    from localprobe.experiments.experiment_file import EXPERIMENTS, read_experiment

    if steering == "none":
        return None
    grid = read_experiment(EXPERIMENTS.resolve(steering))
    write_pairs(study.pairs, folder / "pairs.jsonl")
    probe = replace(study.config, test_fraction=0) if study.test is not None else study.config
    choices = [
        ModelChoice(model.chosen.name, model.chosen.engine, model.chosen.options, model.label) for model in models
    ]
    return adapted(grid, choices, folder / "pairs.jsonl", probe, concept=study.concept, system=system)


def _steer(grid: Experiment, runs: Runs, *, quiet: bool) -> dict[str, Any]:
    """Run or resume the experiment, and show its result unless `quiet`."""
    from localprobe.cli.sweep import run_experiment
    from localprobe.cli.sweep_table import show

    run = run_experiment(grid, runs)
    if not quiet:
        show(run)
    return {**run.result, "run": run.id}
