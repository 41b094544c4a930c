"""The app on the fake engine: in this process where that is enough, in its real child process where it matters."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest
from textual.pilot import Pilot

from localprobe import discovery
from localprobe.capture import scale
from localprobe.engines.spec import ModelSpec
from localprobe.fake import FakeEngine
from localprobe.store import memo
from localprobe.vectors import files as vector_files
from localprobe.vectors.vector import Direction, Origin, Vector
from localprobe_tui.app import LocalprobeApp
from localprobe_tui.engine.session import EngineSession
from tests.tui import slow
from tests.tui.waiting import wait_until

Scene = Callable[[LocalprobeApp, Pilot[None]], Awaitable[None]]
Play = Callable[..., None]


@pytest.fixture(scope="session", autouse=True)
def measured(own_folders: Path) -> None:
    """The fake model's scale and mean, which an app would measure on its first load, as quickly as its canary."""
    engine = FakeEngine()
    memo.keep("scale", scale.key(engine), [float(4 + layer) for layer in range(engine.info.layers)])
    memo.keep("mean", scale.key(engine), [0.0] * engine.info.layers * engine.info.width)


@pytest.fixture(autouse=True)
def own_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The app offers the vectors that lie where it was started."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder of the test's own, and no settings of the terminal's."""
    monkeypatch.setenv("LOCALPROBE_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("NO_COLOR", raising=False)
    return tmp_path / "data"


def made(concept: str, seed: int) -> Vector:
    """A vector for the fake model, at every layer; its best one is 2."""
    engine = FakeEngine()
    random = np.random.default_rng(seed)
    directions = {}
    for layer in range(engine.info.layers):
        v = random.standard_normal(engine.info.width).astype(np.float32)
        directions[layer] = Direction(v / np.linalg.norm(v), norm=2.0, measures={"auroc": 0.9})
    return Vector(concept, Origin.of(engine.info, method="test", pooling="mean"), directions, 2)


@pytest.fixture
def kindness() -> Vector:
    """A vector for the fake model, at every layer."""
    return made("kindness", 0)


@pytest.fixture
def vector_file(own_data: Path, kindness: Vector) -> Path:
    """The vector in the folder where the app looks for vectors."""
    path = own_data / "vectors" / "kindness.safetensors"
    vector_files.save(kindness, path)
    return path


@pytest.fixture
def calm_file(own_data: Path) -> Path:
    """A second vector in that folder, older than the first, so that it is not the one that the app begins with."""
    path = own_data / "vectors" / "calm.safetensors"
    vector_files.save(made("calm", 1), path)
    os.utime(path, (1, 1))
    return path


@pytest.fixture
def slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every model is the slow fake one."""
    monkeypatch.setattr(discovery, "choose", lambda *_: slow.backend)


@pytest.fixture
def play(own_data: Path) -> Play:
    """Run the app headless and play a scene on it: `play(scene, size=(80, 24), remote=True)`.

    It begins when the model is ready, and on the panel what `vector_file` wrote.
    """

    def played(
        scene: Scene, *, size: tuple[int, int] = (120, 36), remote: bool = False, load: str | None = "fake"
    ) -> None:
        async def whole() -> None:
            app = LocalprobeApp(load and ModelSpec(load), session=EngineSession(remote=remote))
            async with app.run_test(size=size, notifications=True) as pilot:
                if load is not None:
                    await wait_until(pilot, lambda: app.session.state == "ready")
                    if (own_data / "vectors" / "kindness.safetensors").exists():
                        await wait_until(pilot, lambda: app.talk.knobs)
                await scene(app, pilot)

        asyncio.run(asyncio.wait_for(whole(), 200))

    return played
