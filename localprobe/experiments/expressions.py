"""Steering expressions as conditions of an experiment: their canonical text, the vectors that they name, their knobs.

A name is one of the experiment's own vectors first, then a file or a vector of the library, which the experiment takes
in as `others`, by their bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from localprobe import checks
from localprobe.engine import Info, Operator
from localprobe.errors import LocalprobeError, UsageError, VectorError, caught_warnings
from localprobe.experiments.experiment import ABLATING, Experiment, ModelChoice, VectorChoice
from localprobe.model import Model
from localprobe.steering.expression import Expression
from localprobe.steering.gates import TokenGate
from localprobe.steering.knob import Knob
from localprobe.steering.lexer import at
from localprobe.steering.parser import parse
from localprobe.store.names import is_file, path_of
from localprobe.vectors import files
from localprobe.vectors.library import Library
from localprobe.vectors.vector import Vector

_TOKENS = 32
"""Length of a prompt at which the threshold of a gate on prompts, which depends on it, is recorded."""


@dataclass(frozen=True, slots=True, eq=False)
class Resolved:
    """An expression of the experiment on a model."""

    text: str
    """The canonical expression."""
    identities: Mapping[str, str]
    """Of each vector and probe that it names: a hash of its file, or of its pairs and how it was fitted."""
    knobs: tuple[Knob, ...]
    vector: str
    """The vector that its answers are read by: the first that it names."""
    layer: int
    """The layer of that vector's direction."""
    operator: str
    """What its terms do: `add`, `ablate`, `cap`, `keep-norm`, several joined by ` + `."""

    @property
    def thresholds(self) -> list[float]:
        """The bounds of its caps and gates on this model, calibrated ones included, in the order of the expression."""
        found = []
        for knob in self.knobs:
            found += [bound for bound in (knob.low, knob.high) if isfinite(bound)]
            for gate in knob.gates:
                found += [gate.opens, gate.closes] if isinstance(gate, TokenGate) else [gate.bound(_TOKENS)]
        return found


def canonical(texts: Sequence[str]) -> tuple[str, ...]:
    """The expressions in their canonical form. UsageError for one that cannot be parsed, or that is given twice."""
    known: dict[str, str] = {}
    for text in [texts] if isinstance(texts, str) else texts:
        expression = str(parse(text))
        if expression in known:
            raise UsageError(f"`steering` has {expression!r} twice: give each once, and samples for more answers to it")
        known[expression] = text
    return tuple(known)


def names(text: str) -> dict[str, int]:
    """The vectors and probes of an expression, and the columns where they first stand."""
    found: dict[str, int] = {}
    for term in parse(text).terms:
        for name, column in zip(term.vectors, term.vector_columns, strict=True):
            found.setdefault(name, column)
        for gate in term.gates:
            found.setdefault(gate.condition.probe, gate.condition.column)
    return found


def outside(
    texts: Sequence[str],
    own: Sequence[VectorChoice],
    models: Sequence[ModelChoice],
    folder: Path | None = None,
    info: Info | None = None,
) -> tuple[VectorChoice, ...]:
    """The vectors of the expressions that are not the experiment's own: files, relative to `folder`, and vectors of the
    library for each model. UsageError, with the column, for one that does not exist."""
    found: dict[tuple[str, tuple[str, ...]], VectorChoice] = {}
    for text in texts:
        for name, column in names(text).items():
            for model in models:
                if any(vector.name == name and vector.is_for(model.name) for vector in own):
                    continue
                try:
                    choice = _choice(name, model, folder or Path(), info)
                except LocalprobeError as error:
                    raise at(text, column, str(error)) from error
                found[name, choice.models] = choice
    return tuple(found.values())


def _choice(name: str, model: ModelChoice, folder: Path, info: Info | None) -> VectorChoice:
    path = folder / path_of(name)
    if "/" in name or path.suffix in files.FORMATS or is_file(path):
        return VectorChoice(name, file=path)
    return VectorChoice(name, file=_kept(name, model, info), models=(model.name,))


def _kept(name: str, model: ModelChoice, info: Info | None) -> Path:
    """The library's file of a name for a model, which need not be loaded yet."""
    library = Library()
    if info is not None and (entry := library.find(name, info)):
        return entry.path
    entries = library.named(name)
    own = [entry for entry in entries if entry.vector.origin.model == model.name]
    own.sort(key=lambda entry: "@" not in entry.path.stem)  # those kept under the name, then those that sweeps fitted
    if len({entry.vector.origin.weights for entry in own}) > 1:
        kept = f"the library has several vectors {name!r} for {model.name}, of different weights"
        raise VectorError(f"{kept}: name the file of one under [[vectors]]")
    if own:
        return own[0].path
    if entries:
        kept_for = ", ".join(dict.fromkeys(entry.vector.origin.model for entry in entries))
        raise VectorError(f"the vector {name!r} is kept for {kept_for}, not for {model.name}: fit one for it")
    raise VectorError(
        f"no vector {name!r}: it is none of the experiment's own, no file, and no name of `localprobe vector list`"
    )


def operators(experiment: Experiment) -> set[Operator]:
    """What an engine must be able to do."""
    found: set[Operator] = {"add"}
    if set(ABLATING) & set(experiment.arms):
        found.add("ablate")
    for text in experiment.steering:
        for term in parse(text).terms:
            found.add("keep-norm" if term.keep_norm else term.operator)
    return found


def check_operators(experiment: Experiment, info: Info) -> None:
    """UsageError, before vectors are fitted for an hour, if the engine lacks an operator."""
    checks.check_operators(info, operators(experiment))


def resolved(
    experiment: Experiment, model: Model, vectors: Mapping[str, tuple[str, Vector]], notify: Callable[[str], None]
) -> tuple[Resolved, ...]:
    """The expressions on a loaded model; `vectors` has the identity and the vector of each name. Notices about vectors
    go to `notify`. UsageError, with the column, for what does not work on this model."""
    with caught_warnings() as lines:
        found = tuple(_resolved(parse(text), model, vectors) for text in experiment.steering)
    for line in lines:
        notify(f"warning: {line}")
    return found


def _resolved(expression: Expression, model: Model, vectors: Mapping[str, tuple[str, Vector]]) -> Resolved:
    knobs = model.steering(expression, find=lambda name: vectors[name][1])
    first = knobs[0]
    text = str(expression)
    return Resolved(
        text,
        {name: vectors[name][0] for name in names(text)},
        tuple(knobs),
        expression.terms[0].vectors[0],
        first.layer if first.source is None else first.source,
        " + ".join(dict.fromkeys(knob.operator for knob in knobs)),
    )
