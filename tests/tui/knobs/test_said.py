"""Steering in words: typed, checked while it is typed, turned as cards, felt by answers."""

from __future__ import annotations

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from localprobe_tui.app import LocalprobeApp
from localprobe_tui.chat.answer import AnswerView
from localprobe_tui.chat.prompt import PromptBox
from localprobe_tui.chat.screen import ChatScreen
from localprobe_tui.knobs.card import KnobCard, Said
from localprobe_tui.knobs.said import SaidDialog
from localprobe_tui.widgets.slider import Slider
from tests.tui.conftest import Play
from tests.tui.test_mouse import click
from tests.tui.waiting import screen, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("vector_file", "calm_file")]


async def type_line(app: LocalprobeApp, pilot: Pilot[None], key: str, text: str) -> None:
    """Open a dialog by a key, and put a text into it that replaces what is there."""
    await pilot.press(key)
    await wait_until(pilot, lambda: isinstance(app.screen, SaidDialog) and app.screen.query(Input))
    app.screen.query_one(Input).value = text


async def add(app: LocalprobeApp, pilot: Pilot[None], text: str, key: str = "ctrl+e") -> None:
    await type_line(app, pilot, key, text)
    await pilot.press("enter")
    await wait_until(pilot, lambda: isinstance(app.screen, ChatScreen))


def terms(app: LocalprobeApp) -> list[str]:
    return [str(knob.term) for knob in app.talk.knobs]


def test_each_term_becomes_a_card(play: Play) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await add(app, pilot, "0.2 calm @3 response when kindness > 2; ablate 0.6 kindness; cap calm [-1, 2] first 5")
        assert terms(app) == [
            "0 kindness @2",
            "0.2 calm @3 response when kindness > 2",
            "ablate 0.6 kindness",
            "cap calm [-1, 2] @2 first 5",
        ]
        await wait_until(pilot, lambda: "add calm  layer 3  response" in screen(app))
        shown = screen(app)
        for words in (
            "when kindness > 2",
            "ablate kindness  @all from 2  all",
            "share 0.60",
            "cap calm  layer 2  first 5",
        ):
            assert words in shown
        assert "[-1, 2]" in shown
        assert "0 ├" in shown
        assert len(app.query(KnobCard)) == 4
        await pilot.press(*"hello")  # the prompt has the keys again
        assert app.query_one(PromptBox).text == "hello"

    play(scene, size=(120, 40))


def test_what_is_wrong_is_shown_with_its_column_while_it_is_typed(play: Play) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await pilot.press("ctrl+e")
        await wait_until(pilot, lambda: isinstance(app.screen, SaidDialog))
        await pilot.press(*"0.2 calm whn")
        await wait_until(pilot, lambda: "column 10: 'whn' is no clause; did you mean 'when'?" in screen(app))
        await pilot.press("enter")  # adds nothing
        await wait_until(pilot, lambda: "column 10" in screen(app))
        await pilot.press(*["backspace"] * 3, *"@4")
        await wait_until(pilot, lambda: "enter: 0.2 calm @4" in screen(app))
        assert "column 10" not in screen(app)
        await pilot.press("escape")
        assert terms(app) == ["0 kindness @2"]

    play(scene)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("0.2 envy", "column 5: no vector 'envy': it is neither a file nor a name"),
        ("0.2 calm @77", "column 5: layer 77 is out of range: fake has layers 0 to 5"),
        ("0.2 calm when envy > 1", "column 15: no vector 'envy'"),
        ("cap calm < fpr 0.05", "column 5: vector 'calm' has no threshold for fpr 0.05 at layer 2: run localprobe"),
    ],
)
def test_what_the_model_cannot_be_steered_by_is_told_when_it_is_added(play: Play, text: str, told: str) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await type_line(app, pilot, "ctrl+e", text)
        await wait_until(pilot, lambda: f"enter: {text}" in screen(app))
        await pilot.press("enter")
        await wait_until(pilot, lambda: told in screen(app))
        assert isinstance(app.screen, SaidDialog)
        assert terms(app) == ["0 kindness @2"]

    play(scene)


def test_nothing_is_looked_up_without_a_model(play: Play) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await type_line(app, pilot, "ctrl+e", "0.2 calm")
        await pilot.press("enter")
        await wait_until(pilot, lambda: "none is loaded: choose one (F4)" in screen(app))

    play(scene, load=None)


