"""The model as users know it."""

from __future__ import annotations

import numpy as np
import pytest

from localprobe.engine import LoadOptions, Sampler, Watch
from localprobe.errors import CanaryFailed, UnknownEngine, UsageError
from localprobe.fake import FakeEngine, backend
from localprobe.generation.decode import Request
from localprobe.model import Model
from localprobe.steering.knob import Knob
from localprobe.steering.positions import Place
from localprobe.vectors.vector import Direction, Origin, Vector


def test_a_model_is_loaded_by_name_and_checked() -> None:
    with Model.load("fake", "fake") as model:
        assert model.info.engine == "fake"
        assert model.pooled(["Hello", "there"], [1]).shape == (2, 1, model.info.width)


def test_a_model_can_live_in_a_child_process() -> None:
    with Model.load("fake", "fake", remote=True) as remote, Model.load("fake", "fake") as local:
        np.testing.assert_array_equal(remote.pooled(["Hello"], [2]), local.pooled(["Hello"], [2]))


def test_a_model_that_fails_its_canary_is_refused_and_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = FakeEngine(fault="decode unsteered", seed=21)
    closed = []
    monkeypatch.setattr(broken, "close", lambda: closed.append(True))
    monkeypatch.setattr(type(backend), "load", lambda self, weights, options: broken)
    with pytest.raises(CanaryFailed):
        Model.load("fake", "fake")
    assert closed == [True]


def test_an_unknown_engine_lists_the_known_ones() -> None:
    with pytest.raises(UnknownEngine, match=r"'vllm'.*llama, mlx, torch"):
        Model.load("fake", "vllm")


def test_options_reach_the_engine() -> None:
    with Model.load("fake", "fake", LoadOptions(context=64)) as model:
        assert model.info.context == 64


def test_layers_may_be_counted_from_the_end(engine: FakeEngine) -> None:
    model = Model(engine)
    assert model.layers([0, -1]) == [0, 5]
    assert model.layers() == [0, 1, 2, 3, 4, 5]
    with pytest.raises(UsageError, match="layer -7 is out of range: fake has layers 0 to 5"):
        model.layers([-7])


def test_a_prompt_goes_through_the_template_unless_raw(engine: FakeEngine) -> None:
    model = Model(engine)
    assert engine.decode(model.ids("Hi", system="Be kind.")) == "system\nBe kind.\nuser\nHi\nassistant\n"
    assert engine.decode(model.ids("Hi", raw=True)) == "Hi"
    with pytest.raises(UsageError, match="the prompt is empty"):
        model.ids(" ")


def test_a_prompt_that_leaves_no_room_for_an_answer_is_refused_as_it_is_encoded() -> None:
    model = Model(FakeEngine(context=20))
    assert len(model.ids("x" * 18, raw=True)) == 19
    with pytest.raises(UsageError, match="the prompt has 20 tokens, and fake holds 20: shorten it"):
        model.ids("x" * 19, raw=True)


def test_a_model_and_a_capture_are_shown_in_one_line(engine: FakeEngine) -> None:
    assert repr(Model(engine)) == "<Model fake on fake: 6 layers of width 32, float32, cpu>"
    (captured,) = Model(engine).capture(["Hello"], [1, 3])
    assert repr(captured) == "<Captured text 0: 6 tokens, residuals (2, 32)>"


def test_scores_are_projections_of_every_token(engine: FakeEngine) -> None:
    v = np.random.default_rng(0).standard_normal(engine.info.width).astype(np.float32)
    ids = engine.encode("Hello")
    scores = Model(engine).scores(ids, Watch(3, v))
    captured = next(Model(engine).capture(["Hello"], [3], "tokens")).residuals[0]
    np.testing.assert_allclose(scores, captured @ v, rtol=1e-5)


def kindness(engine: FakeEngine, scale: float = 0.0) -> Vector:
    low, high = np.random.default_rng(3).standard_normal((2, engine.info.width)).astype(np.float32)
    return Vector("kindness", Origin("fake"), {2: Direction(low, scale=scale), 4: Direction(high, scale=scale)}, 2)


def test_an_answer_is_steered_and_its_tokens_scored_by_the_steered_direction(engine: FakeEngine) -> None:
    model, vector = Model(engine), kindness(engine)
    answer = model.answer("Hello", steer=vector, dose=0.3, tokens=8)
    plain = model.answer("Hello", tokens=8)
    assert answer.text != plain.text
    knob = model.knob(vector, dose=0.3)
    ids = np.array([*model.ids("Hello"), *answer.ids], dtype=np.int32)
    v = vector.directions[2].vector
    captured = model.scores(ids, Watch(2, v / np.linalg.norm(v)), knob.terms(Place(len(model.ids("Hello")))))
    np.testing.assert_allclose(answer.scores, captured[-len(answer) :], rtol=1e-4)
    assert np.isnan(plain.scores).all()
    assert len(plain.scores) == len(plain.ids)


