"""Unsteered and steered, side by side from one batch, with their scores."""

from __future__ import annotations

import math
from functools import partial

import pytest
from textual.pilot import Pilot

from localprobe_tui.app import LocalprobeApp
from localprobe_tui.chat.answer import AnswerView
from localprobe_tui.widgets.slider import Slider
from tests.tui.conftest import Play
from tests.tui.waiting import screen, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("vector_file")]


async def ask_twice(app: LocalprobeApp, pilot: Pilot[None]) -> tuple[AnswerView, AnswerView]:
    await wait_until(pilot, lambda: app.query(Slider))
    await pilot.press("ctrl+b", "right_square_bracket", "right_square_bracket", *"hi", "enter")
    await wait_until(pilot, lambda: len(app.query(AnswerView)) == 2)
    await wait_until(pilot, lambda: not app.talk.answering)
    plain, steered = app.query(AnswerView)
    return plain, steered


def test_two_answers_stand_side_by_side_and_the_unsteered_one_is_what_a_dose_of_zero_says(play: Play) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        plain, steered = await ask_twice(app, pilot)
        assert plain.region.y == steered.region.y
        assert plain.region.right <= steered.region.x
        await wait_until(pilot, lambda: "unsteered" in screen(app) and "kindness +0.10 @2" in screen(app))
        await wait_until(pilot, lambda: "on: unsteered beside" in screen(app))
        assert plain.turn.content != steered.turn.content
        await pilot.press("ctrl+b")
        app.query_one(Slider).turn(0.0)
        app.talk.new()
        await pilot.press(*"hi", "enter")
        await wait_until(pilot, lambda: len(app.query(AnswerView)) == 1 and not app.talk.answering)
        assert app.query_one(AnswerView).turn.content == plain.turn.content

    play(scene)


def test_what_ended_an_answer_is_read_whole_in_half_a_screen(play: Play) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        app.talk.sampling = type(app.talk.sampling)(tokens=6, temperature=0)
        await ask_twice(app, pilot)
        await wait_until(pilot, lambda: screen(app).count("6 tokens, at the limit") == 2)
        await wait_until(pilot, lambda: f"/{app.session.model.info.context}" in screen(app).split("\n")[0])  # type: ignore[union-attr]

    play(scene)


def test_every_token_of_both_has_a_score_a_mean_and_bars(play: Play) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        for answer in await ask_twice(app, pilot):
            turn = answer.turn
            assert len(turn.scores) == len(turn.pieces) > 0
            assert not any(math.isnan(score) for score in turn.scores)
            mean = sum(turn.own()) / len(turn.scores)
            await wait_until(pilot, partial(_shown, app, f" {mean:+.1f}"))
        await wait_until(pilot, lambda: "kindness at layer 5" in screen(app))
        assert any(bar in screen(app) for bar in "▂▃▄▅▆▇")

    play(scene)


def test_a_score_can_be_seen_without_colour(play: Play) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        _, steered = await ask_twice(app, pilot)
        await wait_until(pilot, lambda: steered.query(".body"))
        await pilot.pause(0.1)
        marked = [
            segment.style for strip in app.screen._compositor.render_strips() for segment in strip if segment.style
        ]
        assert any(style.underline or style.italic for style in marked)
        await pilot.press("f8")
        await wait_until(pilot, lambda: not steered.tinted)

    play(scene)


def test_the_chat_goes_on_from_the_answer_that_is_chosen(play: Play) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        plain, steered = await ask_twice(app, pilot)
        assert app.talk.chat.path()[-1] is steered.turn
        await pilot.press("alt+left")
        assert app.talk.chat.path()[-1] is plain.turn
        await wait_until(
            pilot, lambda: app.query("AnswerView.-kept") and app.query(AnswerView).first().has_class("-kept")
        )
        await pilot.press(*"and", "enter")
        await wait_until(pilot, lambda: len(app.talk.chat.path()) == 4 and not app.talk.answering)
        assert app.talk.chat.path()[1] is plain.turn

    play(scene)


def _shown(app: LocalprobeApp, words: str) -> bool:
    return words in screen(app)
