"""A chat over HTTP: turns, two answers side by side, knobs turned in mid-answer, and the end of a chat."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import localprobe as lp
from localprobe.chat_template import Message
from localprobe.client.model import RemoteModel
from localprobe.engine import Sampler
from localprobe.generation.events import Event, Finished, Token
from localprobe.model import Model
from localprobe.steering.knob import SteeredBy
from localprobe.vectors.vector import Vector
from tests.client.test_failures import slow
from tests.serve.server import serving

GREEDY = Sampler(temperature=0)


@pytest.fixture
def slowly(library: Vector) -> Iterator[RemoteModel]:
    """A model that takes its time, and whose answers do not end by themselves."""
    with serving(load=slow) as server, lp.connect(server.url) as model:
        yield model


def test_turns_are_those_of_a_chat_here(remote: RemoteModel, local: Model) -> None:
    over_http, here = remote.conversation("Be brief."), local.conversation("Be brief.")
    for text in ("Hello", "And you?"):
        for talk in (over_http, here):
            list(talk.say(text, sampler=GREEDY, tokens=10))
        assert over_http.messages == here.messages
        assert over_http.prompt == here.prompt
    list(over_http.regenerate(sampler=Sampler(), key="seed 3", tokens=10))
    list(here.regenerate(sampler=Sampler(), key="seed 3", tokens=10))
    assert over_http.messages == here.messages


def test_two_answers_side_by_side(remote: RemoteModel, local: Model) -> None:
    talk, knobs = remote.conversation(), remote.steering("0.8 warm")
    for text in ("Hello", "More"):
        talk.messages.append(asked(text))
        events = [
            event for step in talk.reply(SteeredBy(tuple(knobs)), beside=True, tokens=8, key="seed 0") for event in step
        ]
        assert {event.row for event in events} == {0, 1}
        assert sum(isinstance(event, Finished) for event in events) == 2
        assert talk.messages[-1].content == talk.answers[0] != talk.answers[1]
    talk.take(1)
    assert talk.messages[-1].content == talk.answers[1]
    assert talk.answers[1] != ""


def test_knobs_that_are_turned_act_from_the_token_that_is_told(slowly: RemoteModel) -> None:
    talk, told = slowly.conversation(), list[str]()
    talk.messages.append(asked("Hello"))
    plain = slowly.answer("Hello", temperature=0, tokens=40).ids.tolist()
    steps, ids, turned = talk.reply(sampler=GREEDY, tokens=40), list[int](), None
    for events in steps:
        ids += [event.id for event in events if isinstance(event, Token)]
        if turned is None and len(ids) == 5:
            turned = talk.turn(slowly.steering("3 warm"), told.append)
    assert turned is not None
    assert not told
    first, knobs = turned
    assert knobs[0].text == "3 warm"
    assert 5 <= first < 40
    assert ids[:first] == plain[:first]
    assert ids[first:] != plain[first:]
    assert talk.turn(slowly.steering("3 warm"), told.append) is None
    assert "it may have ended" in told[0]


def test_a_stopped_answer_keeps_its_text_and_the_server_ends_it(slowly: RemoteModel) -> None:
    talk, events = slowly.conversation(), list[Event]()
    talk.messages.append(asked("Hello"))
    for step in talk.reply(tokens=290):
        events += step
        if sum(isinstance(event, Token) for event in events) >= 5:
            events += talk.stop()
    assert [event.reason for event in events if isinstance(event, Finished)] == ["stopped"]
    assert talk.messages[-1].content


def test_what_a_server_does_not_do_is_said(remote: RemoteModel) -> None:
    talk = remote.conversation()
    with pytest.raises(lp.UsageError, match="by knobs, not by terms"):
        list(talk.say("Hello", lambda place: ()))
    with pytest.raises(lp.UsageError, match="continues no answer"):
        list(talk.go_on())


def asked(text: str) -> Message:
    return Message("user", text)
