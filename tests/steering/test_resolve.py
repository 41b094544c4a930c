"""From expressions to knobs of a model."""

from __future__ import annotations

import numpy as np
import pytest

from localprobe.engine import FloatArray
from localprobe.errors import UsageError, VectorError
from localprobe.fake import FakeEngine
from localprobe.model import Model
from localprobe.steering import resolve
from localprobe.steering.expression import Bound, Condition, Expression, TermExpression, TokenGate
from localprobe.steering.gates import PromptGate
from localprobe.steering.gates import TokenGate as Opens
from localprobe.steering.knob import Knob
from localprobe.steering.positions import Place
from localprobe.vectors.vector import Direction, Origin, Vector


@pytest.fixture(scope="module")
def model() -> Model:
    return Model(FakeEngine())


def made(seed: int, *, model: str = "fake", best: int | None = 2, layers: tuple[int, ...] = tuple(range(6))) -> Vector:
    random = np.random.default_rng(seed)
    directions = {b: Direction(3 * random.standard_normal(32).astype(np.float32)) for b in layers}
    return Vector(f"concept {seed}", Origin(model, width=32), directions, best)


KNOWN = {
    "calm": made(1),
    "kind": made(2),
    "foreign": made(3, model="other"),
    "whole": made(4, best=None, layers=(1, 3, 4)),
}


def find(name: str) -> Vector:
    if name not in KNOWN:
        raise VectorError(f"no vector {name!r}")
    return KNOWN[name]


def knobs(model: Model, text: str) -> list[Knob]:
    return model.steering(text, find=find)


def test_a_dose_becomes_the_alpha_of_the_vectors_own_layer(model: Model) -> None:
    (knob,) = knobs(model, "0.2 calm response")
    assert (knob.layer, knob.positions, knob.operator, knob.text) == (2, "response", "add", "0.2 calm response")
    assert knob.dose(model.scale) == pytest.approx(0.2)
    (same,) = model.knobs(KNOWN["calm"], dose=0.2, positions="response")
    assert same.alpha == knob.alpha


def test_one_dose_at_several_layers_is_an_alpha_for_each(model: Model) -> None:
    several = knobs(model, "0.2 calm @1,4")
    assert [knob.layer for knob in several] == [1, 4]
    assert [knob.dose(model.scale) for knob in several] == pytest.approx([0.2, 0.2])
    from_two = knobs(model, "alpha 3 calm @1,4 from 2")
    assert all(
        term.delta.tobytes() == from_two[0].terms(Place(4))[0].delta.tobytes() for term in from_two[1].terms(Place(4))
    )


def test_a_control_vector_without_a_best_layer_is_used_whole_by_alpha(model: Model) -> None:
    assert [knob.layer for knob in knobs(model, "alpha 1 whole")] == [1, 3, 4]
    with pytest.raises(UsageError, match=r'"0.2 whole": column 5: .*write it as @LAYER'):
        knobs(model, "0.2 whole")


def test_an_ablation_takes_the_best_direction_from_every_layer(model: Model) -> None:
    (knob,) = knobs(model, "ablate calm")
    terms = knob.terms(Place(4))
    assert [term.layer for term in terms] == list(range(6))
    unit = KNOWN["calm"].directions[2].vector
    for term in terms:
        assert term.coordinates is not None
        np.testing.assert_allclose(term.coordinates.basis[0], unit / np.linalg.norm(unit), rtol=1e-6)
    (own,) = knobs(model, "ablate 0.5 calm @3-4")
    assert [term.layer for term in own.terms(Place(4))] == [3, 4]
    bases = [term.coordinates.basis for term in own.terms(Place(4)) if term.coordinates is not None]
    assert not np.allclose(bases[0], bases[1])


def test_several_vectors_are_ablated_as_the_subspace_that_they_span(model: Model) -> None:
    (knob,) = knobs(model, "ablate calm, kind to 2 @2")
    (term,) = knob.terms(Place(4))
    h = np.random.default_rng(0).standard_normal((5, 32)).astype(np.float32)
    from localprobe.edits import edited

    after = edited(h, term)
    for name in ("calm", "kind"):
        unit = KNOWN[name].directions[2].vector
        np.testing.assert_allclose(after @ (unit / np.linalg.norm(unit)), 2, rtol=1e-4)


