"""What a steering expression holds, how it is written, and what is refused when it is made in Python."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from localprobe.errors import UsageError
from localprobe.steering.expression import Bound, Condition, Expression, PromptGate, TermExpression, TokenGate
from localprobe.steering.places import ALL, Layers, Positions

EMPATHY = TermExpression("add", 0.2, "dose", ("empathy",))


def test_the_smallest_term_is_a_dose_and_a_vector() -> None:
    assert str(Expression((EMPATHY,))) == "0.2 empathy"


def test_a_term_with_everything() -> None:
    term = TermExpression(
        "add",
        -20,
        "alpha",
        ("empathy",),
        keep_norm=True,
        layers=Layers((3, 9)),
        source=9,
        positions=Positions("first", stop=5, outside_thinking=True),
        tokens=20,
        gates=(
            PromptGate(Condition("harmful", 12, True, Bound(fpr=0.01))),
            TokenGate(Condition("calm", None, False, Bound(0.2)), Bound(0.6)),
        ),
    )
    assert str(term) == (
        "alpha -20 empathy keeping norm @3,9 from 9 first 5 outside thinking for 20 tokens "
        "if harmful@12 > fpr 0.01 when calm < 0.2 until 0.6"
    )


@pytest.mark.parametrize(
    ("term", "text"),
    [
        (TermExpression("ablate", 1, "share", ("refusal",)), "ablate refusal"),
        (TermExpression("ablate", 0.5, "share", ("a", "b"), target="mean", layers=ALL), "ablate 0.5 a, b to mean @all"),
        (TermExpression("ablate", 1, "share", ("a",), target=-2), "ablate a to -2"),
        (TermExpression("cap", 1, "share", ("a",), low=Bound(-1.5), high=Bound(fpr=0.05)), "cap a [-1.5, fpr 0.05]"),
        (TermExpression("cap", 1, "share", ("a",), low=Bound(1)), "cap a > 1"),
        (TermExpression("cap", 1, "share", ("a",), high=Bound(1)), "cap a < 1"),
        (TermExpression("cap", 1, "share", ("a",), low=Bound(2), high=Bound(2)), "set a to 2"),
        (
            TermExpression("cap", 1, "share", ("a",), low=Bound(fpr=0.1), high=Bound(fpr=0.1)),
            "cap a [fpr 0.1, fpr 0.1]",
        ),
        (TermExpression("add", np.float32(0.5), "dose", ("my vector",)), '0.5 "my vector"'),
        (TermExpression("add", 1, "dose", ("when",)), '1 "when"'),
        (TermExpression("add", 1, "dose", ("a@0b.safetensors",)), '1 "a@0b.safetensors"'),
        (TermExpression("add", -0.0, "dose", ("a",)), "0 a"),
    ],
)
def test_the_text_of_an_action(term: TermExpression, text: str) -> None:
    assert str(term) == text


def test_terms_are_equal_wherever_they_stand_in_a_text() -> None:
    elsewhere = TermExpression("add", 0.2, "dose", ("empathy",), column=7, vector_columns=(11,))
    assert elsewhere == EMPATHY
    assert hash(elsewhere) == hash(EMPATHY)
    assert Expression((elsewhere,), "0.1 x; 0.2 empathy") == Expression((EMPATHY,))


def added(**changes: object) -> TermExpression:
    return TermExpression(**{"operator": "add", "strength": 1, "unit": "dose", "vectors": ("a",), **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: added(strength=math.nan), "strength nan is no finite number"),
        (lambda: added(strength="1"), "strength '1' is no finite number"),
        (lambda: added(strength=True), "strength True is no finite number"),
        (lambda: added(unit="share"), "'add' takes 'dose' or 'alpha'; 'ablate' takes 'share'"),
        (lambda: added(operator="subtract"), "operator 'subtract' with unit 'dose'"),
        (
            lambda: added(operator="ablate", unit="share", strength=1.5),
            "the share 1.5 to ablate is not between 0 and 1",
        ),
        (lambda: added(operator="ablate", unit="share", vectors=("a", "a")), "vectors 'a, a' name one twice"),
        (lambda: added(operator="ablate", unit="share", keep_norm=True), "only a vector that is added"),
        (lambda: added(operator="ablate", unit="share", target=math.inf), "target inf is no finite number"),
        (lambda: added(operator="cap", unit="share"), "a cap has a bound"),
        (lambda: added(operator="cap", unit="share", strength=0.5, low=Bound(1)), "a cap has the strength 1, not 0.5"),
        (lambda: added(operator="cap", unit="share", low=Bound(2), high=Bound(1)), "no score is from 2 to 1"),
        (
            lambda: added(operator="cap", unit="share", low=Bound(fpr=0.01), high=Bound(fpr=0.1)),
            "a higher fpr is a lower bound",
        ),
        (lambda: added(low=Bound(1)), "nothing else has one"),
        (lambda: added(target="mean"), r"only 'ablate' has a target \(mean\)"),
        (lambda: added(vectors=("a", "b")), "only 'ablate' takes several vectors"),
        (lambda: added(vectors=()), "a term has at least one vector"),
        (lambda: added(vectors="empathy"), "vectors 'empathy' is of type str: give a tuple"),
        (lambda: added(layers=[18]), r"layers \[18\] is of type list: give a Layers"),
        (lambda: added(positions="response"), "positions 'response' is of type str: give a Positions"),
        (lambda: added(gates=[]), "of type list: give a tuple"),
        (lambda: Expression([EMPATHY]), "of type list: give a tuple"),  # type: ignore[arg-type]
        (lambda: added(vectors=(" ",)), "vector ' ' is empty"),
        (lambda: added(vectors=("\udc80",)), "half of a surrogate pair"),
        (lambda: added(source=3), "'from' needs the layers"),
        (lambda: added(source=-1, layers=ALL), "the layer after 'from' is -1: give a whole number from 0 to 999"),
        (lambda: added(tokens=0), "the number of tokens is 0: give a whole number from 1"),
        (Bound, "either a number or an fpr"),
        (lambda: Bound(1, 0.5), "either a number or an fpr"),
        (lambda: Bound(math.inf), "bound inf is no finite number"),
        (lambda: Bound(fpr=1), "fpr 1 is not between 0 and 1"),
        (lambda: Condition("", None, True, Bound(1)), "probe '' is empty"),
        (lambda: Condition("a", 1000, True, Bound(1)), "layer is 1000: give a whole number from 0 to 999"),
        (lambda: TokenGate(Condition("a", None, True, Bound(1)), Bound(2)), "'until 2' is above '> 1'"),
        (lambda: TokenGate(Condition("a", None, False, Bound(1)), Bound(0)), "'until 0' is below '< 1'"),
        (lambda: TokenGate(Condition("a", None, True, Bound(fpr=0.1)), Bound(fpr=0.01)), "'until fpr 0.01' is above"),
        (lambda: Expression(()), "at least one term"),
    ],
)
def test_what_cannot_be_is_refused(make: Callable[[], object], said: str) -> None:
    with pytest.raises(UsageError, match=said) as raised:
        make()
    assert len(str(raised.value).splitlines()) == 1


def test_a_number_and_an_fpr_are_compared_only_once_the_probe_is_calibrated() -> None:
    assert not Bound(5).above(Bound(fpr=0.01))
    assert not Bound(fpr=0.01).above(Bound(5))
