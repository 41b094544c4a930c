"""`localprobe compare`: models, engines and quantisations compared on the same texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from localprobe.cli.options import Labelled, models_options
from localprobe.cli.output import say, say_json
from localprobe.cli.pairs import pair_options, probe_options, study_options

if TYPE_CHECKING:
    from localprobe.probing.detection import Comparison


@click.command()
@click.argument("pairs")
@models_options
@study_options
@probe_options()
@click.option("--json", "as_json", is_flag=True, help="Print every figure with its interval as JSON.")
@pair_options
def compare(pairs: str, models: list[Labelled], as_json: bool, **options: Any) -> None:
    """Fit a probe on PAIRS with each model, measure it on the same pairs held out, and report how far they agree.

    \b
    localprobe compare empathy smollm2-135m@torch smollm2-135m@llama
    localprobe compare empathy phi-3-mini=safety-trained dolphin-llama3.1-8b=uncensored
    """
    from localprobe.cli import detection
    from localprobe.cli.pairs import hashed
    from localprobe.store.json_values import to_json
    from localprobe.store.runs import Runs

    study = detection.Study.of(pairs, **options)
    runs, name = Runs(), f"{study.concept} on {', '.join(model.chosen.name for model in models)}"
    about = {"hashes": hashed(pairs=pairs, test=options["test"])}
    run = ""

    def keep(comparison: Comparison) -> None:
        nonlocal run
        run = runs.add("compare", name, to_json(comparison), about=about, id=run or None).id

    comparison = detection.detect_all(models, study, keep=keep)
    if as_json:
        say_json({"run": run, **to_json(comparison)})
        return
    detection.show(comparison)
    say(f"run {run}: localprobe report {run}", err=True)
