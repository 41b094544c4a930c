"""`localprobe doctor`: engines, device and memory; the canary on a model; and whether engines agree on it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import click

from localprobe.cli.options import BUNDLED
from localprobe.errors import LocalprobeError, ModelError, UsageError

if TYPE_CHECKING:
    from localprobe.engine import Availability, FloatArray, Info
    from localprobe.engines.agreement import LayerAgreement
    from localprobe.engines.canary import Check


_TOKENS = 128  # of each text: enough to see a block or a position that is off
POOLED, TOKEN = 0.999, 0.99
"""Cosines that engines with the same weights reach, with room for 8-bit activations; one block off gives 0.9."""


@dataclass
class Examined:
    """What was found about one engine with the model."""

    engine: str
    info: Info | None = None
    checks: tuple[Check, ...] = ()
    refused: str = ""
    """Why this engine cannot load this model: another format, a missing file."""
    error: str = ""
    """What is wrong with the engine: a crash, a failure."""
    residuals: list[FloatArray] = field(default_factory=list, repr=False)


@click.command()
@click.argument("model", default=BUNDLED)
@click.option("--engine", "-e", help="Look at this engine only.")
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
def doctor(model: str, engine: str | None, as_json: bool) -> None:
    """Check every installed engine with MODEL: that steering and capture do what they say, and that engines agree.

    The exit status is 2 if an engine that can load the model fails its canary or does not agree with the others.
    """
    from localprobe import discovery

    names = (engine,) if engine else discovery.names()
    found = {name: discovery.backend(name).available() for name in names}
    if not as_json:
        _show_machine(found)
    examined = [_examine(model, name, as_json) for name in names if found[name].installed]
    agreements = _agreements(examined)
    if as_json:
        click.echo(json.dumps(_as_json(found, examined, agreements)))
    else:
        for (a, b), layers in agreements.items():
            _show_agreement(a, b, layers)
    if not _healthy(examined, agreements):
        raise click.exceptions.Exit(2)


def _healthy(examined: list[Examined], agreements: dict[tuple[str, str], list[LayerAgreement]]) -> bool:
    """Whether some engine loads the model, every one that does passes its canary, and they agree."""
    loaded = [each for each in examined if not each.refused]
    sound = all(not each.error and all(check.passed for check in each.checks) for each in loaded)
    return bool(loaded) and sound and all(map(_agree, agreements.values()))


def _agree(layers: list[LayerAgreement]) -> bool:
    return all(each.pooled >= POOLED and each.token >= TOKEN for each in layers)


def _examine(name: str, engine: str, quiet: bool) -> Examined:
    """Load in a child process, so that a crash there is a finding and not the end of the doctor."""
    from localprobe.cli.show import loading
    from localprobe.engines import agreement, canary
    from localprobe.model import Model

    found = Examined(engine)
    try:
        with loading(f"{name} on {engine}") as progress:
            model = Model.load(name, engine, remote=True, check=False, progress=progress)
        with model:
            found.info = model.info
            found.checks = canary.run(model.engine)
            found.residuals = agreement.residuals(model.engine, _texts(), limit=_TOKENS)
    except (ModelError, UsageError) as error:
        found.refused = str(error)
    except LocalprobeError as error:
        found.error = str(error)
    if not quiet:
        _show_examined(found)
    return found


def _texts() -> list[str]:
    from localprobe.contrast.pairs import TEXT_SETS, read_texts

    return read_texts(TEXT_SETS.path("neutral"))[:6]


def _agreements(examined: list[Examined]) -> dict[tuple[str, str], list[LayerAgreement]]:
    """LayerAgreement of each engine with the first that holds the same weights."""
    from localprobe.engines.agreement import compare

    first: dict[str, Examined] = {}
    pairs: dict[tuple[str, str], list[LayerAgreement]] = {}
    for each in examined:
        if each.info is None or not each.residuals:
            continue
        reference = first.setdefault(each.info.weights, each)
        if reference is not each:
            pairs[reference.engine, each.engine] = compare(reference.residuals, each.residuals)
    return pairs


def _show_machine(found: dict[str, Availability]) -> None:
    import platform

    import psutil
    from rich.console import Console
    from rich.table import Table

    console = Console()
    memory = psutil.virtual_memory()
    console.print(
        f"{platform.system()} {platform.machine()}, {psutil.cpu_count(logical=False)} cores, "
        f"{memory.available / 1e9:.1f} of {memory.total / 1e9:.1f} GB memory free, Python {platform.python_version()}"
    )
    table = Table("engine", "installed", "device", "GPU", "notes", box=None, pad_edge=False)
    for name, available in found.items():
        table.add_row(
            name,
            available.version if available.installed else "no",
            available.device,
            ("yes" if available.gpu else "no") if available.installed else "",
            " ".join(available.notes) if available.installed else available.reason,
        )
    console.print(table)


def _show_examined(found: Examined) -> None:
    click.echo()
    if found.info is not None:
        info = found.info
        kind = f"{info.quantisation} weights, {info.dtype}" if info.quantisation else info.dtype
        click.echo(
            f"{info.model} on {found.engine}: {info.architecture}, {info.layers} layers of {info.width}, "
            f"context {info.context}, {kind}, {info.place}"
        )
        for note in info.notes:
            click.echo(f"  note: {note}")
    for check in found.checks:
        click.echo(f"  {'ok  ' if check.passed else 'FAIL'} {check.name} ({check.detail})")
    if found.refused:
        click.echo(f"{found.engine} does not load it: {found.refused}")
    if found.error:
        click.echo(f"FAIL {found.engine}: {found.error}")


def _show_agreement(a: str, b: str, layers: list[LayerAgreement]) -> None:
    from rich.console import Console
    from rich.table import Table

    verdict = "agree" if _agree(layers) else f"DIFFER (pooled under {POOLED} or a token under {TOKEN})"
    title = f"{a} and {b} {verdict}: lowest cosine by layer"
    table = Table("layer", "pooled", "per token", box=None, title=title, title_justify="left")
    for each in layers:
        table.add_row(str(each.layer), f"{each.pooled:.6f}", f"{each.token:.6f}")
    Console().print("", table)


def _as_json(
    found: dict[str, Availability], examined: list[Examined], agreements: dict[tuple[str, str], list[LayerAgreement]]
) -> dict[str, Any]:
    return {
        "engines": {name: asdict(available) for name, available in found.items()},
        "models": [
            {
                "engine": each.engine,
                "info": asdict(each.info) if each.info else None,
                "canary": [asdict(check) for check in each.checks],
                "refused": each.refused or None,
                "error": each.error or None,
            }
            for each in examined
        ],
        "agreement": [
            {"engines": list(pair), "agree": _agree(layers), "layers": [asdict(each) for each in layers]}
            for pair, layers in agreements.items()
        ],
    }
