"""A request to generate an answer, and the row of a decoding that it becomes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from localprobe.engine import IntArray, Prompt, Sampler, Steering, Watch
from localprobe.generation.detokenizer import Detokenizer, StopStrings
from localprobe.generation.events import Finished, Reason
from localprobe.generation.gates import RowGates
from localprobe.sampling import uniforms
from localprobe.steering.gates import Alarm

_CHUNK = 64  # uniforms drawn at a time


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """One answer to generate."""

    ids: IntArray
    """(n,) int32: the prompt."""
    steering: Steering = ()
    """Its terms; those with a condition are `GatedTerm`s."""
    sampler: Sampler = Sampler()
    key: str = "0"
    """Names the stream of random numbers. The same key, prompt and steering give the same answer in any batch."""
    tokens: int = 200
    """Maximum number of tokens to generate."""
    stops: tuple[str, ...] = ()
    """Stop strings: they end the answer and are not part of it."""
    top: int = 0
    """How many of the most likely tokens each `Token` lists."""


@dataclass(slots=True, eq=False)
class Row:
    """A row of a decoding: a request, and its answer so far."""

    number: int
    request: Request
    limit: int
    at_limit: Reason  # reason if the limit is reached
    detokenizer: Detokenizer
    stops: StopStrings
    gates: RowGates
    steering: Steering
    """The terms that each position was, or will be, computed under while the gates stay as they are."""
    watch: tuple[Watch, ...] = ()
    """What its scores are of."""
    alarms: tuple[Alarm, ...] = ()
    columns: list[int] = field(default_factory=list)
    """Where its `watch` is among the projections that the stream reads."""
    judged: list[int] = field(default_factory=list)
    """Where what its alarms and gates read is."""
    ids: list[int] = field(default_factory=list)
    run: int = 0  # tokens of the answer that have been run
    ending: Reason | None = None
    uniforms: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))

    def uniform(self) -> float:
        at = len(self.ids) % _CHUNK
        if at == 0:
            self.uniforms = uniforms(self.request.key, len(self.ids), _CHUNK)
        return float(self.uniforms[at])

    @property
    def reads(self) -> list[Watch]:
        """What its alarms and gates read, each once."""
        more = [*(alarm.watch for alarm in self.alarms), *self.gates.watches]
        return list({watched.content: watched for watched in more}.values())

    @property
    def reads_scores(self) -> bool:
        """Whether its last token must be run for a score."""
        return bool(self.columns or self.judged)

    @property
    def length(self) -> int:
        """Positions of the row that have been run."""
        return len(self.request.ids) + self.run

    @property
    def whole(self) -> IntArray:
        """Its prompt and its answer so far, (n,) int32."""
        return np.concatenate([self.request.ids, np.array(self.ids, np.int32)])

    def finished(self) -> Finished:
        """The event that ends it, with the text that was held back if it did not end at a stop string."""
        text = ""
        if self.ending != "stop":
            text, stopped = self.stops.push(self.detokenizer.flush())
            text = text if stopped else text + self.stops.flush()
        return Finished(self.number, self.ending or "end", text)


def random_key(seed: int | str, repeat: int = 0) -> str:
    """The name of the random numbers of an answer (`Request.key`) to a prompt with a seed; `repeat` counts the answers
    to the same prompt before it."""
    return f"seed {seed}" + (f" again {repeat}" if repeat else "")


def prompt_of(rows: Sequence[Row], keep: int = 0, held: int | None = None) -> Prompt:
    """The prompt that rows start from which begin alike; its first `keep` positions are in a cache already."""
    first = rows[0]
    top = max(row.request.top for row in rows)
    return Prompt(first.request.ids, first.steering, first.request.sampler, len(rows), keep, held, top)


def watches_of(rows: Iterable[Row]) -> tuple[Watch, ...]:
    """What rows need to be read, each once."""
    wanted = [watched for row in rows for watched in (*row.watch, *row.reads)]
    return tuple({watched.content: watched for watched in wanted}.values())