def test_a_knob_or_several_steer_as_the_vector_that_they_are_of(engine: FakeEngine) -> None:
    model, vector = Model(engine), kindness(engine)
    by_vector = model.answer("Hello", steer=vector, alpha=2.0, layer=4, tokens=8)
    knob = Knob(vector, 4, 2.0)
    assert model.answer("Hello", steer=knob, tokens=8).text == by_vector.text
    both = model.answer("Hello", steer=[knob, Knob(vector, 2, 3.0)], tokens=8)
    assert both.text != by_vector.text


def test_an_answer_can_be_scored_by_another_direction(engine: FakeEngine) -> None:
    model, vector = Model(engine), kindness(engine)
    v = vector.directions[4].vector
    only = Vector("other", Origin("fake"), {4: vector.directions[4]}, 4)
    by_vector = model.answer("Hello", steer=vector, alpha=2.0, watch=only, tokens=8)
    by_watch = model.answer("Hello", steer=vector, alpha=2.0, watch=Watch(4, v), tokens=8)
    np.testing.assert_allclose(by_watch.scores, by_vector.scores * np.linalg.norm(v), rtol=1e-4)


def test_many_answers_are_what_each_alone_is_and_a_prompt_again_draws_others(engine: FakeEngine) -> None:
    model, vector = Model(engine), kindness(engine)
    request = model.request("Three", key="a key of its own", tokens=8)
    first, other, again, asked = model.answers(["One", "Two", "One", request], steer=vector, alpha=1.0, tokens=8)
    assert first.text == model.answer("One", steer=vector, alpha=1.0, tokens=8).text
    assert other.text == model.answer("Two", steer=vector, alpha=1.0, tokens=8).text
    assert again.text != first.text
    assert asked.text == model.answers([request])[0].text


def test_the_seed_and_the_sampler_say_what_is_drawn(engine: FakeEngine) -> None:
    model = Model(engine)
    texts = [model.answer("Hello", seed=seed, tokens=8).text for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]
    greedy = model.answer("Hello", temperature=0, tokens=8)
    assert greedy.text == model.answer("Hello", sampler=Sampler(temperature=0), seed=5, tokens=8).text


def test_a_strength_without_a_vector_is_refused(engine: FakeEngine) -> None:
    with pytest.raises(UsageError, match="`dose`, `alpha` and `layer` are for a vector"):
        Model(engine).answer("Hello", dose=0.2)
    with pytest.raises(UsageError, match="give one strength"):
        Model(engine).answer("Hello", steer=kindness(engine))


def test_a_prompt_is_refused_before_the_scale_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine(context=20, seed=31)
    monkeypatch.setattr("localprobe.capture.scale.residual_scale", lambda engine: pytest.fail("the scale was measured"))
    with pytest.raises(UsageError, match="shorten it"):
        Model(engine).answer("x" * 30, steer=kindness(engine), dose=0.2)


def test_a_vector_of_another_model_or_scale_is_warned_of(engine: FakeEngine) -> None:
    model = Model(engine)
    foreign = Vector("x", Origin("qwen"), {2: kindness(engine, scale=1e6).directions[2]}, 2)
    with pytest.warns(UserWarning) as warned:
        model.answer("Hello", steer=foreign, dose=0.1, tokens=2)
    lines = [str(each.message) for each in warned]
    assert len(lines) == 2
    assert "made for qwen, not for fake" in lines[0]
    assert "records 1e+06: doses here are of the model's own length" in lines[1]


def test_requests_are_generated_as_they_stand(engine: FakeEngine) -> None:
    ids = engine.encode("Hello")
    short, long = Model(engine).answers([Request(ids, tokens=3), Request(ids, tokens=6)], seed=5, tokens=100)
    assert short.ids.tolist() == long.ids.tolist()[:3]
    assert len(long) == 6


@pytest.mark.parametrize("steer", [5, True, ["0.2 kindness"], b"0.2 kindness", {"a": 1}, [None], np.zeros(3)])
def test_what_steers_nothing_is_refused_in_one_line(engine: FakeEngine, steer: object) -> None:
    with pytest.raises(UsageError, match=r"^`steer` is .*: give a steering expression, a vector, .*$"):
        Model(engine).answer("Hello", steer=steer)  # type: ignore[arg-type]


def test_numbers_and_texts_of_another_type_are_refused_in_one_line(engine: FakeEngine) -> None:
    model, vector = Model(engine), kindness(engine)
    with pytest.raises(UsageError, match=r"^strength '0\.2' is of type str: give a number$"):
        model.answer("Hello", steer=vector, dose="0.2")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"^5 is of type int: give a text of the steering language$"):
        model.answer("Hello", steer=vector, dose=0.2, positions=5)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"^None is of type NoneType: "):
        model.steering(None)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"^5 is of type int: "):
        model.answer("Hello", alarms=[5])  # type: ignore[list-item]


def test_one_alarm_needs_no_list(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model(engine)
    monkeypatch.setattr(model, "find", lambda name: kindness(engine))
    alone = model.answer("Hello", alarms="kindness > -100", tokens=4)
    assert len(alone.alerts) == 4
    assert alone.alerts == model.answer("Hello", alarms=["kindness > -100"], tokens=4).alerts
