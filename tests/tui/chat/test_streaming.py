"""Talking to the model: what is said comes word by word, can be stopped, and is kept."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.pilot import Pilot

from localprobe.chats.store import Chats
from localprobe.generation.decode import Decoding
from localprobe.generation.events import Event
from localprobe_tui.app import LocalprobeApp
from localprobe_tui.chat.answer import AnswerView
from tests.tui.conftest import Play
from tests.tui.waiting import screen, wait_until

pytestmark = pytest.mark.slow


async def say(pilot: Pilot[None], text: str) -> None:
    """Type a message and send it."""
    await pilot.press(*text, "enter")


@pytest.mark.usefixtures("slowly")
def test_an_answer_comes_token_by_token_and_says_how_fast(play: Play) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await say(pilot, "hi")
        await wait_until(pilot, lambda: app.query(AnswerView))
        answer = app.query_one(AnswerView)
        await wait_until(pilot, lambda: len(answer.turn.pieces) > 3)
        seen = answer.turn.content
        await wait_until(pilot, lambda: seen in screen(app).replace("▌", ""))
        assert app.talk.answering
        await wait_until(pilot, lambda: len(answer.turn.content) > len(seen) + 5)
        await wait_until(pilot, lambda: "tok/s" in screen(app))
        await wait_until(pilot, lambda: "first" in screen(app))
        await wait_until(pilot, lambda: "/512" in screen(app))
        await pilot.press("ctrl+s")

    play(scene)


@pytest.mark.usefixtures("slowly")
def test_stop_takes_effect_within_two_tokens_and_keeps_what_was_said(
    play: Play, own_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[int] = []  # tokens of the engine, of which the screen shows the last ones some moments later
    step = Decoding.step

    def counted(decoding: Decoding) -> list[Event]:
        computed.append(1)
        return step(decoding)

    monkeypatch.setattr(Decoding, "step", counted)

    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await wait_until(pilot, lambda: app.session.state == "ready")
        computed.clear()  # of the canary's own decoding
        await say(pilot, "hi")
        await wait_until(pilot, lambda: app.talk.answering and len(app.talk.answering[0].pieces) > 5)
        turn = app.talk.answering[0]
        before = len(computed)
        app.talk.stop()
        await wait_until(pilot, lambda: not app.talk.answering)
        assert before <= len(turn.pieces) == len(computed) <= before + 2
        assert turn.reason == "stopped"
        await wait_until(pilot, lambda: "stopped" in screen(app))
        assert not any(score != score for score in turn.scores) or turn.reading is None

    play(scene)
    kept = Chats(own_data / "chats.sqlite")
    [summary] = kept.find("hi")
    assert [turn.role for turn in kept.read(summary.id).path()] == ["user", "assistant"]


def test_what_was_said_before_is_not_drawn_anew(play: Play) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await say(pilot, "one")
        await wait_until(pilot, lambda: app.query(AnswerView) and not app.talk.answering)
        first = app.query_one(AnswerView)
        await say(pilot, "two")
        await wait_until(pilot, lambda: len(app.query(AnswerView)) == 2 and not app.talk.answering)
        assert app.query(AnswerView).first() is first
        await pilot.press("ctrl+r")
        await wait_until(pilot, lambda: "2 of 2" in screen(app))
        assert app.query(AnswerView).first() is first
        await pilot.press("ctrl+n")
        await wait_until(pilot, lambda: not app.query(AnswerView) and "Say something below" in screen(app))

    play(scene)
