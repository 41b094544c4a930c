"""Knobs beyond one dose at one layer: whole control vectors, ranges that sweeps found, the probe's own layer, and what
the command line gives."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from textual.pilot import Pilot

from localprobe.engines.spec import ModelSpec
from localprobe.experiments.from_python import sweep
from localprobe.fake import FakeEngine
from localprobe.model import Model
from localprobe.store.json_values import to_json
from localprobe.store.runs import Runs
from localprobe.text_metrics.word_lists import WordLists
from localprobe.vectors import files as vector_files
from localprobe.vectors.vector import Direction, Origin, Vector
from localprobe_tui.app import LocalprobeApp
from localprobe_tui.chat.answer import AnswerView
from localprobe_tui.chat.prompt import PromptBox
from localprobe_tui.engine.session import EngineSession
from localprobe_tui.talk.opening import Opening
from localprobe_tui.talk.panel_knob import PanelKnob
from localprobe_tui.widgets.slider import Slider
from tests.tui.conftest import Play
from tests.tui.waiting import message, screen, wait_until

pytestmark = pytest.mark.slow


def kept_sweep(vector: Vector, usable: tuple[float, float], *, unit: str = "dose") -> None:
    """A sweep of a vector on the fake model in the store, with a usable range of our own."""
    strengths: dict[str, Any] = {"doses" if unit == "dose" else "alphas": [-0.5, 0, 0.5]}
    words = WordLists(("kind",), ("quick",))
    swept = sweep(Model(FakeEngine()), vector, prompts=["Hello"], samples=1, tokens=4, words=words, **strengths)
    result = swept.result
    (part,) = result.models
    (series,) = part.series
    (at,) = series.layers
    ours = replace(at, response=replace(at.response, usable=usable))
    series = replace(series, layers=(ours,))
    Runs().add("sweep", "kindness", to_json(replace(result, models=(replace(part, series=(series,)),))))
    Runs().delete(swept.run)


def test_the_usable_doses_are_those_of_the_newest_sweep_of_the_vector(
    play: Play, vector_file: Path, kindness: Vector
) -> None:
    Runs().add("sweep", "of another version", {"models": "none that can be read"})
    kept_sweep(kindness, (-0.4, 0.4))
    kept_sweep(kindness, (-0.2, 0.1))
    kept_sweep(replace(kindness, concept="anger"), (-0.01, 0.01))

    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await wait_until(pilot, lambda: "usable in a sweep: -0.20 to +0.10" in screen(app))
        await pilot.press(*["right_square_bracket"] * 3)
        await wait_until(pilot, lambda: "beyond usable" in screen(app))
        await pilot.press(*"hi", "enter")
        told = "Dose +0.15 is beyond the usable range (usable in a sweep: -0.20 to +0.10)."
        await wait_until(pilot, lambda: told in " ".join(str(w.render()) for w in app.query(".warning")))
        app.talk.knobs[0].move(1)
        app.talk.changed()
        await wait_until(pilot, lambda: "never swept; usable by rule: ±0.3" in screen(app))

    play(scene)


def test_a_sweep_in_alphas_is_told_in_doses(play: Play, vector_file: Path, kindness: Vector) -> None:
    kept_sweep(kindness, (-3.0, 1.5), unit="alpha")

    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        model = app.session.model
        assert model is not None
        scale = float(model.scale[2])
        await wait_until(pilot, lambda: f"in a sweep: {-3 / scale:+.2f} to {1.5 / scale:+.2f}" in screen(app))

    play(scene)


def test_where_no_dose_was_usable_every_dose_is_beyond(kindness: Vector) -> None:
    assert PanelKnob(kindness, 2, 0.01, swept={2: (0.0, 0.0)}).range() == "beyond usable"


def test_a_control_vector_without_a_best_layer_steers_all_of_its_layers_by_alpha(play: Play, kindness: Vector) -> None:
    whole = replace(kindness, best=None)

    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        app.use_vector(whole)
        await wait_until(pilot, lambda: "kindness  all layers" in screen(app) and "+2.5" in screen(app))
        await pilot.press("right_square_bracket", "right_square_bracket")
        await wait_until(pilot, lambda: "alpha +0.50" in screen(app))
        await pilot.press(*"hi", "enter")
        last = len(whole.directions) - 1
        await wait_until(pilot, lambda: f"kindness alpha +0.50 @0-{last}" in screen(app))
        await wait_until(pilot, lambda: not app.talk.answering)
        knobs = app.talk.chat.path()[-1].parts[0].knobs
        assert [(knob.layer, knob.alpha) for knob in knobs] == [(layer, 0.5) for layer in range(last + 1)]
        app.query_one(Slider).focus()
        await pilot.press("l")
        await wait_until(pilot, lambda: "all layers together" in screen(app))
        await pilot.press("down", "down", "enter")
        await wait_until(pilot, lambda: "kindness  layer 1" in screen(app) and "dose +0.00" in screen(app))

    play(scene)


def test_the_probe_reads_at_the_layer_that_is_chosen(play: Play, vector_file: Path) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await wait_until(pilot, lambda: app.talk.knobs)
        usual = app.talk.knobs[0].reading().layer
        await wait_until(pilot, lambda: f"kindness at layer {usual}" in screen(app))
        await pilot.press("f9")
        await wait_until(pilot, lambda: f"a little above the steered layer: {usual}" in screen(app))
        await pilot.press("down", "enter")
        await wait_until(pilot, lambda: "kindness at layer 0" in screen(app))
        await pilot.press(*"hi", "enter")
        await wait_until(pilot, lambda: app.query(AnswerView) and not app.talk.answering)
        reading = app.talk.chat.path()[-1].reading
        assert reading is not None
        assert reading.layer == 0

    play(scene)


def test_a_bracket_is_a_key_of_the_knob_even_if_text_follows_at_once(play: Play, vector_file: Path) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await wait_until(pilot, lambda: app.talk.knobs)
        app.simulate_key("right_square_bracket")
        app.simulate_key("h")
        await wait_until(pilot, lambda: app.query_one(PromptBox).text == "h")
        assert app.talk.knobs[0].dose == 0.05

    play(scene)


def test_enter_sends_all_that_was_typed_before_it_however_fast(play: Play) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        for key in ("h", "i", "shift+enter", "y", "o", "u", "enter", "!"):
            app.simulate_key(key)
        await wait_until(pilot, lambda: app.talk.chat.turns)
        assert app.talk.chat.path()[0].content == "hi\nyou"
        await wait_until(pilot, lambda: app.query_one(PromptBox).text == "!")
        await wait_until(pilot, lambda: not app.talk.answering)

    play(scene)


def opened(opening: Opening, scene: Any) -> None:
    """Run the app with an opening, as `localprobe chat` does."""

    async def whole() -> None:
        app = LocalprobeApp(ModelSpec("fake"), session=EngineSession(remote=False), opening=opening)
        async with app.run_test(size=(120, 36), notifications=True) as pilot:
            await wait_until(pilot, lambda: app.session.state == "ready")
            await scene(app, pilot)

    asyncio.run(asyncio.wait_for(whole(), 200))


def test_what_the_command_line_gives_is_what_the_chat_begins_with(vector_file: Path) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await wait_until(pilot, lambda: "kindness  layer 1  response" in screen(app))
        await wait_until(pilot, lambda: "alpha -3.0" in screen(app) and "temp 0.2  seed 5" in screen(app))
        assert (app.talk.chat.system, app.talk.sampling.tokens) == ("Be brief.", 9)
        assert len(app.talk.knobs) == 1

    opened(Opening(vector_file, 1, None, -3.0, "response", (), (), "Be brief.", 9, 0.2, 5), scene)


def test_what_the_command_line_says_in_words_is_on_the_panel(vector_file: Path) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await wait_until(pilot, lambda: app.talk.alarms)
        assert [str(knob.term) for knob in app.talk.knobs] == ["ablate kindness", "0.1 kindness @3"]
        await wait_until(pilot, lambda: "ablate kindness  @all from 2" in screen(app))
        await wait_until(pilot, lambda: "⚑ kindness > 2" in screen(app))

    steering = ("ablate kindness; 0.1 kindness @3",)
    opened(Opening(steering=steering, conditions=("kindness > 2",)), scene)


def test_a_name_in_the_command_lines_words_that_is_none_is_told(vector_file: Path) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        assert "column 8: no vector 'envy'" in await message(pilot)

    opened(Opening(steering=("ablate envy",)), scene)


def test_a_vector_of_another_width_is_told_and_the_chat_is_there(tmp_path: Path) -> None:
    directions = {0: Direction(np.ones(24, dtype=np.float32))}
    vector_files.save(Vector("narrow", Origin("fake"), directions, 0), tmp_path / "narrow.safetensors")

    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        assert "vector 'narrow' has width 24, but fake has" in await message(pilot)
        await pilot.press("escape")
        await pilot.press(*"hi", "enter")
        await wait_until(pilot, lambda: app.query(AnswerView) and not app.talk.answering)

    opened(Opening(tmp_path / "narrow.safetensors", dose=0.2), scene)


def test_what_steers_nothing_in_the_model_is_left_out_and_told(tmp_path: Path) -> None:
    directions = {b: Direction(np.ones(FakeEngine().info.width, np.float32)) for b in (4, 5, 6)}
    vector_files.save(Vector("happy", Origin(""), directions), tmp_path / "happy.safetensors")

    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await wait_until(pilot, lambda: app.talk.knobs)
        notice = "vector 'happy': the direction at layer 6 is past the last block of fake (5): left out"
        await wait_until(pilot, lambda: any(notice == told.message for told in app._notifications))
        assert [sorted(knob.vector.directions) for knob in app.talk.knobs] == [[4, 5]]

    opened(Opening(tmp_path / "happy.safetensors"), scene)


def test_a_knob_that_waited_for_its_model_leaves_out_what_the_model_lacks() -> None:
    info = FakeEngine().info
    directions = {b: Direction(np.ones(info.width, np.float32)) for b in (4, 5, 6)}
    knob = PanelKnob(Vector("happy", Origin(""), directions), 6)
    assert knob.fit_to(info) == (
        "vector 'happy': the direction at layer 6 is past the last block of fake (5): left out",
    )
    assert (sorted(knob.vector.directions), knob.layer) == ([4, 5], None)
    assert knob.fit_to(info) == ()


def test_a_layer_that_the_vector_does_not_have_is_told(vector_file: Path) -> None:
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        assert "kindness has no direction at layer 77" in await message(pilot)

    opened(Opening(vector_file, 77), scene)
