"""`localprobe steer` and `localprobe generate`: answers to prompts, printed while they are generated."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from localprobe.cli.options import Chosen, loaded_with, model_options, url_option
from localprobe.cli.output import say, say_json
from localprobe.cli.steering import (
    Resolver,
    Signed,
    check_texts,
    describe,
    described,
    events_json,
    loaded_for,
    positions_option,
    say_events,
    steering_options,
)
from localprobe.errors import UsageError, caught_warnings

if TYPE_CHECKING:
    from localprobe.engine import Watch
    from localprobe.generation.answer import Answer
    from localprobe.model import Model
    from localprobe.steering.gates import Alarm
    from localprobe.steering.knob import Knob

_GENERATION = [
    click.option("--system", default="", help="System prompt."),
    click.option("--raw", is_flag=True, help="Continue the prompt as it is, without the chat template."),
    click.option("--tokens", type=click.IntRange(min=1), default=200, show_default=True, help="The most to generate."),
    click.option("--temperature", type=click.FloatRange(min=0), default=0.7, show_default=True),
    click.option("--seed", type=int, default=0, show_default=True),
    click.option("--json", "as_json", is_flag=True, help="Print the answer, its tokens and their scores as JSON."),
]


def _generation_options(command: Any) -> Any:
    for option in reversed(_GENERATION):
        command = option(command)
    return command


@click.command(cls=Signed)
@click.argument("vector")
@click.argument("prompt", required=False)
@click.option("--dose", type=float, help="Strength in residual lengths: alpha * |v| / median |h|. 0.25 is strong.")
@click.option("--alpha", type=float, help="Strength as the paper's coefficient, instead of a dose.")
@click.option("--layer", "-l", type=int, help="Layer to steer; the vector's own choice if not given.")
@positions_option
@steering_options
@_generation_options
@url_option
@model_options
def steer(vector: str, prompt: str | None, chosen: Chosen, **options: Any) -> None:
    """Answer PROMPT with the direction of VECTOR (a file, or a name: `localprobe vector list`) added to the residuals.

    In place of VECTOR and its strength, a steering expression says what is done, where and when.

    \b
    localprobe steer empathy "My friend sounds sad. What do I do?" --dose 0.25
    localprobe steer "ablate empathy; 0.1 formality response" "My friend sounds sad. What do I do?"
    localprobe steer --steer "0.2 empathy when empathy < 0" --watch "empathy > 3" "My friend sounds sad."
    """
    if prompt is None:
        if not options["steering"]:
            raise UsageError(
                "give what to steer with, and a prompt: steer VECTOR PROMPT --dose 0.2, or EXPRESSION PROMPT"
            )
        _expressed((), vector, chosen, options)
    elif options["dose"] is None and options["alpha"] is None and _is_expression(vector):
        _expressed((vector,), prompt, chosen, options)
    else:
        _by_vector(vector, prompt, chosen, options)


@click.command(cls=Signed)
@click.argument("prompt")
@steering_options
@_generation_options
@url_option
@model_options
def generate(prompt: str, chosen: Chosen, **options: Any) -> None:
    """Answer PROMPT, steered by expressions or not at all, and tell when a probe fires.

    \b
    localprobe generate "My friend sounds sad." --watch "empathy > fpr 0.01"
    localprobe generate "My friend sounds sad." --steer "ablate empathy to mean" --json
    """
    with loaded_for(chosen, options["steering"], options["conditions"], _prompt_check(prompt, options)) as resolver:
        _answer(resolver, resolver.knobs(options["steering"]), prompt, options)


def _is_expression(text: str) -> bool:
    """Whether a text is meant as a steering expression and not as a vector's name or path."""
    from pathlib import Path

    from localprobe.steering.lexer import ACTIONS
    from localprobe.store.names import exists

    words = text.split()
    return (
        len(words) > 1 and (words[0].lower() in ACTIONS or words[0][0] in "#+-.0123456789") and not exists(Path(text))
    )


