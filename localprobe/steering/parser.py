"""From the text of a steering expression to its parts, by recursive descent.

expression := term { (";" | "+" | newline) term }
term       := action { clause }
action     := NUMBER vector ["keeping" "norm"]
            | "alpha" NUMBER vector ["keeping" "norm"]
            | "ablate" [NUMBER] vector {"," vector} ["to" ("mean" | NUMBER)]
            | "cap" vector ("[" bound "," bound "]" | "<" bound | ">" bound)
            | "set" vector "to" NUMBER
clause     := "@" layers ["from" INT] | positions | "outside" "thinking" | "for" INT "tokens"
            | "if" condition | "when" condition ["until" bound]
layers     := INT {"," INT} | INT "-" INT | "all"
positions  := "all" | "prompt" | "response" | "first" INT | "last" INT | "positions" [INT] ":" [INT] | "on" QUOTED
condition  := probe ["@" INT] (">" | "<") bound
bound      := NUMBER | "fpr" ["="] NUMBER
"""

from __future__ import annotations

from dataclasses import replace

from localprobe.steering.expression import (
    Bound,
    Condition,
    Expression,
    Gate,
    PromptGate,
    TermExpression,
    TokenGate,
    Unit,
)
from localprobe.steering.lexer import ACTIONS, CLAUSES, NO_NUMBER, PLACES, RESERVED, Token, Tokens
from localprobe.steering.places import (
    EVERYWHERE,
    MOST_LAYERS,
    OWN,
    check_whole,
    read_layers,
    read_outside,
    read_place,
    with_thinking,
)
from localprobe.suggest import close_match

_STARTS = "write a number and a vector (0.2 empathy), or alpha, ablate, cap or set"
USUAL_FPR = 0.01
"""The false-positive rate of a probe that is watched without a bound."""
_SEPARATE = "write + or ; or a new line before the next term"


def parse(text: str) -> Expression:
    """The expression of a text. UsageError in one line, with the column, for what is none."""
    tokens = Tokens(text)
    terms = []
    while not _at_end(tokens):
        terms.append(_term(tokens))
    if not terms:
        raise tokens.error(0, f"no term: {_STARTS}")
    return Expression(tuple(terms), text)


def parse_watch(text: str) -> Condition:
    """A condition alone, as `--watch` takes it: `calm > fpr 0.01`, `calm@12 < 0.5`; a probe alone is at fpr 0.01.

    UsageError in one line, with the column, for what is none.
    """
    tokens = Tokens(text)
    condition = _condition(tokens, "watch", Bound(fpr=USUAL_FPR))
    if tokens.next.kind != "end":
        tokens.fail(f"{tokens.next} after the condition: give one condition")
    return condition


def _at_end(tokens: Tokens) -> bool:
    """Take what stands between two terms (blank lines too, and at most one `+`), and say whether nothing follows."""
    plus = False
    while sign := tokens.takes(";", "\n", *(() if plus else "+")):
        plus = plus or sign == "+"
    if plus and tokens.next.kind == "end":
        tokens.fail(f"a term is missing after '+': {_STARTS}")
    return tokens.next.kind == "end"


def _term(tokens: Tokens) -> TermExpression:
    action = _action(tokens)
    clauses = _Clauses(tokens)
    while not (tokens.next.kind in ("end", "newline") or tokens.next.text in (";", "+")):
        clauses.read()
    return clauses.of(action)


def _action(tokens: Tokens) -> TermExpression:
    token = tokens.next
    if token.kind == "number" or token.text == "-":
        return _added(tokens, "dose", token.column)
    if token.kind != "word" or token.text not in ACTIONS:
        tokens.fail(_about_start(token))
    tokens.take()
    match token.text:
        case "alpha":
            return _added(tokens, "alpha", token.column)
        case "ablate":
            return _ablated(tokens, token.column)
        case "cap":
            return _capped(tokens, token.column)
    return _held(tokens, token.column)


