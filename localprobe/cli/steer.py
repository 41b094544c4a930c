"""`localprobe steer`: one answer, steered, as it is generated."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from localprobe.cli.options import Chosen, model_options

if TYPE_CHECKING:
    from localprobe.model import Model
    from localprobe.steering.knob import Knob


@click.command()
@click.argument("vector", type=click.Path(path_type=Path))
@click.argument("prompt")
@click.option("--dose", type=float, help="Strength in residual lengths: alpha * |v| / median |h|. 0.25 is strong.")
@click.option("--alpha", type=float, help="Strength as the paper's coefficient, instead of a dose.")
@click.option("--layer", "-l", type=int, help="Layer to steer; the vector's own choice if not given.")
@click.option("--positions", type=click.Choice(["all", "prompt", "response"]), default="all", show_default=True)
@click.option("--system", default="", help="System prompt.")
@click.option("--raw", is_flag=True, help="Continue the prompt as it is, without the chat template.")
@click.option("--tokens", type=click.IntRange(min=1), default=200, show_default=True, help="The most to generate.")
@click.option("--temperature", type=click.FloatRange(min=0), default=0.7, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the answer, its tokens and their scores as JSON.")
@model_options
def steer(vector: Path, prompt: str, chosen: Chosen, **how: Any) -> None:
    """Answer PROMPT with the direction of VECTOR added to the residual stream.

    \b
    localprobe steer empathy.safetensors "My friend sounds sad. What do I do?" --dose 0.25
    """
    from localprobe.steering import knob
    from localprobe.vectors import files as vector_files

    knob.strength(how["alpha"], how["dose"])
    direction = vector_files.load(vector)
    with chosen.load() as model:
        for warning in direction.fit_to(model.info):
            click.echo(f"warning: {warning}", err=True)
        strength = {name: how[name] for name in ("layer", "alpha", "dose", "positions")}
        _answer(model, model.knobs(direction, **strength), prompt, how)


def _answer(model: Model, knobs: list[Knob], prompt: str, how: dict[str, Any]) -> None:
    """Generate and print; Ctrl-C keeps what was said."""
    from localprobe.engine import Sampler
    from localprobe.generation.decode import Finished, Score, Token
    from localprobe.steering.knob import watch

    probe = watch(knobs[-1].vector, knobs[-1].layer)
    request = model.request(
        prompt,
        knobs,
        system=how["system"],
        raw=how["raw"],
        sampler=Sampler(temperature=how["temperature"]),
        key=f"seed {how['seed']}",
        tokens=how["tokens"],
    )
    for turned in knobs:
        click.echo(_describe(model, turned), err=True)
    ids, scores, text, reason = [], [], "", "stopped"
    start = time.perf_counter()
    try:
        for event in model.generate([request], [probe]):
            if isinstance(event, Score):
                scores.append(float(event.values[0]))
                continue
            if isinstance(event, Token):
                ids.append(event.id)
            elif isinstance(event, Finished):
                reason = event.reason
            text += event.text
            if not how["as_json"]:
                click.echo(event.text, nl=False)
    except KeyboardInterrupt:
        if how["as_json"]:
            raise
    seconds = time.perf_counter() - start
    mean = sum(scores) / len(scores) if scores else None
    if how["as_json"]:
        click.echo(json.dumps(_result(model, knobs, prompt, how, ids, scores, text, reason, seconds)))
        return
    click.echo()
    reading = f"probe {mean:+.2f} at layer {probe.layer}, " if mean is not None else ""
    click.echo(f"[{reading}{len(ids)} tokens, {len(ids) / seconds:.1f} tok/s, {reason}]", err=True)


def _describe(model: Model, turned: Knob) -> str:
    return (
        f"[{turned.vector.concept} at layer {turned.layer}: dose {model.dose(turned):+.3f} "
        f"(alpha {turned.alpha:+.2f}), positions {turned.positions}, {model.info.model} on {model.info.engine}]"
    )


def _result(
    model: Model,
    knobs: list[Knob],
    prompt: str,
    how: dict[str, Any],
    ids: list[int],
    scores: list[float],
    text: str,
    reason: str,
    seconds: float,
) -> dict[str, Any]:
    return {
        "model": model.info.model,
        "engine": model.info.engine,
        "prompt": prompt,
        "system": how["system"],
        "knobs": [
            {
                "concept": turned.vector.concept,
                "layer": turned.layer,
                "alpha": turned.alpha,
                "dose": model.dose(turned),
                "positions": turned.positions,
            }
            for turned in knobs
        ],
        "temperature": how["temperature"],
        "seed": how["seed"],
        "text": text,
        "ids": ids,
        "scores": scores,
        "mean_score": sum(scores) / len(scores) if scores else None,
        "finished": reason,
        "tokens_per_second": round(len(ids) / seconds, 1),
    }
