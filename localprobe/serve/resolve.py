"""A request's steering, probes and conditions, on a loaded model: knobs, projections, alarms, and what is echoed.

Vectors are names of the library here, never paths: no file is opened because a request names it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, TypeVar

from localprobe.engine import Info, Watch
from localprobe.errors import (
    EngineCrashed,
    EngineStopped,
    LocalprobeError,
    UsageError,
    VectorError,
    caught_warnings,
)
from localprobe.model import Model
from localprobe.serve.errors import ApiError, api_error
from localprobe.serve.types import Applied, Steering, SteeringTerm
from localprobe.steering.expression import Bound, Condition, Expression
from localprobe.steering.gates import Alarm
from localprobe.steering.knob import Knob
from localprobe.steering.lexer import Tokens, name_text, number_text
from localprobe.steering.parser import parse, parse_watch
from localprobe.suggest import close_match, shown
from localprobe.vectors import files
from localprobe.vectors.library import Library, LibraryEntry
from localprobe.vectors.vector import Vector

T = TypeVar("T")
LONGEST = 1 << 14
"""The most characters of a request's steering."""

_warnings = threading.Lock()  # warnings are caught for the whole process, and each model resolves on its own thread


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a request asks for, read but not resolved: no model is needed for it."""

    steering: tuple[Expression, ...] = ()
    probes: tuple[tuple[str, Condition], ...] = ()
    """As the request writes each, and the same as a condition without a meaning of its own."""
    watch: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Resolved:
    """The same on a model."""

    knobs: tuple[Knob, ...]
    probes: tuple[str, ...]
    """What the scores are called, in the order of `watch`."""
    watch: tuple[Watch, ...]
    alarms: tuple[Alarm, ...]
    applied: Applied


def read(
    steering: Steering, probes: Sequence[str] | None, watch: Sequence[str] | None, *, default: str, most: int
) -> Wanted:
    """What a request asks for. ApiError 400, with the field at fault, for what cannot be read, for more than `most`
    terms, and for a path."""
    _check_length(steering, most)
    expressions = of_field("steering", lambda: read_steering(steering, default))
    if sum(len(expression.terms) for expression in expressions) > most:
        raise ApiError(400, f"steering has more than the {most} terms that this server takes", param="steering")
    if len(watch or ()) > most or len(probes or ()) > most:
        raise ApiError(400, f"more than the {most} probes that this server takes", param="probes")
    read_probes = of_field("probes", lambda: tuple((text, _probe(text)) for text in dict.fromkeys(probes or ())))
    conditions = tuple(dict.fromkeys(watch or ()))
    of_field("watch", lambda: [library_name(parse_watch(text).probe) for text in conditions])
    return Wanted(expressions, read_probes, conditions)


def _check_length(steering: Steering, most: int) -> None:
    """ApiError 400 for more than the event loop should read: it serves nobody else meanwhile."""
    parts = steering if isinstance(steering, list) else [steering]
    if len(parts) > most:
        raise ApiError(400, f"steering has more than the {most} terms that this server takes", param="steering")
    if (length := sum(len(part) for part in parts if isinstance(part, str))) > LONGEST:
        raise ApiError(400, f"steering has {length:,} characters: {LONGEST:,} are the most", param="steering")


@contextmanager
def noticing() -> Iterator[list[str]]:
    """Collects the warnings of a request as lines; the list is filled when the block ends."""
    with _warnings, caught_warnings() as notices:
        yield notices


def resolve(model: Model, wanted: Wanted) -> Resolved:
    """What a request asks for, on a model; on its scheduler's thread, since the model may have to measure. ApiError."""
    found: dict[str, Vector] = {}

    def find(name: str) -> Vector:
        if name not in found:
            found[name] = library_vector(name, model.info)
        return found[name]

    knobs = of_field("steering", lambda: [k for e in wanted.steering for k in model.steering(e, find=find)])
    scored = of_field("probes", lambda: [model.alarm(str(probe), find=find) for _, probe in wanted.probes])
    alarms = of_field("watch", lambda: [model.alarm(text, find=find) for text in wanted.watch])
    text = "; ".join(map(str, wanted.steering))
    return Resolved(
        tuple(knobs),
        tuple(name for name, _ in wanted.probes),
        tuple(probe.watch for probe in scored),
        tuple(alarms),
        Applied(text, [described(model, knob) for knob in knobs]),
    )


