"""Where a term of an expression acts: its layers, and its positions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias, get_args

from localprobe.errors import UsageError
from localprobe.steering.lexer import LARGEST, PLACES, Tokens, quote, unusable
from localprobe.suggest import close_match, shown

MOST_LAYERS = 1000
"""No model has a layer of this number or above."""
PositionKind: TypeAlias = Literal["all", "prompt", "response", "first", "last", "positions", "on"]


@dataclass(frozen=True, slots=True)
class Layers:
    """The layers where a term acts; without any, the vector's own choice."""

    indices: tuple[int, ...] = ()
    """0-based, distinct, in the order written."""
    every: bool = False
    """All layers of the model; then `indices` is empty."""

    def __post_init__(self) -> None:
        if self.every and self.indices:
            raise UsageError("layers are either all or named, not both")
        for layer in self.indices:
            check_whole("layer", layer, 0, MOST_LAYERS - 1)
        if len(set(self.indices)) < len(self.indices):
            raise UsageError(f"layers {shown(str(self))} name a layer twice")

    def __bool__(self) -> bool:
        return self.every or bool(self.indices)

    def __str__(self) -> str:
        if self.every:
            return "all"
        first, last = (self.indices[0], self.indices[-1]) if self.indices else (0, 0)
        if len(self.indices) > 1 and self.indices == tuple(range(first, last + 1)):
            return f"{first}-{last}"
        return ",".join(map(str, self.indices))


OWN = Layers()
"""The vector's own choice."""
ALL = Layers(every=True)


@dataclass(frozen=True, slots=True)
class Positions:
    """The positions where a term acts. `first`, `last` and `positions` are `range(prompt)[first:stop]` of a prompt of
    `prompt` positions."""

    kind: PositionKind = "all"
    first: int | None = None
    """Of `last N`, -N. Of `positions A:B`, A; negative from the prompt's end."""
    stop: int | None = None
    """Of `first N`, N. Of `positions A:B`, B; negative from the prompt's end."""
    text: str = ""
    """Of `on`: every occurrence of it in the prompt."""
    outside_thinking: bool = False
    """Not where the model thinks before it answers."""

    def __post_init__(self) -> None:
        if self.kind not in get_args(PositionKind):
            raise UsageError(f"positions {shown(self.kind)}: choose one of {', '.join(PLACES)}")
        numbers = {"first": {"stop"}, "last": {"first"}, "positions": {"first", "stop"}}.get(self.kind, set())
        if (self.first is not None and "first" not in numbers) or (self.stop is not None and "stop" not in numbers):
            raise UsageError(f"positions {self.kind!r} with first {self.first} and stop {self.stop}: one too many")
        if (self.kind == "on") != bool(self.text):
            raise UsageError(f"positions {self.kind!r} with the text {shown(self.text)}: 'on', and only it, has a text")
        if fault := self.text and unusable(self.text):
            raise UsageError(f"the text {shown(self.text)} {fault}")
        self._check_numbers()

    def _check_numbers(self) -> None:
        if self.kind == "first":
            check_whole("the number of first positions", self.stop, 1)
        if self.kind == "last":
            check_whole("the number of last positions", None if self.first is None else -self.first, 1)
        if self.kind != "positions":
            return
        for edge in (self.first, self.stop):
            if edge is not None:
                check_whole("position", edge, -LARGEST)
        first, stop = self.first or 0, self.stop
        if stop is not None and (stop == 0 or (stop <= first and (first < 0) == (stop < 0))):
            raise UsageError(f"{self} is no position: the stop is not above the first")

    def __str__(self) -> str:
        return f"{self._place()} outside thinking" if self.outside_thinking else self._place()

    def _place(self) -> str:
        match self.kind:
            case "first":
                return f"first {self.stop}"
            case "last":
                return f"last {-(self.first or 0)}"
            case "positions":
                return f"positions {_edge(self.first)}:{_edge(self.stop)}"
            case "on":
                return f"on {quote(self.text)}"
        return self.kind

    @classmethod
    def parse(cls, text: str) -> Positions:
        """The positions of a text such as `response outside thinking`, which an option or a file holds alone.

        UsageError with the column where it cannot be read.
        """
        tokens, place, outside = Tokens(text), None, False
        while tokens.next.kind != "end":
            column, word = tokens.next.column, tokens.next.text
            if word == "outside" and not outside:
                outside = read_outside(tokens)
            elif word in PLACES and tokens.next.kind == "word" and place is None:
                place = read_place(tokens)
            else:
                raise tokens.error(column, _unexpected(str(tokens.next), word, again=word in (*PLACES, "outside")))
        if place is None and not outside:
            raise tokens.error(0, f"no positions: choose one of {', '.join(PLACES)}")
        return with_thinking(place or cls(), outside)


