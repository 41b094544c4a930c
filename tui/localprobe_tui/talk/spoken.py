"""What is typed in the steering language, put on the panel of a chat. Errors are one line, with the column."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from localprobe.errors import LocalprobeError, UsageError, caught_warnings
from localprobe.steering.expression import Expression, TermExpression
from localprobe.steering.parser import parse, parse_watch
from localprobe_tui.talk import first_vector
from localprobe_tui.talk.alarms import PanelAlarm
from localprobe_tui.talk.panel_knob import Find, PanelKnob, check_able

if TYPE_CHECKING:
    from localprobe.model import Model
    from localprobe.vectors.vector import Vector
    from localprobe_tui.talk.controller import ChatController


def steer(talk: ChatController, text: str, instead: PanelKnob | None = None) -> list[str]:
    """Put the terms of a steering expression on the panel, the first one in place of a knob if one is given; returns
    warnings. UsageError if the text is none, or if the model cannot be steered so."""

    def find(name: str) -> Vector:
        return own[name] if name in own else finder(talk, model)(name)

    own = {} if instead is None else {instead.name: instead.vector, **instead.vectors}
    expression, model = parse(text), _model(talk)
    with caught_warnings() as warned:
        knobs = [knob_of(term, expression.text, model, find) for term in expression.terms]
    at = len(talk.knobs)
    if instead is not None and instead in talk.knobs:
        instead.become(knobs.pop(0))
        at = talk.knobs.index(instead) + 1
    talk.knobs[at:at] = knobs
    talk.changed()
    return warned


def watch_for(talk: ChatController, text: str) -> list[str]:
    """Watch for a condition, or for a probe alone, from the next answer on; returns warnings. UsageError if the text is
    none, or if the model has no such probe."""
    model = _model(talk)
    with caught_warnings() as warned:
        alarm = PanelAlarm.said(text, model, finder(talk, model))
    if alarm.text in [other.text for other in talk.alarms]:
        raise UsageError(f"{alarm.text} is watched for already")
    talk.alarms.append(alarm)
    talk.changed()
    return warned


def knob_of(term: TermExpression, text: str, model: Model, find: Find) -> PanelKnob:
    """The knob of a term, which stands in `text`. UsageError if the model cannot be steered so."""
    found: dict[str, Vector] = {}

    def kept(name: str) -> Vector:
        found[name] = find(name)
        return found[name]

    knobs = model.steering(Expression((term,), text), find=kept)
    check_able(knobs, model)
    first, ablates = knobs[0], term.operator == "ablate"
    one = (not term.layers) if ablates else (len(knobs) == 1 and term.source is None)
    knob = PanelKnob(first.vector, None, positions=str(term.positions), operator=term.operator)
    knob.keep_norm, knob.typed, knob.vectors = term.keep_norm, term, found
    if one:
        knob.layer = first.source if ablates else first.layer
    else:
        knob.layers, knob.source = term.layers, term.source
    if ablates:
        knob.share = term.strength
    elif term.unit == "alpha" and one:
        knob.turn_to_alpha(term.strength, model)
    elif term.operator == "add":
        knob.dose = term.strength
    return knob


def names_in(text: str) -> list[str]:
    """The vectors and probes that an expression names. UsageError for what cannot be read."""
    terms = parse(text).terms
    probes = [gate.condition.probe for term in terms for gate in term.gates]
    return [*(name for term in terms for name in term.vectors), *probes]


def probes_in(condition: str) -> list[str]:
    """The probe that a condition names. UsageError for what cannot be read."""
    return [parse_watch(condition).probe]


async def fit_missing(talk: ChatController, model: Model, names: Iterable[str]) -> None:
    """Fit the named contrast sets that ship and that the library has no vector of, for `finder` to find. A name of
    neither is told of later, with its column."""
    find = finder(talk, model)
    for name in names:
        with suppress(LocalprobeError):
            try:
                find(name)
            except LocalprobeError:
                talk.vectors.append(await talk.session.call(first_vector.named, model, name))


def look_up_again(talk: ChatController, model: Model) -> list[str]:
    """Look up the names of what was typed for a model that has just been loaded. What it cannot be steered by, or
    watched for, leaves the panel; returns a line about each."""
    lines, find = [], finder(talk, model)
    for knob in [knob for knob in talk.knobs if knob.typed is not None]:
        term = knob.term
        try:
            knob.become(knob_of(term, str(term), model, find))
        except LocalprobeError as error:
            talk.knobs.remove(knob)
            lines.append(f"{error}. It was removed from the panel.")
    for alarm in list(talk.alarms):
        try:
            talk.alarms[talk.alarms.index(alarm)] = PanelAlarm.said(alarm.text, model, find)
        except LocalprobeError as error:
            talk.alarms.remove(alarm)
            lines.append(f"{error}. It is watched for no longer.")
    return lines


def finder(talk: ChatController, model: Model) -> Find:
    """Finds the vector of a file or a name: of the library, or one that the app has loaded or fitted."""

    def find(name: str) -> Vector:
        try:
            return model.find(name)
        except LocalprobeError:
            held = [*talk.vectors, *(knob.vector for knob in talk.knobs)]
            for vector in held:
                if vector.concept == name and vector.is_for(model.info):
                    return vector
            raise

    return find


def _model(talk: ChatController) -> Model:
    if talk.model is None:
        raise UsageError("names of vectors are looked up for a model, and none is loaded: choose one (F4)")
    return talk.model
