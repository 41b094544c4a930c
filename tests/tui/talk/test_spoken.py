"""What is typed in the steering language, and a model that takes the place of another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from localprobe.errors import UsageError
from localprobe.fake import FakeEngine
from localprobe.model import Model
from localprobe.steering.gates import Alarm
from localprobe.vectors import files
from localprobe.vectors.vector import Origin
from localprobe_tui.engine.session import EngineSession
from localprobe_tui.talk import spoken
from localprobe_tui.talk.controller import ChatController
from localprobe_tui.talk.panel_knob import PanelKnob
from localprobe_tui.talk.running import Running
from tests.tui.conftest import made

pytestmark = pytest.mark.usefixtures("vector_file", "calm_file")


@pytest.fixture
def talk() -> Iterator[ChatController]:
    """A chat on the fake model."""
    session = EngineSession(remote=False)
    session.model, session.state = Model(FakeEngine()), "ready"
    yield ChatController(session, None)
    session.close()


def terms(talk: ChatController) -> list[str]:
    return [str(knob.term) for knob in talk.knobs]


def test_a_vector_that_the_app_has_loaded_can_be_named_though_the_library_has_none(talk: ChatController) -> None:
    talk.vectors.append(made("warmth", 5))
    spoken.steer(talk, "0.1 warmth; 0.2 calm")
    assert terms(talk) == ["0.1 warmth @2", "0.2 calm @2"]
    assert talk.knobs[0].vector is talk.vectors[0]


def test_an_edited_knob_keeps_its_place_its_switch_and_its_vector(talk: ChatController) -> None:
    spoken.steer(talk, "0.1 calm; 0.2 kindness")
    knob = talk.knobs[0]
    knob.on, vector = False, knob.vector
    spoken.steer(talk, "ablate calm @3; 0.3 calm", knob)
    assert terms(talk) == ["ablate calm @3", "0.3 calm @2", "0.2 kindness @2"]
    assert talk.knobs[0] is knob
    assert knob.vector is vector
    assert [each.on for each in talk.knobs] == [False, True, True]


def test_of_an_expression_with_a_mistake_nothing_is_added(talk: ChatController) -> None:
    with pytest.raises(UsageError, match=r"column 15: no vector 'envy'"):
        spoken.steer(talk, "0.1 calm; 0.2 envy")
    assert talk.knobs == []


def test_a_vector_of_another_model_is_warned_of(talk: ChatController, own_data: Path) -> None:
    foreign = replace(made("foreign", 6), origin=Origin("another"))
    files.save(foreign, own_data / "foreign.safetensors")

    (warning,) = spoken.steer(talk, f'0.1 "{own_data}/foreign.safetensors"')
    assert warning == "vector 'foreign' was made for another, not for fake: expect little of it"


def test_what_was_typed_is_looked_up_for_the_model_that_comes_next(talk: ChatController, own_data: Path) -> None:
    spoken.steer(talk, "ablate 0.5 calm first 5 when kindness > 1; 0.2 kindness")
    spoken.watch_for(talk, "calm > 2")
    talk.knobs[0].share = 0.7
    assert spoken.look_up_again(talk, Model(FakeEngine())) == []
    assert terms(talk) == ["ablate 0.7 calm first 5 when kindness > 1", "0.2 kindness @2"]
    for path in (own_data / "vectors").glob("*"):
        path.unlink()
    other = FakeEngine(name="other", seed=3)
    gone, also_gone, unwatched = spoken.look_up_again(talk, Model(other))
    assert "no vector 'calm': it is neither" in gone
    assert gone.endswith("It was removed from the panel.")
    assert "no vector 'kindness': it is neither" in also_gone
    assert unwatched.endswith("It is watched for no longer.")
    assert (talk.knobs, talk.alarms) == ([], [])


def test_names_in_an_expression_are_those_of_vectors_and_probes() -> None:
    assert spoken.names_in("0.1 warm when calm > 1; ablate a, b") == ["warm", "a", "b", "calm"]
    assert spoken.probes_in("calm@3 < 1") == ["calm"]


def test_a_turned_knob_keeps_the_probe_that_the_answer_reads_and_a_new_one_waits(talk: ChatController) -> None:
    spoken.steer(talk, "0.1 calm when kindness > 1")
    model, told = talk.session.free(), list[str]()
    running = Running(model, talk.knobs, ())
    talk.knobs[0].dose = 0.3
    (turned,) = running.turn(talk.knobs, told.append)
    assert turned.dose(model.scale) == pytest.approx(0.3)
    assert told == []
    spoken.steer(talk, "0.4 calm when calm > 1", talk.knobs[0])
    (kept,) = running.turn(talk.knobs, told.append)
    assert kept is turned
    assert told == ["this answer does not read the probe of 'when calm > 1'. The change waits for the next answer."]


def test_an_alarm_of_the_panel_is_one_of_the_decode_loop(talk: ChatController) -> None:
    spoken.steer(talk, "0.1 calm")
    spoken.watch_for(talk, "calm@3 < -2")
    alarm = talk.alarms[0].alarm(talk.session.free())
    assert isinstance(alarm, Alarm)
    assert (alarm.name, alarm.watch.layer, alarm.threshold, alarm.above) == ("calm@3 < -2", 3, -2.0, False)


def test_a_plain_vector_is_no_text_to_look_up(talk: ChatController) -> None:
    talk.knobs.append(PanelKnob.of(made("warmth", 5)))
    assert spoken.look_up_again(talk, Model(FakeEngine())) == []
    assert len(talk.knobs) == 1
