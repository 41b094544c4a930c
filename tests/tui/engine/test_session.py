"""The engine of the app: loaded, cancelled, killed, shared, closed."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing
from contextvars import ContextVar

import numpy as np
import pytest

from localprobe import discovery
from localprobe.capture import scale
from localprobe.engine import Engine, FloatArray, LoadOptions
from localprobe.engines.spec import ModelSpec
from localprobe.errors import Cancelled, EngineCrashed, UnknownModel, UsageError
from localprobe.store import memo
from localprobe_tui.engine.session import EngineSession
from tests.children import children
from tests.tui import slow

FAKE = ModelSpec("fake")


def run(scene: Callable[[EngineSession], Awaitable[None]], *, remote: bool = False) -> None:
    async def whole() -> None:
        session = EngineSession(remote=remote)
        try:
            await scene(session)
        finally:
            session.close()

    asyncio.run(asyncio.wait_for(whole(), 60))


def test_a_model_is_loaded_and_its_stages_are_told() -> None:
    async def scene(session: EngineSession) -> None:
        seen: list[tuple[str, str | None]] = []
        session.subscribe(lambda: seen.append((session.state, session.stage and session.stage.step)))
        model = await session.load(FAKE)
        assert model.info.model == "fake"
        assert session.model is model
        steps = [("loading", step) for step in ("weights", "memory", "engine", "canary", "scale")]
        assert seen == [("loading", None), *steps, ("ready", None)]

    run(scene)


def test_scale_and_mean_are_measured_in_the_load_even_where_nothing_can_be_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measured: list[str] = []

    def measure(engine: Engine) -> tuple[FloatArray, FloatArray]:
        measured.append(engine.info.model)
        layers, width = engine.info.layers, engine.info.width
        return np.ones(layers, np.float32), np.full((layers, width), 2, np.float32)

    monkeypatch.setattr(memo, "recall", lambda *_: None)
    monkeypatch.setattr(memo, "keep", lambda *_: None)
    monkeypatch.setattr(scale, "measure", measure)

    async def scene(session: EngineSession) -> None:
        model = await session.load(FAKE)
        assert measured
        measured.clear()
        assert model.scale.tolist() == [1.0] * model.info.layers
        assert (model.neutral_mean == 2).all()
        assert measured == []  # what is measured later would call the engine from the screen's thread

    run(scene)


def test_what_is_told_of_a_load_is_told_in_the_context_of_whoever_asked() -> None:
    app = ContextVar("app", default="none")  # as Textual's own, by which a widget finds its app

    async def scene(session: EngineSession) -> None:
        seen: set[str] = set()
        app.set("mine")
        session.subscribe(lambda: seen.add(app.get()))
        await session.load(FAKE)
        assert seen == {"mine"}

    run(scene)


def test_an_unknown_model_is_the_same_error_as_on_the_command_line_and_the_old_model_stays() -> None:
    async def scene(session: EngineSession) -> None:
        model = await session.load(FAKE)
        with pytest.raises(UnknownModel, match=r"no model is named 'smolm2-135m'.*did you mean"):
            await session.load(ModelSpec("smolm2-135m"))
        assert session.state == "ready"
        assert session.model is model

    run(scene)


def test_an_option_that_cannot_be_honoured_leaves_no_model() -> None:
    async def scene(session: EngineSession) -> None:
        with pytest.raises(UsageError, match="float32"):
            await session.load(ModelSpec("fake", options=LoadOptions(dtype="float16")))
        assert session.state == "empty"

    run(scene)


def test_a_load_that_hangs_is_cancelled_and_leaves_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "choose", lambda *_: slow.endless)

    async def scene(session: EngineSession) -> None:
        loading = asyncio.ensure_future(session.load(FAKE))
        while not children():
            await asyncio.sleep(0.02)
        session.cancel_load()
        with pytest.raises(Cancelled, match="loading fake was cancelled"):
            await loading
        assert session.state == "empty"
        assert not children()

    run(scene, remote=True)


def test_a_load_whose_caller_is_cancelled_gives_way_to_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "choose", lambda *_: slow.endless)

    async def scene(session: EngineSession) -> None:
        loading = asyncio.ensure_future(session.load(FAKE))
        while not children():
            await asyncio.sleep(0.02)
        loading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await loading
        assert session.state == "empty"
        assert not children()
        monkeypatch.setattr(discovery, "choose", lambda *_: slow.backend)
        assert (await session.load(FAKE)) is session.model

    run(scene, remote=True)


def test_what_a_function_raises_is_raised_where_it_is_awaited() -> None:
    async def scene(session: EngineSession) -> None:
        await session.load(FAKE)
        assert session.model is not None
        with pytest.raises(UsageError, match="layer 99 is out of range"):
            await session.call(session.model.layers, [99])
        assert await session.call(session.model.layers, [-1]) == [5]

    run(scene)


def test_items_come_while_the_loop_lives_and_leaving_it_closes_the_generator() -> None:
    closed: list[int] = []
    ticked = threading.Event()

    def count() -> Iterator[int]:
        try:
            for number in range(10_000):
                ticked.clear()
                assert ticked.wait(60)  # by the loop
                yield number
        finally:
            closed.append(1)

    async def scene(session: EngineSession) -> None:
        async def tick() -> None:
            while True:
                ticked.set()
                await asyncio.sleep(0.001)

        ticking = asyncio.ensure_future(tick())
        async with aclosing(session.iterate(count)) as numbers:
            async for number in numbers:
                if number == 40:
                    break
        ticking.cancel()
        assert closed == [1]
        assert await session.call(lambda: "still there") == "still there"

    run(scene)


def test_an_error_in_a_stream_comes_after_its_items() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise UsageError("no more")

    async def scene(session: EngineSession) -> None:
        seen = []
        with pytest.raises(UsageError, match="no more"):
            async for number in session.iterate(broken):
                seen.append(number)  # noqa: PERF401 (the error ends it)
        assert seen == [1]

    run(scene)


def test_the_engine_is_reserved_for_one_purpose_at_a_time() -> None:
    async def scene(session: EngineSession) -> None:
        with pytest.raises(UsageError, match="no model is loaded"), session.reserved("anything"):
            pass
        await session.load(FAKE)
        with session.reserved("capturing for a probe") as model:
            assert model is session.model
            assert session.busy == "capturing for a probe"
            with pytest.raises(UsageError, match="busy capturing for a probe"), session.reserved("chatting"):
                pass
            with pytest.raises(UsageError, match="cannot be loaded now"):
                await session.load(FAKE)
        assert session.busy is None

    run(scene)


def test_a_child_killed_by_hand_is_noticed_told_and_loaded_again() -> None:
    async def scene(session: EngineSession) -> None:
        await session.load(FAKE)
        os.kill(children()[0].pid, signal.SIGKILL)
        while session.state != "dead":
            await session.check()
            await asyncio.sleep(0.02)
        assert "SIGKILL" in session.message
        assert "the model can be loaded again" in session.message
        assert session.model is None
        assert session.last_spec == FAKE
        again = await session.load(session.last_spec)
        assert await session.call(again.engine.decode, [72, 105]) == "Hi"

    run(scene, remote=True)


def test_a_child_killed_in_a_stream_is_the_streams_error() -> None:
    async def scene(session: EngineSession) -> None:
        model = await session.load(FAKE)

        def decoding() -> Iterator[str]:
            while True:
                yield model.engine.decode([72, 72])  # the text of a single id is remembered on this side

        with pytest.raises(EngineCrashed, match="died"):
            async for _ in session.iterate(decoding):
                for child in children():  # gone after the first time, while what was queued still comes
                    os.kill(child.pid, signal.SIGKILL)
                await asyncio.sleep(0.2)
        assert session.state == "dead"

    run(scene, remote=True)


@pytest.mark.usefixtures("slowly")
def test_closing_does_not_wait_for_an_answer_and_leaves_no_process() -> None:
    async def scene(session: EngineSession) -> None:
        model = await session.load(FAKE)
        talk = model.conversation()
        answer = asyncio.ensure_future(drain(session, lambda: talk.say("Hello", tokens=400)))
        while not talk.messages[1:] or not talk.messages[1].content:
            await asyncio.sleep(0.02)
        session.close()
        assert not children()
        assert len(talk.messages[1].content) < 400  # of as many tokens
        with pytest.raises(EngineCrashed):
            await answer

    run(scene, remote=True)


async def drain(session: EngineSession, factory: Callable[[], Iterator[object]]) -> None:
    async for _ in session.iterate(factory):
        pass
