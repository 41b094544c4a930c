"""`localprobe capture`: the residuals of texts, to a file."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from localprobe.cli.options import Chosen, model_options
from localprobe.cli.output import say, say_json
from localprobe.errors import DataWarning

if TYPE_CHECKING:
    from localprobe.chat_template import Marked
    from localprobe.model import Model


@click.command()
@click.argument("texts", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--output", "-o", required=True, type=click.Path(path_type=Path), help="The safetensors file to write.")
@click.option("--layers", help="Layers, as 8,12,16 or 8-24 or -1; all if not given.")
@click.option(
    "--pooling",
    type=click.Choice(["mean", "mean-without-first", "last", "tokens"]),
    default="mean",
    show_default=True,
    help="Which residuals of a text to keep: a mean, the last token's, or all tokens'.",
)
@click.option(
    "--limit", type=click.IntRange(min=1), help="Cut texts to this many tokens, instead of refusing long ones."
)
@click.option(
    "--special-tokens",
    is_flag=True,
    help="Read special tokens that are written in the texts, such as <|im_start|>, as tokens.",
)
@click.option("--text-field", help="Field that holds the texts; text, or the only one that can be, if not given.")
@click.option("--json", "as_json", is_flag=True, help="Print a summary as JSON.")
@model_options
def capture(
    texts: Path,
    output: Path,
    layers: str | None,
    pooling: str,
    limit: int | None,
    special_tokens: bool,
    text_field: str | None,
    as_json: bool,
    chosen: Chosen,
) -> None:
    """Write the residuals of TEXTS to a file.

    TEXTS is .txt, one text per line; a JSON array of texts; or JSONL, JSON, CSV, TSV or Parquet with a field of texts.
    - reads standard input: JSON if it begins as JSON does, CSV if it begins with a header, else one text per line.

    \b
    localprobe capture texts.txt -o texts.safetensors --layers 8-24
    localprobe capture statements.csv -o statements.safetensors --text-field statement
    """
    from localprobe.cli.layers import parse
    from localprobe.contrast.pairs import read_texts

    lines = read_texts(texts, text_field)
    requested = parse(layers)
    with chosen.load() as model:
        numbers = model.layers(requested)
        summary = _write(model, _texts(model, lines, special_tokens), output, numbers, pooling, limit)
    if as_json:
        say_json(summary)
    else:
        cut = f", {summary['cut']} cut to {limit} tokens" if summary["cut"] else ""
        say(
            f"{summary['texts']} texts, {summary['tokens']} tokens, {len(numbers)} layers "
            f"({summary['tokens_per_second']:,.0f} tok/s{cut}) -> {output}"
        )


def _texts(model: Model, lines: list[str], special_tokens: bool) -> Sequence[str | Marked]:
    """The lines as texts, with a warning of special tokens that are read as characters."""
    from localprobe.chat_template import Marked
    from localprobe.probing import notices

    if special_tokens:
        return [Marked(line) for line in lines]
    if notice := notices.special_tokens_in(model.info, lines):
        warnings.warn(notice, DataWarning, stacklevel=1)
    return lines


def _write(
    model: Model, texts: Sequence[str | Marked], output: Path, layers: list[int], pooling: str, limit: int | None
) -> dict[str, Any]:
    import numpy as np

    from localprobe.capture.file import writing
    from localprobe.capture.residuals import ids_of
    from localprobe.cli.show import counting
    from localprobe.vectors.vector import Origin

    lengths = np.array([len(ids_of(model.engine, text)) for text in texts], dtype=np.int64)
    tokens = lengths if limit is None else np.minimum(lengths, min(limit, model.info.context))
    cut = int((lengths > tokens).sum())
    origin = Origin.of(model.info, method="capture", pooling=pooling)
    with (
        counting("capturing", len(texts)) as count,
        writing(output, origin, layers, tokens, cut) as file,
    ):
        for captured in model.capture(texts, layers, pooling, limit=limit):
            file.add(captured)
            count.advance(len(captured.ids))
    return {
        "output": str(output),
        "model": model.info.model,
        "engine": model.info.engine,
        "texts": len(texts),
        "tokens": count.tokens,
        "cut": cut,
        "layers": layers,
        "pooling": pooling,
        "tokens_per_second": round(count.rate, 1),
    }
