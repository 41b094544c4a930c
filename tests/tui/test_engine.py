"""What can go wrong with the engine, as a person meets it: every error is a message that can be read and dismissed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from textual.pilot import Pilot

from localprobe import discovery
from localprobe.chats.store import Chats
from localprobe.chats.turns import Chat, Turn
from localprobe.engines.spec import ModelSpec
from localprobe.errors import LocalprobeError
from localprobe_tui.app import LocalprobeApp
from localprobe_tui.chat.answer import AnswerView
from localprobe_tui.chat.screen import ChatScreen
from localprobe_tui.widgets.dialogs import Notice
from tests.children import children
from tests.remote import faulty
from tests.tui import slow
from tests.tui.conftest import Play
from tests.tui.waiting import dismiss, message, screen, wait_until

pytestmark = pytest.mark.slow


def test_what_the_engine_warns_of_is_shown(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "choose", lambda *_: faulty.warning)

    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        app.load_model(ModelSpec("fake"))
        await wait_until(pilot, lambda: "engine warns: this build" in screen(app))

    play(scene, remote=True, load=None)


def test_a_load_shows_its_stage_and_is_cancelled_by_a_key(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "choose", lambda *_: slow.endless)

    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        app.load_model(ModelSpec("fake"))
        await wait_until(pilot, lambda: "loading fake into tests.tui.slow:endless" in screen(app))
        await wait_until(pilot, lambda: "Cancel ^x" in screen(app))
        await wait_until(pilot, children)
        await pilot.press(*"hi", "enter")
        await wait_until(pilot, lambda: "The model is still loading." in screen(app))
        await pilot.press("ctrl+x")
        await wait_until(pilot, lambda: app.session.state == "empty")
        assert not children()
        await wait_until(pilot, lambda: "Loading fake was cancelled." in screen(app))
        await wait_until(pilot, lambda: "Cancel ^x" not in screen(app))

    play(scene, remote=True, load=None)


@pytest.mark.parametrize("size", [(120, 36), (80, 24)])
def test_an_error_is_a_dialog_with_the_line_of_the_command_line(play: Play, size: tuple[int, int]) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        app.load_model(ModelSpec("smolm2-135m"))
        await wait_until(pilot, lambda: isinstance(app.screen, Notice))
        await wait_until(pilot, lambda: "no model is named 'smolm2-135m'" in screen(app))
        await wait_until(pilot, lambda: "did you mean" in screen(app))
        await pilot.press("escape")
        await wait_until(pilot, lambda: isinstance(app.screen, ChatScreen))
        await pilot.press(*"hi", "enter")
        await wait_until(pilot, lambda: app.query(AnswerView) and not app.talk.answering)

    play(scene, size=size)


def test_a_message_too_long_for_the_model_is_told_and_the_chat_goes_on(play: Play) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        app.run_worker(app.talk.send("short"), exit_on_error=False)
        await wait_until(pilot, lambda: app.query(AnswerView) and not app.talk.answering)
        screen_ = app.screen
        assert isinstance(screen_, ChatScreen)
        screen_._run(app.talk.send("x" * 600))
        await wait_until(pilot, lambda: isinstance(app.screen, Notice))
        await wait_until(pilot, lambda: "and fake holds 512: shorten it" in screen(app).replace("\n", " "))
        await pilot.press("enter")
        assert [turn.role for turn in app.talk.chat.path()] == ["user", "assistant", "user"]
        assert app.session.busy is None
        await pilot.press(*"again", "enter")
        await wait_until(pilot, lambda: len(app.talk.chat.path()) == 4 and not app.talk.answering)
        assert [turn.content for turn in app.talk.chat.path() if turn.role == "user"] == ["short", "again"]

    play(scene)


@pytest.mark.usefixtures("slowly")
def test_a_child_killed_in_mid_answer_keeps_the_answer_and_offers_to_load_again(play: Play, own_data: Path) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await pilot.press(*"hi", "enter")
        await wait_until(pilot, lambda: app.talk.answering and len(app.talk.answering[0].pieces) > 5)
        turn = app.talk.answering[0]
        os.kill(children()[0].pid, signal.SIGKILL)
        await wait_until(pilot, lambda: isinstance(app.screen, Notice))
        await wait_until(pilot, lambda: "SIGKILL" in screen(app))
        await wait_until(pilot, lambda: "Load it again" in screen(app))
        said = turn.content
        [summary] = Chats(own_data / "chats.sqlite").find()
        assert Chats(own_data / "chats.sqlite").read(summary.id).path()[-1].content == said
        await pilot.press("enter")
        await wait_until(pilot, lambda: app.session.state == "ready")
        assert isinstance(app.screen, ChatScreen)
        await pilot.press("ctrl+t")
        await wait_until(pilot, lambda: len(turn.content) > len(said))
        assert turn.content.startswith(said)
        await pilot.press("ctrl+s")
        await wait_until(pilot, lambda: not app.talk.answering)

    play(scene, remote=True)


def test_a_child_killed_while_idle_is_noticed(play: Play) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        os.kill(children()[0].pid, signal.SIGKILL)
        await wait_until(pilot, lambda: "Load it again" in screen(app))
        assert "the engine died" in screen(app) or "died between calls" in screen(app)
        await dismiss(pilot)
        await pilot.press(*"hi", "enter")
        await wait_until(pilot, lambda: "Load it again" in screen(app))

    play(scene, remote=True)


def test_the_chat_is_locked_with_a_reason_while_the_model_works_for_another_screen(play: Play) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        with app.session.reserved("capturing for a probe"):
            await pilot.press(*"hi", "enter")
            await wait_until(pilot, lambda: "The model is busy capturing for a probe." in screen(app))
        assert app.talk.chat.turns == {}
        await pilot.press("enter")
        await wait_until(pilot, lambda: app.query(AnswerView))

    play(scene)


@pytest.mark.usefixtures("slowly")
def test_quitting_in_mid_answer_leaves_no_process_and_keeps_every_word(play: Play, own_data: Path) -> None:
    said: list[str] = []

    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await pilot.press(*"hi", "enter")
        await wait_until(pilot, lambda: app.talk.answering and len(app.talk.answering[0].pieces) > 5)
        await pilot.press("ctrl+q")
        said.append(next(turn for turn in app.talk.chat.turns.values() if turn.role == "assistant").content)

    play(scene, remote=True)
    assert not children()
    [summary] = Chats(own_data / "chats.sqlite").find()
    kept = Chats(own_data / "chats.sqlite").read(summary.id).path()[-1].content
    assert kept.startswith(said[0])


def test_chats_that_cannot_be_kept_are_told_of_and_the_app_works(play: Play, own_data: Path) -> None:
    own_data.mkdir(parents=True)
    (own_data / "chats.sqlite").write_text("no database, but long enough to be taken for one" * 20)

    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        told = await message(pilot)
        assert "file is not a database" in told
        assert "This session's chats will not be saved" in told
        await dismiss(pilot)
        await pilot.press(*"hi", "enter")
        await wait_until(pilot, lambda: app.query(AnswerView) and not app.talk.answering)

    play(scene)


@pytest.mark.usefixtures("slowly")
def test_a_disk_that_refuses_does_not_end_an_answer_and_what_was_said_is_written_when_it_can_be(
    play: Play, own_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Chats.write
    full = True

    def refusing(self: Chats, chat: Chat, *turns: Turn) -> None:
        if full:
            raise LocalprobeError("cannot write the chats: disk full")
        write(self, chat, *turns)

    monkeypatch.setattr(Chats, "write", refusing)

    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        nonlocal full
        await pilot.press(*"hi", "enter")
        await wait_until(pilot, lambda: "cannot write the chats: disk full. Trying again." in screen(app))
        assert app.talk.answering
        full = False
        await wait_until(pilot, lambda: app.talk.writer.trouble is None)
        await pilot.press("ctrl+s")
        await wait_until(pilot, lambda: not app.talk.answering)

    play(scene)
    chats = Chats(own_data / "chats.sqlite")
    assert [turn.role for turn in chats.read(chats.find()[0].id).path()] == ["user", "assistant"]
