"""`localprobe doctor`: engines, device and memory, the canary on a model, and agreement of the engines."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import click

from localprobe.cli.options import BUNDLED
from localprobe.cli.output import say, say_json
from localprobe.errors import LocalprobeError, ModelError, UsageError

if TYPE_CHECKING:
    from localprobe.engine import Availability, FloatArray, Info
    from localprobe.engines.agreement import LayerAgreement
    from localprobe.engines.canary import Check


_TOKENS = 128  # of each text: enough to detect a shifted block or position
POOLED, TOKEN = 0.999, 0.99
"""Cosines that engines with the same weights reach, with room for 8-bit activations; one block off gives 0.9."""


@dataclass
class Examined:
    """The findings about one engine with the model."""

    engine: str
    info: Info | None = None
    checks: tuple[Check, ...] = ()
    refused: str = ""
    """Why this engine cannot load this model: another format, a missing file."""
    error: str = ""
    """The engine's failure, such as a crash."""
    residuals: list[FloatArray] = field(default_factory=list, repr=False)


@click.command()
@click.argument("model", default=BUNDLED)
@click.option("--engine", "-e", help="Check this engine only.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def doctor(model: str, engine: str | None, as_json: bool) -> None:
    """Check every installed engine with MODEL: that capture and steering work, and that engines agree.

    The exit status is 2 if an engine that can load the model fails its canary or does not agree with the others.
    """
    from localprobe import discovery

    names = (engine,) if engine else discovery.names()
    engines = {name: discovery.backend(name).available() for name in names}
    if not as_json:
        _show_machine(engines)
    examined = [_examine(model, name, as_json) for name in names if engines[name].installed]
    agreements = _agreements(examined)
    if as_json:
        say_json(_as_json(engines, examined, agreements))
    else:
        for (a, b), layers in agreements.items():
            _show_agreement(a, b, layers)
    if not _healthy(examined, agreements):
        raise click.exceptions.Exit(2)


def _healthy(examined: list[Examined], agreements: dict[tuple[str, str], list[LayerAgreement]]) -> bool:
    """Whether some engine loads the model, every one that does passes its canary, and they agree."""
    loaded = [result for result in examined if not result.refused]
    sound = all(not result.error and all(check.passed for check in result.checks) for result in loaded)
    return bool(loaded) and sound and all(map(_agree, agreements.values()))


def _agree(layers: list[LayerAgreement]) -> bool:
    return all(layer.pooled >= POOLED and layer.token >= TOKEN for layer in layers)


def _examine(name: str, engine: str, quiet: bool) -> Examined:
    """Check one engine in a child process, so that a crash is a finding and does not end the doctor."""
    from localprobe.cli.show import loading
    from localprobe.engines import agreement, canary
    from localprobe.model import Model

    result = Examined(engine)
    try:
        with loading(f"{name} on {engine}") as progress:
            model = Model.load(name, engine, remote=True, check=False, progress=progress)
        with model:
            result.info = model.info
            result.checks = canary.run(model.engine)
            result.residuals = agreement.residuals(model.engine, _texts(), limit=_TOKENS)
    except (ModelError, UsageError) as error:
        result.refused = str(error)
    except LocalprobeError as error:
        result.error = str(error)
    if not quiet:
        _show_examined(result)
    return result


def _texts() -> list[str]:
    from localprobe.contrast.pairs import TEXT_SETS, read_texts

    return read_texts(TEXT_SETS.path("neutral"))[:6]


def _agreements(examined: list[Examined]) -> dict[tuple[str, str], list[LayerAgreement]]:
    """LayerAgreement of each engine with the first that holds the same weights."""
    from localprobe.engines.agreement import compare

    first: dict[str, Examined] = {}
    pairs: dict[tuple[str, str], list[LayerAgreement]] = {}
    for result in examined:
        if result.info is None or not result.residuals:
            continue
        reference = first.setdefault(result.info.weights, result)
        if reference is not result:
            pairs[reference.engine, result.engine] = compare(reference.residuals, result.residuals)
    return pairs


def _show_machine(engines: dict[str, Availability]) -> None:
    import platform

    import psutil
    from rich.table import Table

    from localprobe.cli.show import Console

    console = Console()
    memory = psutil.virtual_memory()
    console.print(
        f"{platform.system()} {platform.machine()}, {psutil.cpu_count(logical=False)} cores, "
        f"{memory.available / 1e9:.1f} of {memory.total / 1e9:.1f} GB memory free, Python {platform.python_version()}"
    )
    table = Table("engine", "installed", "device", "GPU", "notes", box=None, pad_edge=False)
    for name, available in engines.items():
        table.add_row(
            name,
            available.version if available.installed else "no",
            available.device,
            ("yes" if available.gpu else "no") if available.installed else "",
            " ".join(available.notes) if available.installed else available.reason,
        )
    console.print(table)


def _show_examined(result: Examined) -> None:
    say()
    if result.info is not None:
        info = result.info
        kind = f"{info.quantisation} weights, {info.dtype}" if info.quantisation else info.dtype
        say(
            f"{info.model} on {result.engine}: {info.architecture}, {info.layers} layers of {info.width}, "
            f"context {info.context}, {kind}, {info.place}"
        )
        for note in info.notes:
            say(f"  note: {note}")
    for check in result.checks:
        say(f"  {'ok  ' if check.passed else 'FAIL'} {check.name} ({check.detail})")
    if result.refused:
        say(f"{result.engine} does not load it: {result.refused}")
    if result.error:
        say(f"FAIL {result.engine}: {result.error}")


def _show_agreement(a: str, b: str, layers: list[LayerAgreement]) -> None:
    from rich.table import Table

    from localprobe.cli.show import Console

    verdict = "agree" if _agree(layers) else f"DIFFER (pooled under {POOLED} or a token under {TOKEN})"
    title = f"{a} and {b} {verdict}: lowest cosine by layer"
    table = Table("layer", "pooled", "per token", box=None, title=title, title_justify="left")
    for layer in layers:
        table.add_row(str(layer.layer), f"{layer.pooled:.6f}", f"{layer.token:.6f}")
    Console().print("", table)


def _as_json(
    engines: dict[str, Availability], examined: list[Examined], agreements: dict[tuple[str, str], list[LayerAgreement]]
) -> dict[str, Any]:
    return {
        "engines": {name: asdict(available) for name, available in engines.items()},
        "models": [
            {
                "engine": result.engine,
                "info": asdict(result.info) if result.info else None,
                "canary": [asdict(check) for check in result.checks],
                "refused": result.refused or None,
                "error": result.error or None,
            }
            for result in examined
        ],
        "agreement": [
            {"engines": list(pair), "agree": _agree(layers), "layers": [asdict(layer) for layer in layers]}
            for pair, layers in agreements.items()
        ],
    }
