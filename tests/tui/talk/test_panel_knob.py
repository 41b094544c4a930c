"""A knob of the panel as a term of the steering language: what its keys turn, the term then says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from localprobe.errors import UsageError
from localprobe.fake import FakeEngine
from localprobe.model import Model
from localprobe.steering.parser import parse
from localprobe.vectors.vector import Vector
from localprobe_tui.talk.panel_knob import PanelKnob
from localprobe_tui.talk.spoken import knob_of
from tests.tui.conftest import made


@pytest.fixture
def model() -> Model:
    return Model(FakeEngine())


def said(text: str, model: Model) -> PanelKnob:
    (term,) = parse(text).terms
    return knob_of(term, text, model, lambda name: made(name, len(name)))


@pytest.mark.parametrize(
    ("typed", "is_now"),
    [
        ("0.2 kindness", "0.2 kindness @2"),
        ("-0.4 kindness keeping norm @3 response", "-0.4 kindness keeping norm @3 response"),
        ("0.2 kindness @1,3", "0.2 kindness @1,3"),
        ("0.2 kindness @0-3 from 2 first 5", "0.2 kindness @0-3 from 2 first 5"),
        ("ablate kindness", "ablate kindness"),
        ("ablate 0.5 kindness, calm to 1.5 @3", "ablate 0.5 kindness, calm to 1.5 @3"),
        ("cap kindness [-1, 2] last 4", "cap kindness [-1, 2] @2 last 4"),
        ("set kindness to 2", "set kindness to 2 @2"),
        ("0.2 kindness for 20 tokens when calm > 1 until 0.5", "0.2 kindness @2 for 20 tokens when calm > 1 until 0.5"),
    ],
)
def test_a_knob_says_what_was_typed_with_its_layer(typed: str, is_now: str, model: Model) -> None:
    knob = said(typed, model)
    assert str(knob.term) == is_now
    assert [each.text for each in knob.engine_knobs(model)] == [is_now] * len(knob.engine_knobs(model))


def test_an_alpha_of_one_layer_becomes_a_dose(model: Model) -> None:
    knob = said("alpha 3 kindness @2", model)
    assert (knob.unit, knob.alpha(model)) == ("dose", pytest.approx(3.0))
    (turned,) = knob.engine_knobs(model)
    assert turned.alpha == pytest.approx(3.0, rel=1e-6)


def test_the_key_of_the_operator_ablates_then_keeps_the_norm_and_keeps_both_strengths(
    kindness: Vector, model: Model
) -> None:
    knob = PanelKnob(kindness, 2, 0.3)
    terms = []
    for _ in range(4):
        terms.append(str(knob.term))
        knob.next_operator()
    assert terms == ["0.3 kindness @2", "ablate kindness", "0.3 kindness keeping norm @2", "0.3 kindness @2"]
    assert [each.operator for each in knob.engine_knobs(model)] == ["ablate"]
    assert knob.engine_knobs(model)[0].layers == tuple(range(model.info.layers))


def test_an_ablation_along_another_layer_says_from_where(kindness: Vector) -> None:
    knob = PanelKnob(kindness, 2, operator="ablate")
    knob.move(4)
    assert str(knob.term) == "ablate kindness @all from 4"


def test_a_share_is_turned_between_0_and_1(kindness: Vector) -> None:
    knob = PanelKnob(kindness, 2, operator="ablate")
    knob.turn(0.05)
    assert knob.share == 1.0
    knob.turn(-0.05)
    assert knob.share == 0.95
    for _ in range(30):
        knob.turn(-0.05)
    assert knob.share == 0.0
    assert not knob.steers


def test_a_cap_has_nothing_to_turn_and_no_other_operator(model: Model) -> None:
    knob = said("cap kindness < 2", model)
    knob.turn(0.05)
    assert (knob.steers, knob.bounds) == (True, "< 2")
    with pytest.raises(UsageError, match="'cap' has bounds instead of a strength"):
        knob.next_operator()


def test_only_an_addition_has_a_usable_range(kindness: Vector) -> None:
    knob = PanelKnob(kindness, 2, 0.5)
    assert knob.warning()
    knob.next_operator()
    assert (knob.range(), knob.warning(), knob.about()) == ("", "", "100% of the component is removed")
    knob.next_operator()
    assert (knob.range(), knob.warning()) == ("", "")


def test_a_vector_whose_name_the_language_cannot_write_still_steers(kindness: Vector, model: Model) -> None:
    (knob,) = PanelKnob(replace(kindness, concept=" "), 2, 0.2).engine_knobs(model)
    assert knob.dose(model.scale) == pytest.approx(0.2)


def test_an_engine_that_cannot_ablate_is_told_in_one_line(kindness: Vector) -> None:
    engine = FakeEngine()
    able = replace(engine.info.capabilities, operators=("add",))
    engine.info = replace(engine.info, capabilities=able)
    with pytest.raises(UsageError, match=r"^fake cannot ablate, only add: use another engine \(F4\)$"):
        PanelKnob(kindness, 2, operator="ablate").engine_knobs(Model(engine))
