"""Whatever a key does, the mouse does too, and neither takes the keys from whoever is typing."""

from __future__ import annotations

import pytest
from textual.events import MouseScrollDown, MouseScrollUp
from textual.pilot import Pilot
from textual.widgets import DataTable

from localprobe import discovery
from localprobe.engines.spec import ModelSpec
from localprobe_tui.app import LocalprobeApp
from localprobe_tui.chat.prompt import PromptBox
from localprobe_tui.chat.screen import ChatScreen
from localprobe_tui.chat.transcript import Transcript
from localprobe_tui.runs.screen import RunsScreen
from localprobe_tui.widgets.slider import Slider
from tests.tui import slow
from tests.tui.conftest import Play
from tests.tui.waiting import screen, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("vector_file")]


async def click(app: LocalprobeApp, pilot: Pilot[None], words: str) -> None:
    """Click on words, once they are there."""
    await wait_until(pilot, lambda: words in screen(app), words)
    lines = screen(app).split("\n")
    row = next(number for number, line in enumerate(lines) if words in line)
    await pilot.click(offset=(lines[row].index(words) + len(words) // 2, row))


def test_no_line_of_the_panel_that_can_be_clicked_moves_once_it_is_drawn(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    clicked = ("+ add a vector", "a turn applies to", "temp 0.7", "system none", "split view", "+ watch for")
    choose = discovery.choose

    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        def rows() -> list[int]:
            lines = screen(app).split("\n")
            return [next(row for row, line in enumerate(lines) if words in line) for words in clicked]

        drawn = rows()
        monkeypatch.setattr(discovery, "choose", lambda *_: slow.endless)
        app.load_model(ModelSpec("fake"))
        await wait_until(pilot, lambda: "Cancel ^x" in screen(app))
        assert rows() == drawn
        await pilot.press("ctrl+x")
        await wait_until(pilot, lambda: "Cancel ^x" not in screen(app))
        monkeypatch.setattr(discovery, "choose", choose)
        app.load_model(ModelSpec("fake"))
        await wait_until(pilot, lambda: "kindness  layer 2" in screen(app))
        assert rows() == drawn
        await pilot.press("ctrl+b", "right_square_bracket", *"hi", "enter")
        await wait_until(pilot, lambda: app.talk.chat.turns and not app.talk.answering)
        await wait_until(pilot, lambda: "that was added" in screen(app))
        assert rows() == drawn

    play(scene, load=None, remote=True)


def test_screens_and_the_palette_are_clicked_in_the_top_bar(play: Play) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await click(app, pilot, "F3 Runs")
        await wait_until(pilot, lambda: isinstance(app.screen, RunsScreen))
        await click(app, pilot, "^p All")
        await wait_until(pilot, lambda: "Search for commands" in screen(app))

    play(scene)


def test_a_dose_is_set_while_the_prompt_keeps_the_keys(play: Play) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await wait_until(pilot, lambda: app.query(Slider) and app.query_one(Slider).size.width)
        slider = app.query_one(Slider)
        await pilot.click(slider, offset=(slider.size.width - 10, 0))
        await wait_until(pilot, lambda: app.talk.knobs[0].dose > 0.1)
        await click(app, pilot, "Say something below")
        await pilot.press(*"do it")
        assert app.query_one(PromptBox).text == "do it"
        assert app.talk.knobs[0].on

    play(scene)


def test_a_message_is_sent_and_one_of_two_answers_chosen_by_mouse(play: Play) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await pilot.press(*"hi")
        await pilot.click("#mark", offset=(1, 0))
        await wait_until(pilot, lambda: len(app.talk.chat.path()) == 2 and not app.talk.answering)
        await click(app, pilot, "^r Again")
        await click(app, pilot, "2 of 2")  # only the arrows are links
        await click(app, pilot, " ◂ ")
        await wait_until(pilot, lambda: "1 of 2" in screen(app))
        await click(app, pilot, " ▸ ")
        await wait_until(pilot, lambda: "2 of 2" in screen(app))

    play(scene)


@pytest.mark.parametrize(
    ("opening", "there"), [("? Keys", "Other keys"), ("^o Chats", "search titles"), ("temp 0.7", "top-k")]
)
def test_sheets_are_closed_by_mouse(play: Play, opening: str, there: str) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await click(app, pilot, opening)
        await wait_until(pilot, lambda: there in screen(app))
        await click(app, pilot, "esc closes")
        await wait_until(pilot, lambda: isinstance(app.screen, ChatScreen))

    play(scene)


def test_links_and_rows_are_clicked_without_colour_too(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await click(app, pilot, "a turn applies to the")
        await wait_until(pilot, lambda: "next answer" in screen(app))
        await click(app, pilot, "F4 Models")
        await click(app, pilot, "phi-3-mini")
        await wait_until(pilot, lambda: app.screen.query_one(DataTable).cursor_row == 3)

    play(scene)


def test_the_focus_of_a_field_can_be_told_without_colour(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await pilot.press("f2")
        await wait_until(pilot, lambda: "mean-difference" in screen(app))
        app.screen.query_one("#method").focus()
        await wait_until(pilot, lambda: "mean-difference" in _reversed(app))

    play(scene)


def _reversed(app: LocalprobeApp) -> str:
    segments = [segment for strip in app.screen._compositor.render_strips() for segment in strip]
    return "".join(segment.text for segment in segments if segment.style and segment.style.reverse)


def test_the_wheel_scrolls_a_long_chat(play: Play) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        for word in ("one", "two", "three", "four"):
            await pilot.press(*word, "enter")
            await wait_until(pilot, lambda: app.talk.chat.turns and not app.talk.answering)
        transcript = app.query_one(Transcript)
        await wait_until(pilot, lambda: transcript.max_scroll_y > 3)
        await wait_until(pilot, lambda: transcript.scroll_y == transcript.max_scroll_y)
        for _ in range(30):
            await pilot._post_mouse_events([MouseScrollUp], transcript, button=0)
        await wait_until(pilot, lambda: transcript.scroll_y == 0)
        await wait_until(pilot, lambda: "one" in screen(app))
        for _ in range(60):
            await pilot._post_mouse_events([MouseScrollDown], transcript, button=0)
        await wait_until(pilot, lambda: transcript.scroll_y == transcript.max_scroll_y)
        await wait_until(pilot, lambda: "four" in screen(app))

    play(scene, size=(120, 20))
