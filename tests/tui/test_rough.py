"""Rough use: tiny windows, keys at the wrong moment, torn files, two apps at once. Nothing of it closes the app."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from textual.events import Paste
from textual.pilot import Pilot

from localprobe import discovery
from localprobe.chats.store import Chats
from localprobe.engines.spec import ModelSpec
from localprobe_tui.app import LocalprobeApp
from localprobe_tui.chat.answer import AnswerView
from localprobe_tui.chat.prompt import PromptBox
from localprobe_tui.chat.screen import ChatScreen
from tests.children import children
from tests.tui import slow
from tests.tui.conftest import Play
from tests.tui.waiting import message, screen, wait_until

pytestmark = pytest.mark.slow


@pytest.mark.usefixtures("slowly", "vector_file")
def test_a_window_of_40_by_10_and_back_while_an_answer_comes(play: Play) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await pilot.press("ctrl+b", *"hi", "enter")
        await wait_until(pilot, lambda: app.query(AnswerView))
        for width, height in ((40, 10), (20, 5), (1, 1), (40, 10)):
            await pilot.resize_terminal(width, height)
            await pilot.pause(0.1)
        assert all(len(line) <= 40 for line in screen(app).splitlines())
        await wait_until(pilot, lambda: "> " in screen(app))
        await pilot.resize_terminal(120, 36)
        await wait_until(pilot, lambda: "dose +0.00" in screen(app) and "tokens" in screen(app))
        await pilot.press("escape")
        await wait_until(pilot, lambda: not app.talk.answering)

    play(scene)


@pytest.mark.usefixtures("slowly")
def test_ctrl_c_in_mid_answer_says_how_to_quit_and_the_answer_goes_on(play: Play) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await pilot.press(*"hi", "enter")
        await wait_until(pilot, lambda: app.talk.answering and app.talk.answering[0].pieces)
        await pilot.press("ctrl+c")
        await pilot.pause(0.1)
        assert app.is_running
        assert app.talk.answering
        await pilot.press("escape")
        await wait_until(pilot, lambda: not app.talk.answering)

    play(scene)


def test_quitting_does_not_wait_for_a_load_and_leaves_no_process(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "choose", lambda *_: slow.endless)

    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        app.load_model(ModelSpec("fake"))
        await wait_until(pilot, children)
        await pilot.press("ctrl+q")

    play(scene, load=None, remote=True)
    assert not children()


def test_an_empty_message_is_none(play: Play) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await pilot.press("enter", "space", "enter", "shift+enter", "enter")
        await pilot.pause(0.1)
        assert not app.talk.chat.turns

    play(scene)


def test_a_pasted_text_beyond_the_context_is_told_and_can_be_edited(play: Play) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        app.query_one(PromptBox).post_message(Paste("many words " * 20_000))
        await wait_until(pilot, lambda: len(app.query_one(PromptBox).text) > 200_000)
        await pilot.press("enter")
        assert "shorten it" in await message(pilot)
        await pilot.press("escape")
        await wait_until(pilot, lambda: isinstance(app.screen, ChatScreen))
        await pilot.press(*"hi", "enter")
        await wait_until(pilot, lambda: [turn.content for turn in app.talk.chat.path()][:1] == ["hi"])
        await wait_until(pilot, lambda: not app.talk.answering)

    play(scene)


def test_a_torn_model_file_is_told_and_the_old_model_stays(play: Play, tmp_path: Path) -> None:
    torn = tmp_path / "torn.gguf"
    torn.write_bytes(b"GGUF\x03\x00\x00\x00")

    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        app.load_model(ModelSpec(str(torn)))
        assert "torn.gguf" in await message(pilot)
        await pilot.press("escape")
        assert app.session.state == "ready"

    play(scene)


def test_a_torn_vector_file_is_told(play: Play, tmp_path: Path) -> None:
    (tmp_path / "torn.safetensors").write_bytes(b"\xff" * 40)

    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        assert isinstance(app.screen, ChatScreen)
        app.screen.action_add_vector()
        await wait_until(pilot, lambda: "torn.safetensors" in screen(app))
        await pilot.press("enter")
        assert "torn.safetensors" in await message(pilot)

    play(scene)


def test_two_apps_write_their_chats_into_one_file(play: Play, own_data: Path) -> None:
    other = Chats(own_data / "chats.sqlite")

    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await pilot.press(*"first", "enter")
        await wait_until(pilot, lambda: app.talk.chat.turns and not app.talk.answering)
        other.delete(app.talk.chat.id)  # by the other one
        await pilot.press(*"more", "enter")
        await wait_until(pilot, lambda: len(app.talk.chat.turns) == 4 and not app.talk.answering)

    play(scene)
    [kept] = other.find()
    assert [turn.content for turn in other.read(kept.id).path()][::2] == ["first", "more"]


def test_chats_of_a_newer_version_are_left_alone_and_told_of(play: Play, own_data: Path) -> None:
    Chats(own_data / "chats.sqlite")
    with sqlite3.connect(own_data / "chats.sqlite") as database:
        database.execute("PRAGMA user_version = 99")

    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        assert "written by a newer localprobe" in await message(pilot)
        await pilot.press("escape")
        await pilot.press(*"hi", "enter")
        await wait_until(pilot, lambda: app.query(AnswerView) and not app.talk.answering)

    play(scene)


@pytest.mark.usefixtures("slowly")
def test_a_chat_whose_turn_is_missing_can_still_be_opened(play: Play, own_data: Path) -> None:
    """A file that another program meddled with."""

    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await pilot.press(*"hi", "enter")
        await wait_until(pilot, lambda: app.talk.answering and app.talk.answering[0].pieces)
        await pilot.press("escape")
        await wait_until(pilot, lambda: not app.talk.answering)
        chat = app.talk.chat
        with sqlite3.connect(own_data / "chats.sqlite") as database:
            database.execute("DELETE FROM turn WHERE role = 'user'")
        await pilot.press("ctrl+n", "ctrl+o")
        await wait_until(pilot, lambda: "search titles and messages" in screen(app))
        await pilot.press("enter")
        await wait_until(pilot, lambda: app.talk.chat.id == chat.id)
        assert len(app.talk.chat.path()) == 1
        await wait_until(pilot, lambda: "tokens, stopped" in screen(app))

    play(scene)
