"""What the commands share that steer by expressions and watch for probes: options, the model of the vectors, lines."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import click

from localprobe.cli.options import Chosen
from localprobe.cli.output import say

if TYPE_CHECKING:
    from localprobe.generation.events import Alert, GateChange
    from localprobe.model import Model
    from localprobe.steering.gates import Alarm
    from localprobe.steering.knob import Knob
    from localprobe.vectors.vector import Vector

F = TypeVar("F", bound=Callable[..., Any])
_SIGNED = re.compile(r"-\.?\d\S*\s+\S")  # with more words, so that it is no option's value
_HIDDEN = "\ue000"  # private use: before an argument, so that its minus begins no option
_TOLD = 12  # events of an answer that are told one by one


def steering_options(command: F) -> F:
    """`--steer` and `--watch`; the command gets them as `steering` and `conditions`, tuples of texts."""
    watch = click.option(
        "--watch",
        "conditions",
        multiple=True,
        metavar="CONDITION",
        help='Tell when a probe fires: "refusal > fpr 0.01", "calm@12 < 0.5", or a probe\'s name. Repeat it for more.',
    )
    steer = click.option(
        "--steer",
        "steering",
        multiple=True,
        metavar="EXPRESSION",
        help='"0.2 empathy", "ablate refusal", "-0.1 formality @18 response when calm > 2": docs/steering-language.md. '
        "Repeat it for more.",
    )
    return steer(watch(command))


def positions_option(command: F) -> F:
    """`--positions`, in the words of the steering language."""
    words = 'Where: all, prompt, response, "first 5", ... of the language.'
    return click.option("--positions", default="all", show_default=True, help=words)(command)


class Resolver:
    """Turns expressions and conditions into knobs and alarms of a loaded model. A vector is a file or a name, found
    once; a name that ships and was never fitted on this model is fitted."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self._found: dict[str, Vector] = {}

    def knobs(self, expressions: Iterable[str]) -> list[Knob]:
        """The knobs of expressions, in their order."""
        return [knob for text in expressions for knob in self.model.steering(text, find=self._find)]

    def alarms(self, conditions: Iterable[str]) -> list[Alarm]:
        """The alarms of conditions."""
        return [self.model.alarm(text, find=self._find) for text in conditions]

    def _find(self, name: str) -> Vector:
        from localprobe.cli.show import capturing
        from localprobe.probing.named import vector_for

        if name not in self._found:
            with capturing() as amounts:
                notify = partial(say, err=True)
                self._found[name] = vector_for(self.model, name, notify=notify, capturing=amounts)
        return self._found[name]


@contextmanager
def loaded_for(
    chosen: Chosen,
    expressions: Sequence[str],
    conditions: Sequence[str],
    check: Callable[[Model], object] = lambda model: None,
) -> Iterator[Resolver]:
    """Load the model that the user named, or that of the first vector, for a `with` block. Expressions and conditions
    are read before; `check` runs before a vector is fitted and may raise."""
    names = check_texts(expressions, conditions)
    with chosen.of(_origin(names)).load() as model:
        check(model)
        yield Resolver(model)


class Signed(click.Command):
    """A command whose arguments may begin with a negative number, as `-0.1 formality` does, and are then no options."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        rest = super().parse_args(ctx, [_HIDDEN + arg if _SIGNED.match(arg) else arg for arg in args])
        ctx.params = {name: _revealed(value) for name, value in ctx.params.items()}
        return rest


def _revealed(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_revealed, value))
    return value.removeprefix(_HIDDEN) if isinstance(value, str) else value


def check_texts(steering: Sequence[str], conditions: Sequence[str]) -> list[str]:
    """The vectors of expressions and conditions. UsageError for what cannot be read."""
    from localprobe.steering.parser import parse, parse_watch

    vectors = [name for text in steering for term in parse(text).terms for name in term.vectors]
    return [*vectors, *(parse_watch(text).probe for text in conditions)]


def _origin(names: Sequence[str]) -> Any:
    """The origin of the first vector that says one; what cannot be read is told of later, with its column."""
    from localprobe.errors import LocalprobeError
    from localprobe.probing.named import origin_of

    for name in names:
        try:
            origin = origin_of(name)
        except LocalprobeError:
            continue
        if origin is not None:
            return origin
    return None


def describe(model: Model, knob: Knob) -> str:
    """A knob in words: `empathy at layer 19: dose +0.200 (alpha +12.34), positions all`."""
    from localprobe.vectors.vector import listed

    where = f"layer {knob.layer}" if len(knob.reach) == 1 else f"layers {listed(knob.reach)}"
    source = "" if knob.source is None else f", its direction at layer {knob.source}"
    conditions = "".join(f", {gate.name}" for gate in knob.gates)
    limit = "" if knob.tokens is None else f", for {knob.tokens} tokens"
    rest = f"{_where(knob.positions)}{limit}{conditions}"
    concepts = ", ".join([knob.vector.concept, *(vector.concept for vector in knob.others)])
    match knob.operator:
        case "ablate":
            goal = " to the neutral mean" if knob.centre is not None else f" to {knob.target:g}" if knob.target else ""
            return f"{concepts} at {where}: {100 * knob.alpha:g} % ablated{goal}{source}, {rest}"
        case "cap":
            return f"{concepts} at {where}: held within [{knob.low:g}, {knob.high:g}]{source}, {rest}"
    norm = ", keeping the norm" if knob.operator == "keep-norm" else ""
    strength = f"dose {knob.dose(model.scale):+.3f} (alpha {knob.alpha:+.2f})"
    return f"{concepts} at {where}: {strength}{norm}{source}, {rest}"


def _where(positions: str) -> str:
    return positions if positions.startswith("positions ") else f"positions {positions}"


def described(model: Model, knob: Knob) -> dict[str, Any]:
    """A knob as JSON values."""
    return {
        "concept": knob.vector.concept,
        "layer": knob.layer,
        "alpha": knob.alpha,
        "dose": knob.dose(model.scale),
        "positions": knob.positions,
        "operator": knob.operator,
        "steering": knob.text,
        "layers": list(knob.reach),
        "gates": [gate.name for gate in knob.gates],
    }


def say_events(gates: Sequence[GateChange], alerts: Sequence[Alert], pieces: Sequence[str], *, first: int = 0) -> None:
    """Tell on stderr which conditions began or ceased to hold, and where a probe fired, from the token `first` on."""
    from localprobe.suggest import shown

    lines = []
    for gate in gates:
        score = "" if gate.score is None else f" (score {gate.score:+.2f})"
        lines.append(
            (gate.index, f"from token {gate.index}: {gate.gate} {'holds' if gate.open else 'does not hold'}{score}")
        )
    for alert in alerts:
        piece = shown(pieces[first + alert.index]) if first + alert.index < len(pieces) else ""
        fired = f"{alert.score:+.2f}, threshold {alert.threshold:+.2f}"
        lines.append((alert.index, f"token {alert.index} {piece}: {alert.probe} fires ({fired})"))
    for _, line in sorted(lines, key=lambda line: line[0])[:_TOLD]:
        say(f"[{line}]", err=True)
    if len(lines) > _TOLD:
        say(f"[and {len(lines) - _TOLD} more: --json lists all]", err=True)


def events_json(gates: Sequence[GateChange], alerts: Sequence[Alert]) -> dict[str, Any]:
    """The events of an answer as JSON values."""
    return {
        "gates": [{"token": g.index, "gate": g.gate, "open": g.open, "score": g.score} for g in gates],
        "alerts": [{"token": a.index, "probe": a.probe, "score": a.score, "threshold": a.threshold} for a in alerts],
    }
