"""Screenshots of the app: what it shows at the end of real answers, of a real fit, and on a small terminal."""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from textual.pilot import Pilot

from localprobe.contrast.scenarios import scenarios
from localprobe.engines.spec import ModelSpec
from localprobe_tui.app import LocalprobeApp
from localprobe_tui.talk import first_vector

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "screenshots"
MODEL, ENGINE = "smollm2-135m", "llama"
FONTS = "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
QUESTION = "My friend has gone quiet since her exam and says that she feels empty. What should I do?"
WAIT = 900.0


async def until(pilot: Pilot[None], true: Callable[[], object], what: str) -> None:
    """Let the app run until something is true."""
    end = time.monotonic() + WAIT
    while not true():
        if time.monotonic() > end:
            raise SystemExit(f"{what} did not come within {WAIT:.0f} s")
        await pilot.pause(0.1)


async def ready(app: LocalprobeApp, pilot: Pilot[None]) -> None:
    """Wait for the model and an empathy vector, which the first scene fits."""
    await until(pilot, lambda: app.session.state == "ready", "the model")
    if not first_vector.kept(app.session.model.info):  # type: ignore[union-attr]
        app.use_vector(await first_vector.fit(app.session, lambda *_: None, threading.Event()))
    await until(pilot, lambda: app.talk.knobs, "a vector")


async def answer(app: LocalprobeApp, pilot: Pilot[None], text: str) -> None:
    """Type a message and wait for the end of its answer."""
    prompt = app.screen.query_one("#prompt")
    prompt.text = text  # type: ignore[attr-defined]
    await pilot.press("enter")
    await until(pilot, lambda: app.talk.answering, "an answer")
    await until(pilot, lambda: not app.talk.answering, "the end of the answer")
    await pilot.pause(0.5)


async def chat(app: LocalprobeApp, pilot: Pilot[None]) -> None:
    app.talk.knobs[0].dose = 0.15
    await answer(app, pilot, QUESTION)


async def split(app: LocalprobeApp, pilot: Pilot[None]) -> None:
    await pilot.press("ctrl+b")
    app.talk.knobs[0].dose = 0.2
    await answer(app, pilot, scenarios()["the_listener"].prompt())


async def probing(app: LocalprobeApp, pilot: Pilot[None]) -> None:
    await pilot.press("f2")
    await until(pilot, lambda: app.screen.query("#headline"), "the screen")
    await pilot.press("f")
    await until(pilot, lambda: app.screen.has_class("-fitted"), "the fit")
    await pilot.press("t")
    app.screen.query_one("#beside TextArea").text = "I stop and sit down beside him before I go on."  # type: ignore[attr-defined]
    await pilot.pause(4)
    await pilot.press("escape")


async def knobs(app: LocalprobeApp, pilot: Pilot[None]) -> None:
    app.talk.knobs[0].dose = 0.15
    await answer(app, pilot, QUESTION)
    await pilot.press("ctrl+k")
    await pilot.pause(0.5)


SCENES = {
    "chat": (chat, (120, 36)),
    "split": (split, (120, 36)),
    "probing": (probing, (120, 36)),
    "knobs-80x24": (knobs, (80, 24)),
}


async def shoot(name: str) -> Path:
    """Play one scene and write its screenshot."""
    scene, size = SCENES[name]
    app = LocalprobeApp(ModelSpec(MODEL, ENGINE))
    async with app.run_test(size=size) as pilot:
        await ready(app, pilot)
        app.talk.sampling = type(app.talk.sampling)(tokens=110, seed=7)
        await scene(app, pilot)
        app.clear_notifications()
        await pilot.pause(0.5)
        picture = app.export_screenshot(title=f"localprobe: {name.partition('-')[0]}", simplify=True)
    path = FOLDER / f"{name}.svg"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(own_fonts(picture), encoding="utf-8")
    return path


def own_fonts(picture: str) -> str:
    """A picture in whatever fixed font its reader has, so that nothing is fetched to look at it."""
    picture = re.sub(r"@font-face\s*{[^}]*}", "", picture)
    return re.sub(r"font-family:\s*(Fira Code|arial)[^;]*;", f"font-family: {FONTS};", picture)


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/screenshots", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(SCENES)}; all if none is named")
    names = parser.parse_args().names or list(SCENES)
    if unknown := [name for name in names if name not in SCENES]:
        parser.error(f"no screenshot {unknown[0]!r}: choose of {', '.join(SCENES)}")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LOCALPROBE_DATA"] = folder
        for name in names:
            path = asyncio.run(shoot(name))
            print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


main()