def _added(tokens: Tokens, unit: Unit, column: int) -> TermExpression:
    strength = tokens.number("after 'alpha'" if unit == "alpha" else "as the dose")
    name_column = tokens.next.column
    vector = tokens.name("a vector after the number")
    keep_norm = bool(tokens.takes("keeping"))
    if keep_norm:
        tokens.expect("norm", "after 'keeping'")
    return TermExpression("add", strength, unit, (vector,), keep_norm, column=column, vector_columns=(name_column,))


def _ablated(tokens: Tokens, column: int) -> TermExpression:
    share_column, share = tokens.next.column, 1.0
    if tokens.next.kind == "number" or tokens.next.text in ("+", "-"):
        share = tokens.number("as the share to ablate")
    columns = [tokens.next.column]
    vectors = [tokens.name("a vector after 'ablate'")]
    while tokens.takes(","):
        columns.append(tokens.next.column)
        vectors.append(tokens.name("a vector after ','"))
    target: float | str = 0.0
    if tokens.takes("to"):
        target = tokens.takes("mean") or tokens.number("or 'mean' after 'to'")

    def make() -> TermExpression:
        return TermExpression(
            "ablate",
            share,
            "share",
            tuple(vectors),
            target="mean" if isinstance(target, str) else target,
            column=column,
            vector_columns=tuple(columns),
        )

    return tokens.built(share_column, make)


def _capped(tokens: Tokens, column: int) -> TermExpression:
    name_column = tokens.next.column
    vector = tokens.name("a vector after 'cap'")
    bounds_column = tokens.next.column
    low: Bound | None = None
    high: Bound | None = None
    match tokens.takes("[", "<", ">"):
        case "[":
            low = _bound(tokens)
            tokens.expect(",", "between the bounds, as in [-1, 2]")
            high = _bound(tokens)
            tokens.expect("]", "after the bounds")
        case "<":
            high = _bound(tokens)
        case ">":
            low = _bound(tokens)
        case _:
            tokens.fail(f"expected the bounds after the vector, as in [-1, 2] or < 2 or > -1, not {tokens.next}")
    return tokens.built(bounds_column, lambda: _cap(vector, low, high, column, name_column))


def _held(tokens: Tokens, column: int) -> TermExpression:
    name_column = tokens.next.column
    vector = tokens.name("a vector after 'set'")
    tokens.expect("to", "after the vector of 'set'")
    bound = Bound(tokens.number("after 'to'"))
    return _cap(vector, bound, bound, column, name_column)


def _cap(vector: str, low: Bound | None, high: Bound | None, column: int, name_column: int) -> TermExpression:
    return TermExpression(
        "cap", 1.0, "share", (vector,), low=low, high=high, column=column, vector_columns=(name_column,)
    )


def _bound(tokens: Tokens) -> Bound:
    if not tokens.takes("fpr"):
        return Bound(tokens.number("or fpr as a bound"))
    tokens.takes("=")
    return tokens.built(tokens.next.column, Bound, None, tokens.number("after 'fpr'"))


def _condition(tokens: Tokens, word: str, usual: Bound | None = None) -> Condition:
    """A probe and its bound; above the `usual` one where nothing but the probe is written."""
    column = tokens.next.column
    probe = tokens.name(f"a probe after {word!r}")
    layer = None
    if tokens.takes("@"):
        layer_column, layer = tokens.next.column, tokens.whole("after '@' (a layer)")
        tokens.built(layer_column, check_whole, "layer", layer, 0, MOST_LAYERS - 1)
    sign = tokens.takes(">", "<")
    if not sign and usual and tokens.next.kind == "end":
        return Condition(probe, layer, True, usual, column)
    if not sign:
        tokens.fail(f"expected > or < after the probe, as in {word} calm > 1, not {tokens.next}")
    return Condition(probe, layer, sign == ">", _bound(tokens), column)


