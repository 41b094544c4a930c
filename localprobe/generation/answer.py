"""A generated answer, built from the events of its row: text, token ids, log-probabilities and scores per token."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from localprobe.generation.events import Alert, Event, Finished, GateChange, Reason, Score, Token

if TYPE_CHECKING:
    from localprobe.engine import FloatArray, IntArray

_SHOWN = 60  # characters of the text in a repr


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Answer:
    """A generated answer.

    `print(answer)` writes its text; a notebook shows the text with its tokens tinted by their scores. All sequences
    have one entry per token, in the order of the text; the end token that a model samples is not part of an answer.
    """

    pieces: tuple[str, ...]
    """What each token adds to the text; empty for a token that ends in the middle of a character."""
    ids: IntArray
    """(n,) int32, read-only: the token ids."""
    logprobs: FloatArray
    """(n,) float32, read-only: natural log of each token's probability under the steered model at temperature 1."""
    projections: FloatArray
    """(n, watches) float32, read-only: dot product of each token's own residual with every watched vector, in residual
    units. NaN for a token that was not scored, such as the last one if generation was interrupted."""
    reason: Reason
    """Why it ended: `end` (the model's end token), `stop` (a stop string), `length` (the token limit),
    `context` (the context is full) or `stopped` (it was interrupted)."""
    midpoint: float = 0.0
    """The score without a tint in notebooks: the midpoint between the poles, plus what steering adds directly."""
    reach: float = 0.0
    """Distance from `midpoint` at which the tint is full; 0 takes the largest distance in this answer."""
    gates: tuple[GateChange, ...] = ()
    """When conditions of the steering began and ceased to hold."""
    alerts: tuple[Alert, ...] = ()
    """The tokens for which a watched-for probe fired."""

    @property
    def text(self) -> str:
        """The text of the answer."""
        return "".join(self.pieces)

    @property
    def scores(self) -> FloatArray:
        """(n,) float32: projections on the first watched vector, all NaN if nothing was watched."""
        if self.projections.shape[1]:
            return self.projections[:, 0]
        return np.full(len(self.ids), np.nan, dtype=np.float32)

    @property
    def mean_score(self) -> float | None:
        """Mean of the scores that are not NaN; None if there is none."""
        scores = self.scores[~np.isnan(self.scores)]
        return float(scores.mean(dtype=np.float64)) if len(scores) else None

    def __len__(self) -> int:
        """The number of tokens."""
        return len(self.ids)

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        text = self.text
        shown = text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
        mean = self.mean_score
        score = "" if mean is None else f", mean score {mean:+.2f}"
        return f"<Answer {shown!r}, {len(self)} tokens{score}, reason {self.reason!r}>"

    def _repr_html_(self) -> str:
        from localprobe.steering.tint import html

        mean = self.mean_score
        score = "" if mean is None else f"mean score {mean:+.2f}, "
        foot = f"{score}{len(self)} tokens, reason: {self.reason}"
        return html(self.pieces, self.scores.tolist(), self.midpoint, self.reach, foot)


class AnswerBuilder:
    """An answer while it is generated: `take` its events as they come, and read the partial answer at any time."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.pieces: list[str] = []
        self.scores: list[float] = []
        """The first watched projection of each token, NaN until it is known."""
        self.text = ""
        self.reason: Reason | None = None
        """Why it ended; None while it is being generated."""
        self.gates: list[GateChange] = []
        self.alerts: list[Alert] = []
        self._logprobs: list[float] = []
        self._projections: list[FloatArray | None] = []

    def take(self, event: Event) -> None:
        """Take the next event of this answer's row."""
        match event:
            case Token():
                self.ids.append(event.id)
                self.pieces.append(event.text)
                self._logprobs.append(event.logprob)
                self.scores.append(math.nan)
                self._projections.append(None)
                self.text += event.text
            case Score():
                self.scores[event.index] = float(event.values[0])
                self._projections[event.index] = event.values
            case GateChange():
                self.gates.append(event)
            case Alert():
                self.alerts.append(event)
            case Finished():
                self.reason = event.reason
                self.text += event.text
                if self.pieces:
                    self.pieces[-1] += event.text

    @property
    def projections(self) -> FloatArray:
        """(tokens, watches) float32, NaN until they are known."""
        watches = max((len(values) for values in self._projections if values is not None), default=0)
        unknown = np.full(watches, np.nan, dtype=np.float32)
        rows = [unknown if values is None else values for values in self._projections]
        return np.array(rows, dtype=np.float32).reshape(len(rows), watches)

    def answer(self, midpoint: float = 0.0, reach: float = 0.0) -> Answer:
        """The answer so far; its reason is `stopped` if its row has not finished."""
        ids, logprobs = np.array(self.ids, dtype=np.int32), np.array(self._logprobs, dtype=np.float32)
        projections = self.projections
        for array in (ids, logprobs, projections):
            array.setflags(write=False)
        told = tuple(self.gates), tuple(self.alerts)
        return Answer(tuple(self.pieces), ids, logprobs, projections, self.reason or "stopped", midpoint, reach, *told)


def collect(events: Iterable[Event], rows: int, midpoint: float = 0.0, reach: float = 0.0) -> list[Answer]:
    """Build the answers of `rows` rows from all of their events."""
    builders = [AnswerBuilder() for _ in range(rows)]
    for event in events:
        builders[event.row].take(event)
    return [builder.answer(midpoint, reach) for builder in builders]
