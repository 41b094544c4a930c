"""`localprobe concept`: from a word to a direction."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from localprobe.cli.options import Chosen, model_options
from localprobe.cli.output import say, say_json
from localprobe.cli.pairs import probe_options
from localprobe.concepts import PAIRS, TEMPERATURE, TOKENS

if TYPE_CHECKING:
    from localprobe.concepts.direction import ConceptDirection
    from localprobe.probing.config import ProbeConfig


@click.command()
@click.argument("word")
@click.option("--against", default="", help="The other pole, as impatient; the opposite of WORD if not given.")
@click.option("--pairs", type=click.IntRange(min=1), default=PAIRS, show_default=True, help="Pairs of texts to write.")
@click.option(
    "--generator",
    "-g",
    "generators",
    multiple=True,
    help="What writes the texts, as for `data generate`; the probed model itself if not given. Repeat it to rotate.",
)
@click.option(
    "--output", "-o", type=click.Path(path_type=Path), help="The JSONL file of pairs; one of these words if not given."
)
@click.option("--temperature", type=click.FloatRange(min=0), default=TEMPERATURE, show_default=True)
@click.option("--tokens", type=click.IntRange(min=16), default=TOKENS, show_default=True, help="The most of a text.")
@click.option("--key-env", "keys", multiple=True, metavar="[HOST=]VARIABLE", help="Variable of a generator's API key.")
@click.option("--json", "as_json", is_flag=True, help="Print what was done and every figure as JSON.")
@probe_options()
@model_options
def concept(
    word: str,
    against: str,
    pairs: int,
    generators: tuple[str, ...],
    output: Path | None,
    temperature: float,
    tokens: int,
    keys: tuple[str, ...],
    as_json: bool,
    config: ProbeConfig,
    chosen: Chosen,
) -> None:
    """Find the direction of WORD: write pairs of texts, check them, fit a probe, validate it, and keep the vector.

    The model answers varied situations in the manner of WORD and of its opposite. Pairs are kept as they are written,
    so running the same command again goes on where it stopped; --seed seeds the texts too. The vector is kept under
    WORD in the library (`localprobe vector list`), with its measures, whatever the verdict says.

    \b
    localprobe concept patient --against impatient
    localprobe concept formal --against casual --pairs 80 -g ollama:qwen2.5:7b
    """
    from localprobe.cli import show
    from localprobe.concepts.concept import Concept
    from localprobe.concepts.direction import checked_size, direction, writers_for
    from localprobe.errors import EngineError
    from localprobe.generators import names
    from localprobe.generators.endpoint_errors import EndpointError
    from localprobe.store.names import exists

    words = Concept(word, against)
    checked_size(pairs, config)
    named = names.generators(generators, keys, notify=_tell, loading=show.loading)
    with chosen.load() as model:
        writers = writers_for(model, named)
        output = output or words.file([writer.name for writer in writers])
        _tell(f"writing {pairs} pairs, {words.word} against {words.opposite}, to {output}")
        try:
            with show.capturing() as capturing:
                result = direction(
                    model,
                    words,
                    config,
                    generators=writers,
                    pairs=pairs,
                    temperature=temperature,
                    tokens=tokens,
                    output=output,
                    writing=show.Writing(),
                    notify=lambda line: _tell(f"note: {line}"),
                    capturing=capturing,
                    progress=show.step,
                )
        except (KeyboardInterrupt, EndpointError, EngineError):
            if exists(output):
                _tell(f"the pairs written so far are kept in {output}; re-running the same command resumes")
            raise
    if as_json:
        say_json(result.to_json())
    else:
        _show(result, chosen)


def _show(result: ConceptDirection, chosen: Chosen) -> None:
    """The verdict first, then what to do about it, and where everything is."""
    from localprobe.cli import in_flags
    from localprobe.cli.data import say_finding
    from localprobe.cli.validate import show_result
    from localprobe.vectors.library import is_path

    show_result(result.report.result)
    written = result.written
    came = f"{written.written} written now, {written.already} before"
    say(f"\n{len(written.pairs)} pairs ({came}): {written.pairs.source}")
    for finding in written.checked.findings:
        if finding.severity != "note":
            say_finding(finding, "  ")
    say(written.checked.judgement)
    if result.advice:
        say(in_flags(result.advice, {"pairs": "--pairs", "generators": "--generator", "against": "--against"}))
    model = f" --model {chosen.name}" if chosen.named else ""
    word = result.concept.word
    reference = shlex.quote(str(result.file) if is_path(word) else word)
    replaced = ", in place of the vector kept there before" if result.replaced else ""
    say(f"{word} -> {result.file}{replaced}")
    say(f'next: localprobe steer {reference} "My friend has gone quiet. What should I do?" --dose 0.2{model}')
    say(f"run {result.report.run}: localprobe report {result.report.run}", err=True)


def _tell(line: str) -> None:
    say(line, err=True)
