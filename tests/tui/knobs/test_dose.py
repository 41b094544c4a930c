"""The knobs: turned by mouse, keys and typing, felt by the next token or the next answer, written beside the text."""

from __future__ import annotations

from functools import partial

import pytest
from textual.pilot import Pilot

from localprobe_tui.app import LocalprobeApp
from localprobe_tui.chat.answer import AnswerView
from localprobe_tui.chat.prompt import PromptBox
from localprobe_tui.chat.screen import ChatScreen
from localprobe_tui.knobs.card import KnobCard
from localprobe_tui.widgets.dialogs import Choose, TextDialog
from localprobe_tui.widgets.slider import Slider
from tests.tui.conftest import Play
from tests.tui.waiting import screen, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("vector_file")]


def test_a_kept_vector_is_on_the_panel_with_dose_and_alpha(play: Play) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await wait_until(pilot, lambda: "kindness  layer 2" in screen(app))
        await pilot.press("right_square_bracket", "right_square_bracket")
        await wait_until(pilot, lambda: "dose +0.10" in screen(app))
        model = app.session.model
        assert model is not None
        await wait_until(pilot, lambda: f"alpha {0.1 * float(model.scale[2]):+.1f}" in screen(app))
        await wait_until(pilot, lambda: "usable" in screen(app))

    play(scene)


def test_the_brackets_turn_the_knob_only_while_nothing_is_typed(play: Play) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await wait_until(pilot, lambda: app.talk.knobs)
        await pilot.press("left_square_bracket", "a", "left_square_bracket")
        await wait_until(pilot, lambda: app.query_one(PromptBox).text == "a[")
        assert app.talk.knobs[0].dose == -0.05

    play(scene)


def test_the_slider_is_worked_by_keys_and_by_mouse(play: Play) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await wait_until(pilot, lambda: app.query(Slider))
        slider = app.query_one(Slider)
        slider.focus()
        await pilot.press("right", "right", "left", "shift+right")
        assert app.talk.knobs[0].dose == pytest.approx(0.06)
        await pilot.press("0")
        assert app.talk.knobs[0].dose == 0
        await pilot.click(Slider, offset=(5, 0))
        assert app.talk.knobs[0].dose < -0.4
        await wait_until(pilot, lambda: "beyond usable" in screen(app))

    play(scene)


def test_a_dose_or_an_alpha_is_typed(play: Play) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await wait_until(pilot, lambda: app.query(KnobCard))
        for typed, dose in (("0.31", 0.31), ("nonsense", 0.31), ("-.7", -0.7), ("a5", None)):
            await pilot.press("f5")
            await wait_until(pilot, lambda: isinstance(app.screen, TextDialog))
            await pilot.press("ctrl+u", *typed, "enter")
            await wait_until(pilot, lambda: isinstance(app.screen, ChatScreen))
            if dose is not None:
                await wait_until(pilot, partial(_turned_to, app, dose))
        await wait_until(pilot, lambda: "alpha +5.0" in screen(app))

    play(scene)


@pytest.mark.usefixtures("slowly")
def test_a_dose_turned_in_mid_answer_is_felt_by_the_next_token_and_written_into_the_text(play: Play) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await wait_until(pilot, lambda: app.talk.knobs)
        await pilot.press(*"hi", "enter")
        await wait_until(pilot, lambda: app.talk.answering and len(app.talk.answering[0].pieces) > 4)
        turn = app.talk.answering[0]
        at = len(turn.pieces)
        await pilot.press("right_square_bracket")
        await wait_until(pilot, lambda: len(turn.parts) == 2)
        assert turn.parts[0].knobs == ()
        assert turn.parts[1].knobs[0].dose == pytest.approx(0.05, abs=1e-3)
        assert at <= turn.parts[1].start <= at + 12
        await wait_until(pilot, lambda: len(turn.pieces) > turn.parts[1].start + 2)
        await pilot.press("ctrl+s")
        await wait_until(pilot, lambda: "unsteered → kindness +0.05 @2" in screen(app))
        await wait_until(pilot, lambda: "[kindness +0.05 @2]" in screen(app).replace("\n", " "))
        assert turn.parts[1].scored == turn.parts[1].start - 1

    play(scene)


