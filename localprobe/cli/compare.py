"""`localprobe compare`: models, engines and quantisations on the same texts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from localprobe.cli.options import Labelled, models_options
from localprobe.cli.pairs import pair_options, study_options

if TYPE_CHECKING:
    from localprobe.probing.detection import Detection
    from localprobe.probing.study import Choices


@click.command()
@click.argument("pairs")
@models_options
@study_options
@click.option("--json", "as_json", is_flag=True, help="Print every figure with its interval as JSON.")
@pair_options
def compare(pairs: str, models: list[Labelled], how: dict[str, Any], as_json: bool, fields: dict[str, str]) -> None:
    """Fit a probe on PAIRS with each model, measure it on the same pairs held out, and ask whether they agree.

    \b
    localprobe compare empathy smollm2-135m@torch smollm2-135m@llama
    localprobe compare empathy phi-3-mini=safety-trained dolphin-llama3.1-8b=uncensored
    """
    from localprobe.cli import detection
    from localprobe.cli.pairs import hashed, read, study_of
    from localprobe.store.runs import Runs

    choices, test, layers = study_of(pairs, how, fields)
    runs, name = Runs(), f"{choices.concept} on {', '.join(each.chosen.model for each in models)}"
    about = {"hashes": hashed(pairs=pairs, test=how["test"])}
    kept: list[str] = []

    def keep(done: list[Detection]) -> None:
        run = runs.add("compare", name, _result(done, pairs, choices), about=about, id=kept[0] if kept else None)
        kept[:] = [run.id]

    done = detection.detect_all(models, read(pairs, fields), choices, test=test, layers=layers, keep=keep)
    result = _result(done, pairs, choices)
    if as_json:
        click.echo(json.dumps({"run": kept[0], **result}))
        return
    detection.show(result)
    click.echo(f"run {kept[0]}: localprobe report {kept[0]}", err=True)


def _result(done: list[Detection], pairs: str, choices: Choices) -> dict[str, Any]:
    from localprobe.cli import detection

    return {"pairs": str(Path(pairs)), **detection.as_json(done, choices)}
