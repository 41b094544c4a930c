"""`localprobe fit`: a direction for every layer, from contrast pairs."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from localprobe.cli.options import Chosen, model_options
from localprobe.cli.output import say, say_json
from localprobe.cli.pairs import pair_options, probe_options

if TYPE_CHECKING:
    from localprobe.probing.config import ProbeConfig
    from localprobe.probing.report import ProbeReport


@click.command()
@click.argument("pairs")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Also write the probe to this file.")
@click.option("--layers", help="Layers, as 8,12,16 or 8-24; all if not given.")
@click.option("--concept", help="What the positive pole is; the file's name if not given.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@probe_options(resampling=False)
@pair_options
@model_options
def fit(
    pairs: str,
    output: Path | None,
    layers: str | None,
    concept: str | None,
    as_json: bool,
    config: ProbeConfig,
    fields: dict[str, str | None],
    chosen: Chosen,
) -> None:
    """Fit a probe on PAIRS (a file, or a set that ships, such as empathy), its layer cross-validated in training.

    `localprobe data check --help` says which files are read. The probe is kept in the library under its concept, for
    this model (see `localprobe vector list`).

    \b
    localprobe fit empathy
    localprobe fit theirs.jsonl -o probe.safetensors --positive-field empathic_text --negative-field non_empathic_text
    """
    from localprobe.cli import show
    from localprobe.cli.layers import parse
    from localprobe.cli.pairs import hashed, read
    from localprobe.probing.fit import fit as fit_probe
    from localprobe.probing.recorded import record
    from localprobe.store.json_values import to_json
    from localprobe.vectors import files as vector_files
    from localprobe.vectors.library import Library, is_path

    numbers = parse(layers)
    read_pairs = read(pairs, fields)
    with chosen.load() as model, show.capturing() as capturing:
        report = fit_probe(
            model,
            read_pairs,
            config,
            concept=concept or Path(pairs).stem,
            layers=numbers,
            validate=False,
            capturing=capturing,
        )
    if output:  # first: the library may lie on a full disk
        vector_files.save(report.vector, output)
    path = Library().keep(report.vector)
    report = record(report, "fit", pairs=pairs, hashes=hashed(pairs=pairs))
    if as_json:
        say_json({"run": report.run, "output": str(output or path), **to_json(report.result)})
        return
    _show(report)
    concept = report.result.concept
    file = output or (path if is_path(concept) else concept)
    say(f"-> {output or path}\nnext: localprobe validate {shlex.quote(str(file))} {shlex.quote(pairs)}")


def _show(report: ProbeReport) -> None:
    from localprobe.stats.intervals import bracketed

    result, layers = report.result, sorted(report.vector.directions)
    measured = ""
    if result.layers:
        auroc = bracketed(result.chosen.auroc, result.chosen.auroc_interval)
        measured = f", AUROC {auroc} on the {result.test_pairs} held out"
    say(
        f"{result.concept}: {result.config.method} at {len(layers)} layers of {result.origin.model}, fitted on "
        f"{result.train_pairs} pairs; layer {result.layer} cross-validated inside the training pairs{measured}"
    )