def test_mean_ablation_keeps_the_mean_over_neutral_texts(model: Model) -> None:
    from localprobe.capture.residuals import capture
    from localprobe.capture.scale import texts

    (knob,) = knobs(model, "ablate calm to mean")
    unit = KNOWN["calm"].directions[2].vector
    unit = unit / np.linalg.norm(unit)

    def means(steering: tuple[object, ...]) -> FloatArray:
        layers = range(model.info.layers)
        limit = model.info.context
        found = capture(model.engine, texts(), layers, "tokens", limit=limit, steering=steering)  # type: ignore[arg-type]
        scores = np.concatenate([captured.residuals[:, 1:] @ unit for captured in found], axis=1)
        return np.asarray(scores.mean(axis=1))

    np.testing.assert_allclose(means(knob.terms(Place(1))), means(()), rtol=0.01)
    gone = knobs(model, "ablate calm")[0].terms(Place(1))
    assert (np.abs(means(gone)) < 0.01 * np.abs(means(()))).all()


def test_caps_hold_scores_between_numbers(model: Model) -> None:
    (knob,) = knobs(model, "cap calm [-1, 2.5]")
    assert (knob.low, knob.high, knob.layer) == (-1, 2.5, 2)
    (term,) = knob.terms(Place(4))
    assert term.operator == "cap"
    assert [(k.low, k.high) for k in knobs(model, "set calm to 3 @0,5")] == [(3, 3), (3, 3)]
    assert knobs(model, "cap calm < 1")[0].low == float("-inf")


def test_conditions_become_gates(model: Model) -> None:
    (knob,) = knobs(model, "0.2 calm when kind@3 > 2 until 1 if kind < 0.5")
    opens, decided = knob.gates
    assert isinstance(opens, Opens) and isinstance(decided, PromptGate)
    assert (opens.opens, opens.closes, opens.above, opens.watch.layer) == (2, 1, True, 3)
    assert np.linalg.norm(opens.watch.vector) == pytest.approx(1)
    assert (decided.bound(10), decided.above, decided.watch.layer) == (0.5, False, 2)


def test_python_objects_say_the_same_as_text(model: Model) -> None:
    gate = TokenGate(Condition("kind", None, True, Bound(2.0)))
    expression = Expression((TermExpression("add", 0.2, "dose", ("calm",), gates=(gate,)),))
    by_objects, by_text = model.steering(expression, find=find), knobs(model, "0.2 calm when kind > 2")
    assert by_objects[0].text == by_text[0].text
    assert by_objects[0].alpha == by_text[0].alpha


def test_an_alarm_is_a_condition(model: Model) -> None:
    alarm = model.alarm("kind@4 > 1.5", find=find)
    assert (alarm.name, alarm.threshold, alarm.above, alarm.watch.layer) == ("kind@4 > 1.5", 1.5, True, 4)
    assert not model.alarm("kind < 0", find=find).above


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("0.2 calm; ablate gone", "column 18: no vector 'gone'"),
        ("0.2 calm when gone > 1", "column 15: no vector 'gone'"),
        ("0.2 calm when foreign > 1", "column 15: probe 'foreign' was made for other, not for fake"),
        ("0.2 calm if kind@9 > 1", "column 13: concept 2 has no direction at layer 9"),
        ("0.2 calm @7", "column 5: layer 7 is out of range: fake has layers 0 to 5"),
        ("alpha 1 whole @2", "column 9: vector 'whole' has no direction at layer 2, only at 1, 3, 4"),
        ("ablate calm @all from 6", "column 8: layer 6 is out of range"),
        ("ablate calm, calm", "'calm, calm' name one twice"),
    ],
)
def test_what_cannot_be_resolved_is_one_line_with_its_column(model: Model, text: str, complaint: str) -> None:
    with pytest.raises(UsageError) as error:
        knobs(model, text)
    assert complaint in str(error.value)
    assert "\n" not in str(error.value)


def test_vectors_that_are_parallel_span_no_subspace(model: Model) -> None:
    twice = dict(KNOWN) | {"again": KNOWN["calm"]}
    with pytest.raises(UsageError, match=r"column 14: .*lies in the span of the others"):
        resolve.knobs("ablate calm, again", model, lambda name: twice[name])


def test_a_vector_of_another_model_is_warned_of(model: Model) -> None:
    with pytest.warns(UserWarning, match="was made for other, not for fake"):
        knobs(model, "0.2 foreign")


def test_answers_take_expressions_and_alarms(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Model, "find", lambda self, name: find(name))
    plain = model.answer("Hello", tokens=12, temperature=1.0)
    gated = model.answer("Hello", steer="0.3 calm when kind > 1e9", tokens=12, temperature=1.0)
    assert gated.ids.tolist() == plain.ids.tolist()
    told = model.answer("Hello", steer="0.3 calm when kind > -1e9", tokens=12, temperature=1.0, alarms=["kind > -1e9"])
    assert [(gate.index, gate.open) for gate in told.gates] == [(1, True)]
    assert [alert.index for alert in told.alerts] == list(range(len(told)))
