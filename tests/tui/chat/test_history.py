"""Answering again, editing, branching, and finding chats of another day."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from textual.pilot import Pilot

from localprobe.chats.store import Chats
from localprobe.terminal_text import visible
from localprobe_tui.app import LocalprobeApp
from localprobe_tui.chat.answer import AnswerView
from localprobe_tui.chat.chat_list import ChatList
from localprobe_tui.chat.prompt import PromptBox
from localprobe_tui.chat.screen import ChatScreen
from tests.tui.conftest import Play
from tests.tui.waiting import screen, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("vector_file")]


async def say(app: LocalprobeApp, pilot: Pilot[None], text: str) -> None:
    before = len(app.talk.chat.turns)
    await pilot.press(*text, "enter")
    await wait_until(pilot, lambda: len(app.talk.chat.turns) >= before + 2 and not app.talk.answering)


def test_an_answer_again_stands_beside_the_old_one_and_both_can_be_had_back(play: Play) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await say(app, pilot, "hi")
        first = app.talk.chat.path()[-1]
        await pilot.press("ctrl+r")
        await wait_until(pilot, lambda: len(app.talk.chat.turns) == 3 and not app.talk.answering)
        second = app.talk.chat.path()[-1]
        assert second.content != first.content
        assert second.parent == first.parent
        await wait_until(pilot, lambda: "2 of 2" in screen(app))
        await pilot.press("alt+left")
        await wait_until(pilot, lambda: "1 of 2" in screen(app))
        assert app.query_one(AnswerView).turn is first

    play(scene)


def test_another_dose_answers_with_the_same_random_numbers(play: Play) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await say(app, pilot, "hi")
        app.talk.knobs[0].dose = 0.2
        await app.talk.regenerate()
        app.talk.knobs[0].dose = 0.0
        await app.talk.regenerate()
        plain, steered, again = app.talk.chat.siblings(app.talk.chat.path()[-1])
        assert plain.details["key"] == steered.details["key"] == "seed 0"
        assert again.details["key"] == "seed 0 again 1"
        assert again.content != plain.content

    play(scene)


def test_the_last_message_is_edited_in_the_prompt_and_the_old_one_stays(play: Play) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await say(app, pilot, "hi")
        await pilot.press("up")
        await wait_until(pilot, lambda: app.query_one(PromptBox).text == "hi")
        await say(app, pilot, "gh")
        assert app.talk.chat.path()[0].content == "high"
        await wait_until(pilot, lambda: "high   ◂ 2 of 2 ▸" in screen(app))
        await say(app, pilot, "so")
        assert [turn.role for turn in app.talk.chat.path()] == ["user", "assistant"] * 2

    play(scene)


def test_an_answer_that_was_cut_is_continued(play: Play) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        app.talk.sampling = type(app.talk.sampling)(tokens=6, temperature=0)
        await say(app, pilot, "hi")
        answer = app.talk.chat.path()[-1]
        await wait_until(pilot, lambda: "6 tokens, at the limit" in screen(app))
        assert len(answer.pieces) == 6
        await pilot.press("ctrl+t")
        await wait_until(pilot, lambda: len(answer.pieces) == 12 and not app.talk.answering)
        assert len(answer.scores) == 12
        assert not any(score != score for score in answer.scores)
        app.talk.new()
        app.talk.sampling = type(app.talk.sampling)(tokens=12, temperature=0)
        await say(app, pilot, "hi")
        assert app.talk.chat.path()[-1].content == answer.content

    play(scene)


def test_a_chat_is_found_by_what_was_said_opened_and_gone_on_with(play: Play, own_data: Path) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await say(app, pilot, "about doors")
        first = app.talk.chat
        await pilot.press("ctrl+n")
        await say(app, pilot, "about mazes")
        await pilot.press("ctrl+o")
        await wait_until(pilot, lambda: isinstance(app.screen, ChatList))
        await wait_until(pilot, lambda: "about doors" in screen(app) and "about mazes" in screen(app))
        await pilot.press(*"door")
        await wait_until(pilot, lambda: "about mazes" not in app.screen.query_one("OptionList").render_line(0).text)
        await pilot.press("enter")
        await wait_until(pilot, lambda: app.talk.chat.id == first.id)
        await wait_until(pilot, lambda: visible(first.path()[-1].content[:20]) in screen(app))
        await say(app, pilot, "go on")
        assert len(app.talk.chat.path()) == 4

    play(scene)
    found = {each.title: each.turns for each in Chats(own_data / "chats.sqlite").find()}
    assert found == {"about doors": 4, "about mazes": 2}


def test_a_chat_is_deleted_only_after_a_question(play: Play, own_data: Path) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await say(app, pilot, "about doors")
        await pilot.press("ctrl+n", "ctrl+o")
        await wait_until(pilot, lambda: isinstance(app.screen, ChatList))
        await pilot.press("ctrl+d")
        await wait_until(pilot, lambda: "Delete this chat for good?" in screen(app))
        await pilot.press("tab", "enter")
        await wait_until(pilot, lambda: "No chat holds these words." in screen(app))
        await pilot.press("escape")

    play(scene)
    assert Chats(own_data / "chats.sqlite").find() == []


def test_a_branch_leaves_the_chat_that_it_came_from(play: Play, own_data: Path) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await say(app, pilot, "hi")
        assert isinstance(app.screen, ChatScreen)
        app.screen.action_branch()
        await say(app, pilot, "more")

    play(scene)
    found = {each.title: each.turns for each in Chats(own_data / "chats.sqlite").find()}
    assert found == {"hi": 2, "hi (branch)": 4}


def test_a_chat_is_exported_to_read_and_to_work_with(play: Play, tmp_path: Path) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        app.talk.knobs[0].dose, app.talk.split = 0.2, True
        await say(app, pilot, "hi there")
        assert isinstance(app.screen, ChatScreen)
        app.screen.action_export("md")
        app.screen.action_export("jsonl")
        await wait_until(pilot, lambda: "Written to" in screen(app))

    play(scene)
    text = next(tmp_path.glob("hi-there-*.md")).read_text()
    assert "## You\n\nhi there" in text
    assert "## kindness +0.20 @2 (probe " in text
    assert "### Beside it: unsteered (probe " in text
    head, asked, steered, plain = map(json.loads, next(tmp_path.glob("hi-there-*.jsonl")).read_text().splitlines())
    assert head["model"] == "fake"
    assert asked["content"] == "hi there"
    assert "".join(piece for piece, _ in steered["tokens"]) == steered["content"]
    assert all(isinstance(score, float) for _, score in steered["tokens"])
    assert steered["parts"][0]["knobs"][0]["dose"] == pytest.approx(0.2)
    assert (steered["kept"], plain["kept"]) == (True, False)
    assert plain["parts"][0]["knobs"] == []


def test_an_answer_is_copied(play: Play) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await say(app, pilot, "hi")
        await pilot.press("ctrl+y")
        assert app.clipboard == app.talk.chat.path()[-1].content

    play(scene)