def _expressed(first: Sequence[str], prompt: str, chosen: Chosen, options: dict[str, Any]) -> None:
    for name in ("dose", "alpha", "layer"):
        if options[name] is not None:
            raise UsageError(f"`{name}` is for a vector: write it into the steering expression")
    if options["positions"] != "all":
        raise UsageError("`positions` is for a vector: write it into the steering expression")
    expressions = (*first, *options["steering"])
    with loaded_for(chosen, expressions, options["conditions"], _prompt_check(prompt, options)) as resolver:
        _answer(resolver, resolver.knobs(expressions), prompt, options)


def _by_vector(vector: str, prompt: str, chosen: Chosen, options: dict[str, Any]) -> None:
    from localprobe.steering.knob import strength
    from localprobe.steering.places import Positions

    strength(options["alpha"], options["dose"])
    Positions.parse(options["positions"])
    check_texts(options["steering"], options["conditions"])
    with loaded_with(chosen, vector, _prompt_check(prompt, options)) as (model, direction):
        resolver = Resolver(model)
        knobs = model.knobs(direction, **{name: options[name] for name in ("layer", "alpha", "dose", "positions")})
        for warning in direction.check_scale(model.scale, [knob.layer for knob in knobs]):
            say(f"warning: {warning}", err=True)
        _answer(resolver, [*resolver.knobs(options["steering"]), *knobs], prompt, options)


def _prompt_check(prompt: str, options: dict[str, Any]) -> Any:
    """Raises for a prompt that is too long, before a vector is fitted or the scale measured."""
    return lambda model: model.served or model.ids(prompt, system=options["system"], raw=options["raw"])


def _answer(resolver: Resolver, knobs: Sequence[Knob], prompt: str, options: dict[str, Any]) -> None:
    from localprobe.generation.answer import AnswerBuilder
    from localprobe.generation.events import text_of

    model, alarms = resolver.model, resolver.alarms(options["conditions"])
    probe = _probe(knobs, alarms)
    given = {name: options[name] for name in ("system", "raw", "temperature", "tokens", "seed")}
    with caught_warnings() as warned:
        events = model.stream(prompt, steer=knobs, watch=probe, alarms=alarms, **given)
    told = {line for knob in knobs for line in knob.vector.check_compatible(model.info)}  # when its vector was found
    for line in warned:
        if line not in told:
            say(f"warning: {line}", err=True)
    place = f"{model.info.model} on {model.info.engine}"
    for line in [describe(model, knob) for knob in knobs] or ["unsteered"]:
        say(f"[{line}, {place}]", err=True)
    row = AnswerBuilder()
    start = time.perf_counter()
    try:
        for event in events:
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
    say_events(answer.gates, answer.alerts, answer.pieces)
    mean = "" if answer.mean_score is None or not probe else f"probe {answer.mean_score:+.2f} at layer {probe.layer}, "
    say(f"[{mean}{len(answer)} tokens, {len(answer) / seconds:.1f} tok/s, {answer.reason}]", err=True)


def _probe(knobs: Sequence[Knob], alarms: Sequence[Alarm]) -> Watch | None:
    """What scores the answer: the last knob's direction, or the first probe that is watched for."""
    return knobs[-1].watch if knobs else alarms[0].watch if alarms else None


def _result(
    model: Model, knobs: Sequence[Knob], prompt: str, options: dict[str, Any], answer: Answer, seconds: float
) -> dict[str, Any]:
    return {
        "model": model.info.model,
        "engine": model.info.engine,
        "template_args": list(model.info.template_args),
        "prompt": prompt,
        "system": options["system"],
        "knobs": [described(model, knob) for knob in knobs],
        "temperature": options["temperature"],
        "seed": options["seed"],
        "text": answer.text,
        "ids": answer.ids.tolist(),
        "scores": answer.scores.tolist() if answer.projections.shape[1] else None,
        "mean_score": answer.mean_score,
        **events_json(answer.gates, answer.alerts),
        "finished": answer.reason,
        "tokens_per_second": round(len(answer) / seconds, 1),
    }
