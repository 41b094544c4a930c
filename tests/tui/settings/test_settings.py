"""Small terminals, keys of one's own, themes, sampling, the system prompt, and everything in the palette."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Button, Input, TextArea

from localprobe.errors import DataError
from localprobe_tui.app import LocalprobeApp
from localprobe_tui.chat.answer import AnswerView
from localprobe_tui.chat.prompt import PromptBox
from localprobe_tui.chat.screen import ChatScreen
from localprobe_tui.knobs.line import KnobLine
from localprobe_tui.knobs.sampling_sheet import SamplingSheet
from localprobe_tui.knobs.sheet import KnobsSheet
from localprobe_tui.settings import config
from localprobe_tui.settings.keys_sheet import KeysSheet
from localprobe_tui.widgets.sheets import TextSheet
from localprobe_tui.widgets.slider import Slider
from tests.tui.conftest import Play
from tests.tui.waiting import screen, wait_until

pytestmark = pytest.mark.slow


@pytest.mark.usefixtures("vector_file")
def test_at_80_by_24_the_knobs_are_one_line_and_a_key_opens_them(play: Play) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await wait_until(pilot, lambda: "kindness +0.00 @2" in screen(app))
        assert "-0.5 ─" not in screen(app)
        await pilot.press("right_square_bracket")
        await wait_until(pilot, lambda: "kindness +0.05 @2 (alpha" in screen(app))
        await pilot.press("ctrl+k")
        await wait_until(pilot, lambda: isinstance(app.screen, KnobsSheet) and app.screen.query(Slider))
        await wait_until(pilot, lambda: "-0.5 ─" in screen(app))
        app.screen.query_one(Slider).focus()
        await pilot.press("right")
        await pilot.press("escape")
        await wait_until(pilot, lambda: "kindness +0.06 @2 (alpha" in screen(app))
        await pilot.press(*"hi", "enter")
        await wait_until(pilot, lambda: app.query(AnswerView) and not app.talk.answering)
        lines = screen(app).splitlines()
        assert len(lines) == 24
        assert all(len(line) <= 80 for line in lines)
        assert app.query_one(PromptBox).region.bottom <= 23

    play(scene, size=(80, 24))


@pytest.mark.usefixtures("vector_file")
def test_a_terminal_that_becomes_wide_shows_the_panel(play: Play) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        assert app.query_one(KnobLine).display
        await pilot.resize_terminal(120, 36)
        await wait_until(pilot, lambda: "-0.5 ─" in screen(app))
        assert not app.query_one(KnobLine).display

    play(scene, size=(80, 24))


def test_keys_are_listed_with_their_ids_and_can_be_others(play: Play, own_data: Path) -> None:
    own_data.mkdir(parents=True)
    (own_data / "config.toml").write_text('theme = "localprobe-light"\n[keys]\n"chat.split" = "ctrl+f"\n')

    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        assert app.theme == "localprobe-light"
        await pilot.press("ctrl+f")
        assert app.talk.split
        await pilot.press("question_mark")
        await wait_until(pilot, lambda: isinstance(app.screen, KeysSheet))
        await wait_until(pilot, lambda: "chat.split" in screen(app))
        line = next(line for line in screen(app).splitlines() if "chat.split" in line)
        assert "^f" in line
        await wait_until(pilot, lambda: "config.toml" in screen(app))
        await pilot.press("escape")
        await wait_until(pilot, lambda: isinstance(app.screen, ChatScreen))

    play(scene)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[keys]\n"chat.stpo" = "x"', "there is no id 'chat.stpo'"),
        ('theme = "beige"', "theme: 'beige'"),
        ("colour = 1", "unknown key 'colour'"),
        ("theme = ", "is not TOML"),
        ("[keys]\nx = 1", "is not a table of lines"),
    ],
)
def test_a_config_file_that_is_wrong_is_told_in_words(play: Play, own_data: Path, text: str, told: str) -> None:
    own_data.mkdir(parents=True)
    (own_data / "config.toml").write_text(text)

    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await wait_until(pilot, lambda: told.rsplit(maxsplit=1)[-1] in screen(app))
        await pilot.press("escape")
        await wait_until(pilot, lambda: isinstance(app.screen, ChatScreen))

    play(scene, load=None)


@pytest.mark.usefixtures("vector_file")
def test_no_color_leaves_no_colour_and_no_grey_and_marks_stay(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        assert app.no_color
        await pilot.press(*"hi", "enter")
        await wait_until(pilot, lambda: app.query(AnswerView) and not app.talk.answering)
        await pilot.pause(0.2)
        segments = [segment for strip in app.screen._compositor.render_strips() for segment in strip]
        styles = [segment.style for segment in segments if segment.style]
        assert not [style for style in styles if style.color or style.bgcolor]
        assert [style for style in styles if style.underline or style.italic]  # scores
        await pilot.press("ctrl+p")
        await wait_until(pilot, lambda: "Search for commands" in screen(app))
        await pilot.press(*"split")
        await wait_until(pilot, lambda: "Split view" in screen(app))
        await pilot.pause(0.3)
        marked = [s for strip in app.screen._compositor.render_strips() for s in strip if s.style and s.style.reverse]
        assert " view" in "".join(segment.text for segment in marked)  # what was typed of it is underlined

    play(scene)


def test_a_theme_is_not_written_into_a_file_that_is_no_text(own_data: Path) -> None:
    own_data.mkdir(parents=True, exist_ok=True)
    (own_data / "config.toml").write_bytes(b"# caf\xe9\n")
    with pytest.raises(DataError, match=r"config\.toml, line 1: byte 0xe9 is not UTF-8"):
        config.keep_theme("localprobe-light")
    assert (own_data / "config.toml").read_bytes() == b"# caf\xe9\n"


def test_a_theme_that_is_chosen_is_there_the_next_time(play: Play, own_data: Path) -> None:
    own_data.mkdir(parents=True)
    (own_data / "config.toml").write_text('[keys]\n"chat.split" = "ctrl+f"\n')

    async def choose(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        app.theme = "localprobe-contrast"
        await wait_until(pilot, lambda: "contrast" in (own_data / "config.toml").read_text())
        app.theme = "localprobe-light"
        await wait_until(pilot, lambda: "light" in (own_data / "config.toml").read_text())

    async def find(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        assert app.theme == "localprobe-light"

    play(choose, load=None)
    play(find, load=None)
    assert (own_data / "config.toml").read_text() == 'theme = "localprobe-light"\n[keys]\n"chat.split" = "ctrl+f"\n'


def test_sampling_is_set_from_presets_and_by_hand_and_wrong_numbers_are_told(play: Play) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await pilot.press("f6")
        await wait_until(pilot, lambda: isinstance(app.screen, SamplingSheet))
        next(button for button in app.screen.query(Button) if button.name == "varied").press()
        await wait_until(pilot, lambda: app.screen.query_one("#min_p", Input).value == "0.05")
        app.screen.query_one("#top_p", Input).value = "7"
        app.screen.query_one("#use", Button).press()
        await wait_until(pilot, lambda: "top-p '7': give a number from 0.01 to 1" in screen(app))
        app.screen.query_one("#top_p", Input).value = "0.9"
        app.screen.query_one("#seed", Input).value = "3"
        app.screen.query_one("#use", Button).press()
        await wait_until(pilot, lambda: isinstance(app.screen, ChatScreen))
        settings = app.talk.sampling
        assert (settings.temperature, settings.top_p, settings.min_p, settings.seed) == (1.0, 0.9, 0.05, 3)
        await wait_until(pilot, lambda: "temp 1  top-p 0.9  min-p 0.05  seed 3" in screen(app))

    play(scene)


def test_a_system_prompt_is_read_by_the_model_and_kept_with_the_chat(play: Play) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await pilot.press("f7")
        await wait_until(pilot, lambda: isinstance(app.screen, TextSheet))
        app.screen.query_one(TextArea).focus()
        for key in (*"Kindly", "ctrl+s"):  # as fast as can be
            app.simulate_key(key)
        await wait_until(pilot, lambda: "system: Kindly" in screen(app))
        await pilot.press(*"hi", "enter")
        await wait_until(pilot, lambda: app.query(AnswerView) and not app.talk.answering)
        assert app.talk.used > len("Kindly") + len("hi")
        await pilot.press("ctrl+n")
        assert app.talk.chat.system == "Kindly"

    play(scene)


def test_the_palette_finds_every_thing_that_can_be_done(play: Play) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        titles = {command.title for command in app.get_system_commands(app.screen)}
        assert {"Answer again", "Export as JSONL", "Load a model", "Branch", "Theme", "Quit", "Keys"} <= titles
        await pilot.press("ctrl+p")
        await pilot.press(*"split view", "enter")
        await wait_until(pilot, lambda: app.talk.split)

    play(scene)


def test_a_scenario_of_the_paper_goes_into_the_prompt(play: Play) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await pilot.press("ctrl+g")
        await wait_until(pilot, lambda: "The Listener" in screen(app))
        await pilot.press(*"listener", "enter")
        await wait_until(pilot, lambda: len(app.query_one(PromptBox).text) > 100)

    play(scene)


def test_a_prompt_takes_several_lines(play: Play) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await pilot.press("a", "ctrl+j", "b", "enter")
        await wait_until(pilot, lambda: app.talk.chat.turns)
        assert app.talk.chat.path()[0].content == "a\nb"
        await wait_until(pilot, lambda: not app.talk.answering)

    play(scene)