def test_the_text_of_a_card_is_edited_by_key_and_by_mouse(play: Play) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await wait_until(pilot, lambda: app.query(Said))
        card = app.query_one(KnobCard)
        app.query_one(Said).focus()
        await add(app, pilot, "0.2 kindness @3 when calm > 1; ablate calm", key="enter")
        assert app.query(KnobCard).first() is card
        assert terms(app) == ["0.2 kindness @3 when calm > 1", "ablate calm"]
        await wait_until(pilot, lambda: "when calm > 1" in screen(app) and "ablate calm" in screen(app))
        await pilot.pause(0.1)
        await click(app, pilot, "when calm > 1")
        await wait_until(pilot, lambda: isinstance(app.screen, SaidDialog))
        assert app.screen.query_one(Input).value == "0.2 kindness @3 when calm > 1"
        await pilot.press("escape")
        await wait_until(pilot, lambda: len(app.query(Slider)) == 2)
        app.query(Slider).last().focus()
        await add(app, pilot, "ablate 0.3 calm @2", key="e")
        assert terms(app)[1] == "ablate 0.3 calm @2"

    play(scene, size=(120, 40))


def test_the_operator_of_a_card_is_turned_by_a_key_and_by_mouse(play: Play) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await wait_until(pilot, lambda: app.query(Slider))
        app.query_one(Slider).focus()
        await pilot.press("right", "o")
        await wait_until(pilot, lambda: "● ablate kindness  @all from 2" in screen(app) and "share 1.00" in screen(app))
        slider = app.query_one(Slider)
        await pilot.press("left")
        assert (app.talk.knobs[0].share, slider.signed) == (0.99, False)
        await pilot.click(slider, offset=(2, 0))
        assert app.talk.knobs[0].share == 0.0
        await click(app, pilot, "● ablate")
        await wait_until(pilot, lambda: "● keep norm kindness  layer 2" in screen(app))
        assert terms(app) == ["0.01 kindness keeping norm @2"]

    play(scene)


def test_positions_that_were_typed_come_round_again(play: Play) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await add(app, pilot, "0.2 calm first 5")
        await wait_until(pilot, lambda: len(app.query(Slider)) == 2)
        app.query(Slider).last().focus()
        seen = []
        for _ in range(5):
            seen.append(app.talk.knobs[1].positions)
            await pilot.press("p")
        assert seen == ["first 5", "all", "prompt", "response", "first 5"]

    play(scene)


def test_a_share_is_typed_and_what_is_none_is_told(play: Play) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await wait_until(pilot, lambda: app.query(Slider))
        app.query_one(Slider).focus()
        await pilot.press("o")
        for typed, share in (("0.25", 0.25), ("1.5", 0.25), ("a3", 0.25)):
            await pilot.press("f5")
            await pilot.pause()
            await pilot.press("ctrl+u", *typed, "enter")
            await wait_until(pilot, lambda: isinstance(app.screen, ChatScreen))
            await pilot.pause()
            assert app.talk.knobs[0].share == share
        await wait_until(pilot, lambda: "'1.5' is not a share" in screen(app))

    play(scene)


def test_an_answer_is_headed_by_what_it_was_steered_by_and_keeps_it(play: Play) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await add(app, pilot, "ablate 0.6 calm; 0.2 kindness @1,3")
        await pilot.press(*"hi", "enter")
        await wait_until(pilot, lambda: app.query(AnswerView) and not app.talk.answering)
        knobs = app.query_one(AnswerView).turn.parts[0].knobs
        assert [(knob.layer, knob.steering) for knob in knobs] == [
            (2, "ablate 0.6 calm"),
            (1, "0.2 kindness @1,3"),
            (3, "0.2 kindness @1,3"),
        ]
        await wait_until(pilot, lambda: "ablate 0.6 calm, 0.2 kindness @1,3" in screen(app))

    play(scene)


def test_mean_ablation_measures_the_mean_and_steers(play: Play) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await add(app, pilot, "ablate kindness to mean")
        await pilot.press(*"hi", "enter")
        await wait_until(pilot, lambda: app.query(AnswerView) and not app.talk.answering)
        assert app.talk.chat.path()[-1].parts[0].knobs[0].steering == "ablate kindness to mean"
        await wait_until(pilot, lambda: "the score moves 100% towards the mean" in screen(app))

    play(scene)


def test_at_80_by_24_the_terms_are_in_the_line_and_the_sheet(play: Play) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await add(app, pilot, "ablate calm @3")
        await wait_until(pilot, lambda: "· ablate calm @3 ·" in screen(app))
        await pilot.press("ctrl+k")
        await wait_until(pilot, lambda: "ablate calm  @3  all" in screen(app))
        await click(app, pilot, "+ in words")
        await wait_until(pilot, lambda: isinstance(app.screen, SaidDialog))
        assert all(len(line) <= 80 for line in screen(app).splitlines())

    play(scene, size=(80, 24))