def read_steering(steering: Steering, default: str = "") -> tuple[Expression, ...]:
    """The expressions of a request's `steering`; of `default` if it is None. UsageError or ApiError."""
    if steering is None:
        steering = default
    if steering is True:
        raise UsageError("steering true says not how: give an expression, such as 0.2 empathy")
    parts = steering if isinstance(steering, list) else [steering] if steering else []
    expressions = tuple(
        _term(part) if isinstance(part, SteeringTerm) else parse(part)
        for part in parts
        if isinstance(part, SteeringTerm) or part.strip()
    )
    for expression in expressions:
        for name in expression.names:
            library_name(name)
    return expressions


def library_name(name: str) -> str:
    """A name of the library as it is. ApiError 400 for what is, or looks like, a path."""
    path = any(mark in name for mark in ("/", "\\", "~", "\0")) or name.startswith(".")
    if path or PurePath(name).suffix.lower() in files.FORMATS:
        raise ApiError(400, f"{shown(name)} is no name of a vector: GET /v1/vectors lists them", code="vector_name")
    return name


def library_vector(name: str, info: Info) -> Vector:
    """The vector of a name for a model. ApiError for a path, VectorError if the library has none."""
    return library_entry(name, info).vector


def library_entry(name: str, info: Info) -> LibraryEntry:
    """The same with its file."""
    library = Library()
    if entry := library.find(library_name(name), info):
        return entry
    if others := ", ".join(dict.fromkeys(entry.vector.origin.model for entry in library.named(name))):
        raise VectorError(f"the vector {shown(name)} is kept for {others}, not for {info.model}: fit one for it")
    meant = close_match(name, (entry.name for entry in library.entries() if entry.made_for(info)))
    hint = f"did you mean {meant!r}?" if meant else "GET /v1/vectors lists them"
    raise VectorError(f"no vector {shown(name)} in the library; {hint}")


@dataclass(frozen=True, slots=True)
class _Parts:
    """The text of a term that is given in parts."""

    words: list[str] = field(default_factory=list)

    def add(self, word: str, value: object) -> None:
        if value is not None:
            self.words.append(f"{word}{value}")


def _term(term: SteeringTerm) -> Expression:
    """A term in parts, by way of the language, so that both mean the same."""
    given = [name for name in ("dose", "alpha", "ablate") if getattr(term, name) is not None]
    if len(given) != 1:
        raise UsageError(f"vector {shown(term.vector)} has {' and '.join(given) or 'no strength'}: give dose or alpha")
    if term.layer is not None and term.layers is not None:
        raise UsageError(f"vector {shown(term.vector)} has layer and layers: give one of them")
    if term.until is not None and term.when is None:
        raise UsageError("until is where `when` ends: give both")
    layers = term.layer if term.layers is None else term.layers
    text = _Parts()
    text.add({"dose": "", "alpha": "alpha ", "ablate": "ablate "}[given[0]], number_text(getattr(term, given[0])))
    text.add("", name_text(term.vector))
    text.add("@", ",".join(map(str, layers)) if isinstance(layers, list) else layers)
    text.add("", term.positions)
    text.add("for ", None if term.tokens is None else f"{term.tokens} tokens")
    text.add("if ", term.if_)
    text.add("when ", term.when)
    text.add("until ", None if term.until is None else number_text(term.until))
    expression = parse(" ".join(text.words))
    if len(expression.terms) != 1:
        raise UsageError(f"vector {shown(term.vector)}: an object is one term, and its parts make more")
    return expression


def _probe(text: str) -> Condition:
    """`NAME` or `NAME@LAYER`, as a condition whose bound says nothing."""
    tokens = Tokens(text)
    name = library_name(tokens.name("a probe"))
    layer = tokens.whole("after '@' (a layer)") if tokens.takes("@") else None
    if tokens.next.kind != "end":
        tokens.fail(f"{tokens.next} after the probe: a probe is NAME or NAME@LAYER; conditions go into `watch`")
    return Condition(name, layer, True, Bound(0.0))


def described(model: Model, knob: Knob) -> dict[str, Any]:
    """A knob as JSON values."""
    return {
        "vector": knob.vector.concept,
        "operator": knob.operator,
        "layer": knob.layer,
        "layers": list(knob.reach),
        "alpha": knob.alpha,
        "dose": knob.dose(model.scale) if knob.operator in ("add", "keep-norm") else None,
        "positions": knob.positions,
        "tokens": knob.tokens,
        "gates": [gate.name for gate in knob.gates],
        "steering": knob.text,
    }


def of_field(name: str, work: Callable[[], T]) -> T:
    """What `work` gives; its error names the field. The end of the engine is no field's fault, and stays what it is:
    the scheduler must hear of it."""
    try:
        return work()
    except (EngineCrashed, EngineStopped):
        raise
    except ApiError as error:
        error.param = error.param or name
        raise
    except LocalprobeError as error:
        raise api_error(error, param=name) from error