@pytest.mark.usefixtures("slowly")
def test_a_dose_can_wait_for_the_next_answer(play: Play) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await wait_until(pilot, lambda: app.talk.knobs)
        app.talk.applies = "next answer"
        await pilot.press(*"hi", "enter")
        await wait_until(pilot, lambda: app.talk.answering and len(app.talk.answering[0].pieces) > 3)
        turn = app.talk.answering[0]
        await pilot.press("right_square_bracket")
        before = len(turn.pieces)
        await wait_until(pilot, lambda: len(turn.pieces) > before + 4)
        assert len(turn.parts) == 1
        await pilot.press("ctrl+s")
        await wait_until(pilot, lambda: not app.talk.answering)
        await pilot.press("ctrl+r")
        await wait_until(pilot, lambda: app.talk.answering and app.talk.answering[0].pieces)
        assert app.talk.answering[0].parts[0].knobs[0].dose == pytest.approx(0.05, abs=1e-3)
        await pilot.press("ctrl+s")

    play(scene)


def test_layer_positions_and_switch_are_keys_of_the_knob(play: Play) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await wait_until(pilot, lambda: app.query(Slider))
        app.query_one(Slider).focus()
        await pilot.press("p")
        assert app.talk.knobs[0].positions == "prompt"
        await pilot.press("space")
        assert not app.talk.knobs[0].on
        await wait_until(pilot, lambda: "○ add kindness" in screen(app))
        await pilot.press("l")
        await wait_until(pilot, lambda: isinstance(app.screen, Choose))
        await wait_until(pilot, lambda: "AUROC 0.900   best" in screen(app))
        await pilot.press(*"layer  4", "enter")
        await wait_until(pilot, lambda: app.talk.knobs[0].layer == 4)
        await pilot.press("delete")
        await wait_until(pilot, lambda: "Fit empathy on this model" in screen(app))
        assert app.talk.knobs == []

    play(scene)


def test_a_link_of_the_knob_can_be_clicked(play: Play) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await wait_until(pilot, lambda: "kindness  layer 2" in screen(app))
        line = next(line for line in screen(app).splitlines() if "kindness  layer 2" in line)
        card = app.query_one(KnobCard)
        await pilot.click(offset=(line.index("  all") + 3, card.region.y))
        assert app.talk.knobs[0].positions == "prompt"

    play(scene)


def test_several_vectors_steer_at_once_each_by_its_slider(play: Play) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await wait_until(pilot, lambda: app.talk.knobs)
        app.use_vector(app.vectors[0])
        await wait_until(pilot, lambda: len(app.query(Slider)) == 2)
        first, second = app.query(Slider)
        first.turn(0.1)
        second.turn(-0.2)
        await pilot.pause()
        app.talk.knobs[1].layer = 4
        await pilot.press(*"hi", "enter")
        await wait_until(pilot, lambda: app.query(AnswerView) and not app.talk.answering)
        knobs = app.query_one(AnswerView).turn.parts[0].knobs
        assert [(each.layer, round(each.dose, 3)) for each in knobs] == [(2, 0.1), (4, -0.2)]
        await wait_until(pilot, lambda: "kindness +0.10 @2, kindness -0.20 @4" in screen(app))

    play(scene)


def test_a_dose_beyond_the_usable_range_is_warned_of_in_words(play: Play) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await wait_until(pilot, lambda: app.query(Slider))
        app.query_one(Slider).turn(0.5)
        await pilot.press(*"hi", "enter")
        await wait_until(pilot, lambda: app.query(AnswerView) and not app.talk.answering)
        await wait_until(pilot, lambda: "Dose +0.50 is beyond the usable" in screen(app))

    play(scene)


def _turned_to(app: LocalprobeApp, dose: float) -> bool:
    return app.talk.knobs[0].dose == dose
