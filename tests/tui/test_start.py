"""What the app does first: it draws, and only then looks for an engine; the command line finds it by name."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from localprobe import cli
from localprobe.engine import LoadOptions
from localprobe.engines.spec import ModelSpec
from localprobe_tui import app as module

LATER = ("torch", "transformers", "mlx", "llama_cpp", "sklearn", "scipy", "matplotlib", "pandas", "gguf", "openai")
SCREENS = {f"localprobe_tui.{room}.screen" for room in ("chat", "probing", "runs", "models")}

FIRST_FRAME = """
import asyncio, json, sys
from localprobe_tui.app import LocalprobeApp
from tests.tui.waiting import screen

class App(LocalprobeApp):
    def load_model(self, name, *_):
        print(json.dumps({"loads": name, "sees": screen(self), "imported": list(sys.modules)}))

async def main():
    async with App("fake").run_test(size=(120, 36)) as pilot:
        await pilot.pause()

asyncio.run(main())
"""


def test_the_first_frame_comes_before_the_load_and_before_all_that_is_slow_to_import() -> None:
    root = Path(__file__).parents[2]
    ran = subprocess.run([sys.executable, "-c", FIRST_FRAME], cwd=root, capture_output=True, text=True, check=True)
    [start] = map(json.loads, ran.stdout.splitlines())
    assert start["loads"] == "fake"
    assert all(words in start["sees"] for words in ("F1 Chat", "Say something below", "Steering"))
    packages = {name.partition(".")[0] for name in start["imported"]}
    assert packages.isdisjoint(LATER)
    assert {name for name in packages if name.startswith("localprobe")} == {"localprobe", "localprobe_tui"}
    assert SCREENS.intersection(start["imported"]) == {"localprobe_tui.chat.screen"}


def test_localprobe_alone_on_a_terminal_and_tui_run_the_app(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[ModelSpec] = []
    monkeypatch.setattr(module, "run", started.append)
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True, raising=False)
    for words in (["localprobe"], ["localprobe", "tui", "fake", "--engine", "fake", "--context", "64"]):
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as left:
            cli.main()
        assert left.value.code == 0
    assert [(spec.name, spec.engine, spec.options) for spec in started] == [
        ("smollm2-135m", None, LoadOptions()),
        ("fake", "fake", LoadOptions(context=64)),
    ]
