"""How an answer was steered, in words: its knobs, and the marks in its text where gates turned and probes fired."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby
from typing import TYPE_CHECKING

from localprobe.errors import LocalprobeError
from localprobe.steering.parser import parse

if TYPE_CHECKING:
    from localprobe.chats.turns import AlertRecord, KnobRecord, Turn
    from localprobe.steering.expression import TermExpression


def in_words(knobs: Sequence[KnobRecord]) -> str:
    """Knobs in words: `empathy +0.22 @19, formality -0.10 @14`, `anger alpha +1.50 @3-20`, or `unsteered`. Those that
    do more than add are in the steering language: `ablate refusal`."""
    words = []
    for (steering, concept, alpha), group in groupby(knobs, _kind):
        same = list(group)
        first = same[0]
        if steering:
            words.append(steering)
        elif len(same) > 1:
            words.append(f"{concept} alpha {alpha:+.2f} @{first.layer}-{same[-1].layer}")
        else:
            words.append(f"{concept} {first.dose:+.2f} @{first.layer}")
    return ", ".join(words) or "unsteered"


def state(gate: str, turn: Turn | None, going: bool) -> str:
    """A gate of the last answer in a word or two: whether it is open while the answer is `going`, then how it was."""
    changes = [change for change in turn.gates if change.gate == gate] if turn else []
    if going:
        return "● open" if changes and changes[-1].open else "○ closed"
    if gate.startswith("if "):
        return ("was open" if changes[-1].open else "was closed") if changes else ""
    opened = sum(change.open for change in changes)
    return f"opened {_count(opened, 'time')}" if opened else ""


def turned(turn: Turn) -> dict[int, list[str]]:
    """Token -> the gates that turned before it, in words. A gate that is the only one is named the first time."""
    marks: dict[int, list[str]] = {}
    changes = turn.gates
    alone = len({change.gate for change in changes}) == 1
    for number, change in enumerate(changes):
        state = "open" if change.open else "closed"
        name = f"{change.gate.removeprefix('when ')}: "
        marks.setdefault(change.token, []).append(state if alone and number else name + state)
    return marks


def alarm_lines(turn: Turn) -> list[str]:
    """What was watched for and fired, one line per probe: `refusal > 2.31 fired at 3 tokens, first at 12 (+2.90)`.
    Tokens are counted from 1."""
    fired: dict[str, list[AlertRecord]] = {}
    for alert in turn.alerts:
        fired.setdefault(alert.probe, []).append(alert)
    return [
        f"{probe} fired at {_count(len(alerts), 'token')}, first at {alerts[0].token + 1} ({alerts[0].score:+.2f})"
        for probe, alerts in fired.items()
    ]


def conditional(knobs: Sequence[KnobRecord]) -> bool:
    """Whether some of them add at some tokens only, or keep the norm: what they add to a score is not known for all
    tokens."""
    return any(term.operator == "add" and _sometimes(term) for knob in knobs for term in _terms(knob.steering))


def _kind(knob: KnobRecord) -> tuple[str, str, float]:
    return ("", knob.concept, knob.alpha) if _only_adds(knob.steering) else (knob.steering, "", 0.0)


def _only_adds(steering: str) -> bool:
    """Whether a term is told whole by its vector, its strength and its layer."""
    terms = _terms(steering)
    return not steering or any(
        term.operator == "add" and not (_sometimes(term) or term.layers.every or len(term.layers.indices) > 1)
        for term in terms
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number != 1 else ''}"


def _sometimes(term: TermExpression) -> bool:
    return bool(term.keep_norm or term.gates or term.tokens)


@lru_cache(maxsize=256)  # an answer that grows is drawn 30 times a second
def _terms(steering: str) -> tuple[TermExpression, ...]:
    """The term of a text; none for a text that another program wrote."""
    try:
        return parse(steering).terms if steering else ()
    except LocalprobeError:
        return ()