EVERYWHERE = Positions()


def with_thinking(place: Positions, outside: bool) -> Positions:
    """The positions, left out where the model thinks if `outside`."""
    return Positions(place.kind, place.first, place.stop, place.text, outside) if outside else place


def read_outside(tokens: Tokens) -> bool:
    """`outside thinking`."""
    tokens.take()
    tokens.expect("thinking", "after 'outside'")
    return True


def read_place(tokens: Tokens) -> Positions:
    """Positions that begin with one of PLACES, which is next."""
    column, word = tokens.next.column, tokens.take().text
    match word:
        case "first":
            return tokens.built(column, Positions, word, None, tokens.whole("after 'first' (of positions)"))
        case "last":
            return tokens.built(column, Positions, word, -tokens.whole("after 'last' (of positions)"))
        case "positions":
            first = _read_edge(tokens, ":")
            tokens.expect(":", "between the first position and the stop, as in 2:10")
            return tokens.built(column, Positions, word, first, _read_edge(tokens, ""))
        case "on":
            return tokens.built(column, Positions, word, None, None, tokens.quoted("a text of the prompt after 'on'"))
    return tokens.built(column, Positions, word)


def read_layers(tokens: Tokens) -> Layers:
    """What stands after `@`: one layer, `A-B`, `A, B, ...` or `all`."""
    column = tokens.next.column
    if tokens.takes("all"):
        return ALL
    if tokens.next.kind == "word":
        tokens.fail(f"expected a layer, or all, after '@', not {tokens.next}; a name or path that has an @ is quoted")
    layers = [tokens.whole("after '@' (a layer), or all")]
    if tokens.takes("-"):
        last = tokens.whole("after '-' (the last layer)")
        if tokens.next.text == ",":
            tokens.fail("a range of layers stands alone: write A-B, or the layers one by one")
        return tokens.built(column, _range, layers[0], last)
    while tokens.takes(","):
        layers.append(tokens.whole("after ',' (a layer)"))
    return tokens.built(column, Layers, tuple(layers))


@lru_cache(maxsize=256)  # ten thousand terms at the same range hold one tuple
def _range(first: int, last: int) -> Layers:
    for layer in (first, last):
        check_whole("layer", layer, 0, MOST_LAYERS - 1)
    if last < first:
        raise UsageError(f"layers {first}-{last} are none: write the lower one first")
    return Layers(tuple(range(first, last + 1)))


def check_whole(what: str, value: object, least: int, most: int = LARGEST) -> None:
    """UsageError for a value that is no whole number from `least` to `most`."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise UsageError(f"{what} is {shown(value)}: give a whole number from {least:,} to {most:,}")


def _read_edge(tokens: Tokens, end: str) -> int | None:
    token = tokens.next
    if token.kind == "number" or (token.text == "-" and token.kind == "mark"):
        return tokens.whole("after '-' (a position)", signed=True)
    if end and token.text != end:
        tokens.fail(f"expected a position or ':' after 'positions', not {token}")
    return None


def _edge(number: int | None) -> str:
    return "" if number is None else str(number)


def _unexpected(found: str, word: str, *, again: bool) -> str:
    if again:
        return f"{found} after positions: give them once"
    meant = close_match(word, (*PLACES, "outside"))
    return f"{found} names no positions" + (f"; did you mean {meant!r}?" if meant else f": choose {', '.join(PLACES)}")
