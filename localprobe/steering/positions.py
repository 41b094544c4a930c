"""Where a knob acts in a row: positions named in words, as spans of the tokens of a prompt and its answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from localprobe.engine import FloatArray, Span, Term, Watch
from localprobe.errors import UsageError
from localprobe.steering.places import Positions
from localprobe.vectors.vector import times


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """The positions of a prompt in a row. `localprobe.generation.place.PromptPlace` knows its tokens and its text too.

    `start` is the first position of a later turn of a chat, whose earlier positions keep the steering that they were
    computed under.
    """

    length: int
    """The prompt ends before this position."""
    start: int = 0
    continued: bool = field(default=False, kw_only=True)
    """An answer goes on here, so that the prompt may hold nothing new."""

    def find(self, text: str) -> Sequence[Span]:
        """The spans of the tokens of a text in the prompt. UsageError if it does not occur."""
        raise UsageError(f"positions on {text!r} need the text of the prompt, and only its length is known")

    def thoughts(self) -> Sequence[Span]:
        """The spans of the prompt inside thinking; one that the prompt leaves open ends at `length`."""
        raise UsageError("positions outside thinking need the text of the prompt, and only its length is known")

    def score(self, watch: Watch) -> tuple[float, int]:
        """The mean score of the unsteered message, and the number of tokens that it is the mean of."""
        raise UsageError("a condition on the prompt needs its text, and only its length is known")


def spans(positions: Positions, place: Place) -> list[tuple[int, int | None]]:
    """The spans `[first, stop)` that positions stand for in a row; a stop of None reaches every later position.

    `all` is what the paper and llama.cpp do. `response` begins at the prompt's last position, which predicts the first
    token of the answer; `prompt` is everything before it. Spans that are empty are left out.
    """
    start, length = place.start, place.length
    if place.continued and start == length - 1 and positions.kind not in ("all", "response"):
        return []  # that position is the end of the answer so far
    match positions.kind:
        case "all":
            return [(start, None)]
        case "response":
            return [(length - 1, None)]
        case "prompt":
            found: Sequence[Span] = [(start, length - 1)]
        case "on":
            found = place.find(positions.text)
        case _:
            part = range(start, length)[positions.first : positions.stop]
            found = [(part.start, part.stop)]
    return [(first, stop) for first, stop in found if first < stop]


def without(spans: Sequence[tuple[int, int | None]], gaps: Sequence[Span]) -> list[tuple[int, int | None]]:
    """Spans without the positions of other spans."""
    left = list(spans)
    for low, high in gaps:
        pieces = [piece for first, stop in left for piece in ((first, _least(stop, low)), (max(first, high), stop))]
        left = [(first, stop) for first, stop in pieces if stop is None or first < stop]
    return left


def within(spans: Sequence[tuple[int, int | None]], first: int, last: int | None) -> list[tuple[int, int | None]]:
    """The parts of spans inside `[first, last)`."""
    parts = [(max(low, first), _least(high, last)) for low, high in spans]
    return [(low, high) for low, high in parts if high is None or low < high]


def _least(a: int | None, b: int | None) -> int | None:
    return b if a is None else a if b is None else min(a, b)


def term(layer: int, vector: FloatArray, alpha: float, where: tuple[int, int | None] = (0, None)) -> Term:
    """`h' = h + alpha * vector` at `layer` over a span (the paper's equation 2), multiplied in float32."""
    return Term(layer, times(alpha, vector), *where)
