"""The app on a model of a server: the header, knobs, scores, gates and alerts; and what it leaves to this machine."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import DataTable

from localprobe.engine import Engine
from localprobe.engines.spec import ModelSpec
from localprobe.fake import FakeEngine
from localprobe.model import Model
from localprobe.serve.hosted import Slot
from localprobe.steering.knob import watch
from localprobe.vectors.vector import Vector
from localprobe_tui.app import LocalprobeApp
from localprobe_tui.engine.served import ServerSession
from tests.serve.server import Server, serving
from tests.tui.chat.test_gates import answered, tokens
from tests.tui.knobs.test_said import add
from tests.tui.slow import DELAY
from tests.tui.waiting import dismiss, message, screen, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("vector_file", "calm_file")]

Scene = Callable[[LocalprobeApp, Pilot[None]], Awaitable[None]]


def quick(slot: Slot) -> Engine:
    return FakeEngine(slot.spec.name)


def slow(slot: Slot) -> Engine:
    """Tokens come one by one, and no answer ends by itself."""
    engine = FakeEngine(slot.spec.name, delay=DELAY)
    engine.info = replace(engine.info, eos=())
    return engine


@pytest.fixture
def served(own_data: Path) -> Iterator[Callable[..., Server]]:
    """A server over the library of the test: `served(load=quick)`."""
    yield serving  # type: ignore[misc]


def play(server: Server, scene: Scene) -> None:
    """Run the app on a server, headless; the scene begins when the model is there and its vector on the panel."""

    async def whole() -> None:
        app = LocalprobeApp(ModelSpec(""), session=ServerSession(server.url))
        async with app.run_test(size=(140, 40), notifications=True) as pilot:
            await wait_until(pilot, lambda: app.session.state == "ready" and app.talk.knobs)
            await scene(app, pilot)

    asyncio.run(asyncio.wait_for(whole(), 120))


def test_a_steered_answer_is_the_one_that_the_model_gives_here(served, kindness: Vector) -> None:  # type: ignore[no-untyped-def]
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        assert f"fake @ {app.session.at} · fake · cpu" in screen(app)
        app.talk.sampling = type(app.talk.sampling)(tokens=10)
        app.talk.knobs[0].dose = 0.4
        app.talk.changed()
        turn = await answered(app, pilot)
        with Model(FakeEngine("fake")) as model:
            knobs = [knob for panel in app.talk.knobs for knob in panel.engine_knobs(model)]
            reading = turn.reading
            assert reading is not None
            [here] = model.answers(["hi"], steer=knobs, tokens=10, watch=watch(kindness, reading.layer))
        assert turn.pieces == list(here.pieces)
        assert turn.scores == pytest.approx(here.scores.tolist(), rel=1e-4)
        assert turn.parts[0].knobs[0].dose == pytest.approx(0.4)
        await wait_until(pilot, lambda: "10/" not in screen(app) and f"/{app.talk.model.info.context}" in screen(app))  # type: ignore[union-attr]

    with served(load=quick) as server:
        play(server, scene)


def test_gates_and_alerts_are_shown_as_they_are_here(served) -> None:  # type: ignore[no-untyped-def]
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        app.talk.sampling = type(app.talk.sampling)(tokens=6, temperature=0)
        await add(app, pilot, "0.2 kindness @3 when calm > -1000")
        await add(app, pilot, "calm > -1000", "ctrl+l")
        turn = await answered(app, pilot)
        assert [(gate.token, gate.gate, gate.open) for gate in turn.gates] == [(1, "when calm > -1000", True)]
        assert [alert.token for alert in turn.alerts] == list(range(6))
        await wait_until(pilot, lambda: "⟦calm > -1000: open⟧" in screen(app))

    with served(load=quick) as server:
        play(server, scene)


def test_a_knob_is_turned_in_mid_answer_and_a_stopped_answer_keeps_its_text(served) -> None:  # type: ignore[no-untyped-def]
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await pilot.press(*"hi", "enter")
        turn = await tokens(app, pilot)
        await pilot.press("right_square_bracket")
        await wait_until(pilot, lambda: len(turn.parts) == 2)
        assert turn.parts[1].knobs[0].dose == pytest.approx(app.talk.knobs[0].dose)
        assert 0 < turn.parts[1].start == turn.parts[1].scored + 1
        await tokens(app, pilot)
        await pilot.press("ctrl+s")
        await wait_until(pilot, lambda: not app.talk.answering)
        assert turn.reason == "stopped"
        assert turn.content
        await wait_until(pilot, lambda: server.host.hosted().idle)  # the server was told

    with served(load=slow) as server:
        play(server, scene)


def test_two_answers_side_by_side(served) -> None:  # type: ignore[no-untyped-def]
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        app.talk.sampling = type(app.talk.sampling)(tokens=8)
        app.talk.split = True
        app.talk.knobs[0].dose = 0.8
        steered = await answered(app, pilot)
        plain = app.talk.chat.turns[steered.beside or ""]
        assert plain.content != steered.content
        with Model(FakeEngine("fake")) as model:
            assert plain.content == model.answer("hi", tokens=8).text

    with served(load=quick) as server:
        play(server, scene)


def test_probing_says_that_it_takes_a_model_of_this_machine(served) -> None:  # type: ignore[no-untyped-def]
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await pilot.press("f2")
        await pilot.pause()
        app.screen.action_fit()  # type: ignore[attr-defined]
        assert "take a model of this machine" in await message(pilot)
        await dismiss(pilot)
        await pilot.press("f4")
        await wait_until(pilot, lambda: app.screen.query(DataTable) and app.screen.query_one(DataTable).row_count == 1)
        await wait_until(pilot, lambda: f"fake on the server {app.session.at}" in screen(app))

    with served(load=quick) as server:
        play(server, scene)


def test_a_server_that_goes_in_mid_answer_is_told_of_and_the_text_stays(served) -> None:  # type: ignore[no-untyped-def]
    async def scene(app: LocalprobeApp, pilot: Pilot[None]) -> None:
        await pilot.press(*"hi", "enter")
        turn = await tokens(app, pilot)
        await asyncio.to_thread(server.host.close)
        told = await message(pilot)
        assert told
        assert turn.content
        assert not app.talk.answering

    with served(load=slow) as server:
        play(server, scene)