class _Clauses:
    """The clauses of one term, in any order; each but the gates at most once."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._seen: set[str] = set()
        self._layers = OWN
        self._source: int | None = None
        self._positions = EVERYWHERE
        self._count: int | None = None
        self._gates: list[Gate] = []

    def of(self, action: TermExpression) -> TermExpression:
        """The action with these clauses."""
        if not self._seen and not self._gates:
            return action
        return replace(
            action,
            layers=self._layers,
            source=self._source,
            positions=with_thinking(self._positions, "outside thinking" in self._seen),
            tokens=self._count,
            gates=tuple(self._gates),
        )

    def read(self) -> None:
        """Read one clause; UsageError if what is next begins none."""
        token = self._tokens.next
        if token.kind == "word" and token.text in PLACES:
            self._once("positions")
            self._positions = read_place(self._tokens)
            return
        match token.text:
            case "@":
                self._once("'@'")
                self._read_layers()
            case "outside":
                self._once("outside thinking")
                read_outside(self._tokens)
            case "for":
                self._once("'for'")
                self._read_count()
            case "if":
                self._tokens.take()
                self._gates.append(PromptGate(_condition(self._tokens, "if")))
            case "when":
                self._tokens.take()
                self._gates.append(self._token_gate())
            case _:
                self._tokens.fail(_about_clause(token))

    def _once(self, what: str) -> None:
        if what in self._seen:
            self._tokens.fail(f"{self._tokens.next} gives {what} a second time in this term")
        self._seen.add(what)

    def _read_layers(self) -> None:
        self._tokens.take()
        self._layers = read_layers(self._tokens)
        if self._tokens.takes("from"):
            column, self._source = self._tokens.next.column, self._tokens.whole("after 'from' (a layer)")
            self._tokens.built(column, check_whole, "layer", self._source, 0, MOST_LAYERS - 1)

    def _read_count(self) -> None:
        self._tokens.take()
        column, self._count = self._tokens.next.column, self._tokens.whole("after 'for' (of tokens)")
        self._tokens.built(column, check_whole, "the number of tokens", self._count, 1)
        self._tokens.expect("tokens", "after the number, as in for 20 tokens")

    def _token_gate(self) -> TokenGate:
        condition = _condition(self._tokens, "when")
        column = self._tokens.next.column
        until = _bound(self._tokens) if self._tokens.takes("until") else None
        return self._tokens.built(column, TokenGate, condition, until)


def _about_start(token: Token) -> str:
    """Why no term begins with this token."""
    if token.kind == "word":
        meant = close_match(token.text, ACTIONS)
        if token.text in CLAUSES:
            return f"{token} is a clause, and a clause follows a term: {_STARTS}"
        if token.text.lower() in NO_NUMBER:
            return f"{token} is no finite number: {_STARTS}"
        return f"{token} begins no term" + (f"; did you mean {meant!r}?" if meant else f": {_STARTS}")
    return f"expected a term, not {token}: {_STARTS}"


def _about_clause(token: Token) -> str:
    """Why no clause begins with this token."""
    if reason := _MARKS.get(token.text):
        return f"{token} {reason}"
    if token.kind == "number" or token.text in ACTIONS:
        return f"expected a clause or the next term, not {token}: {_SEPARATE}"
    if token.text in RESERVED:
        return f"{token} does not belong here: {_PLACE.get(token.text, _CHOICES)}"
    meant = close_match(token.text, [*CLAUSES, *_PLACE]) if token.kind == "word" else None
    return f"{token} is no clause" + (f"; did you mean {meant!r}?" if meant else f": {_CHOICES}")


_CHOICES = f"choose @, {', '.join(CLAUSES)}; or {_SEPARATE}"
_PLACE = {
    "keeping": "'keeping norm' comes right after the vector that is added",
    "to": "'to' comes right after the vectors of ablate, or the vector of set",
    "from": "'from' comes right after the layers, as in @0-29 from 18",
    "until": "'until' comes right after the condition of when",
}
_COMPARES = "compares a probe: write when or if before the probe's name"
_MARKS = {
    "-": "begins no clause: to subtract, add a negative number, as in 0.3 warm + -0.1 formality",
    "<": _COMPARES,
    ">": _COMPARES,
    ",": "is not expected here: only ablate takes several vectors, before its other parts",
}
