"""`localprobe steer`: one steered answer, printed while it is generated."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from localprobe.cli.options import Chosen, model_options
from localprobe.cli.output import say, say_json

if TYPE_CHECKING:
    from localprobe.generation.answer import Answer
    from localprobe.model import Model
    from localprobe.steering.knob import Knob


@click.command()
@click.argument("vector")
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
def steer(vector: str, prompt: str, chosen: Chosen, **options: Any) -> None:
    """Answer PROMPT with the direction of VECTOR (a file, or a name: `localprobe vector list`) added to the residuals.

    \b
    localprobe steer empathy "My friend sounds sad. What do I do?" --dose 0.25
    """
    from localprobe.cli.options import loaded_with
    from localprobe.steering.knob import strength

    strength(options["alpha"], options["dose"])

    def check(model: Model) -> None:
        """Raise for a prompt that is too long before a vector is fitted or the scale measured."""
        model.ids(prompt, system=options["system"], raw=options["raw"])

    with loaded_with(chosen, vector, check) as (model, direction):
        knobs = model.knobs(direction, **{name: options[name] for name in ("layer", "alpha", "dose", "positions")})
        for warning in direction.check_scale(model.scale, [knob.layer for knob in knobs]):
            say(f"warning: {warning}", err=True)
        _answer(model, knobs, prompt, options)


def _answer(model: Model, knobs: list[Knob], prompt: str, options: dict[str, Any]) -> None:
    from localprobe.engine import Sampler
    from localprobe.generation.answer import AnswerBuilder
    from localprobe.generation.events import text_of
    from localprobe.steering.knob import watch

    probe = watch(knobs[-1].vector, knobs[-1].layer)
    request = model.request(
        prompt,
        knobs,
        system=options["system"],
        raw=options["raw"],
        sampler=Sampler(temperature=options["temperature"]),
        key=f"seed {options['seed']}",
        tokens=options["tokens"],
    )
    for knob in knobs:
        say(f"[{describe(model, knob)}, {model.info.model} on {model.info.engine}]", err=True)
    row = AnswerBuilder()
    start = time.perf_counter()
    try:
        for event in model.generate([request], [probe]):
            row.take(event)
            if not options["as_json"]:
                say(text_of(event), nl=False)
    except KeyboardInterrupt:
        if options["as_json"]:
            raise
    answer, seconds = row.answer(), time.perf_counter() - start
    if options["as_json"]:
        say_json(_result(model, knobs, prompt, options, answer, seconds))
        return
    say()
    mean = "" if answer.mean_score is None else f"probe {answer.mean_score:+.2f} at layer {probe.layer}, "
    say(f"[{mean}{len(answer)} tokens, {len(answer) / seconds:.1f} tok/s, {answer.reason}]", err=True)


def describe(model: Model, knob: Knob) -> str:
    """A knob in words: `empathy at layer 19: dose +0.200 (alpha +12.34), positions all`."""
    strength = f"dose {knob.dose(model.scale):+.3f} (alpha {knob.alpha:+.2f})"
    return f"{knob.vector.concept} at layer {knob.layer}: {strength}, positions {knob.positions}"


def _result(
    model: Model, knobs: list[Knob], prompt: str, options: dict[str, Any], answer: Answer, seconds: float
) -> dict[str, Any]:
    return {
        "model": model.info.model,
        "engine": model.info.engine,
        "template_args": list(model.info.template_args),
        "prompt": prompt,
        "system": options["system"],
        "knobs": [
            {
                "concept": knob.vector.concept,
                "layer": knob.layer,
                "alpha": knob.alpha,
                "dose": knob.dose(model.scale),
                "positions": knob.positions,
            }
            for knob in knobs
        ],
        "temperature": options["temperature"],
        "seed": options["seed"],
        "text": answer.text,
        "ids": answer.ids.tolist(),
        "scores": answer.scores.tolist(),
        "mean_score": answer.mean_score,
        "finished": answer.reason,
        "tokens_per_second": round(len(answer) / seconds, 1),
    }
