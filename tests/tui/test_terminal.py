"""The real app with the real model in a real terminal: what a user types and sees, from the start to the end."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from localprobe.chats.store import Chats
from localprobe.vectors import files as vector_files
from localprobe.vectors.vector import Direction, Origin, Vector
from localprobe_tui.terminal import on_hangup
from tests.bundled import smollm2

ROOT = Path(__file__).parents[2]
WIDTH, LAYERS = 576, 30  # of SmolLM2-135M


class Terminal:
    """A tmux session of its own server, so that it touches nobody's."""

    def __init__(self, folder: Path, size: tuple[int, int], command: str, variables: dict[str, str]) -> None:
        self._tmux = ["tmux", "-S", str(folder / "tmux"), "-f", "/dev/null", "-u"]
        self._environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8", **variables}
        width, height = map(str, size)
        kept = f"{command}; echo left with $?; exec cat"
        self._run("new-session", "-d", "-s", "app", "-x", width, "-y", height, kept)

    def keys(self, *keys: str) -> None:
        self._run("send-keys", "-t", "app", *keys)

    def text(self, text: str) -> None:
        self._run("send-keys", "-t", "app", "-l", text)

    def screen(self) -> str:
        return self._run("capture-pane", "-p", "-t", "app")

    def see(self, *words: str, seconds: float = 120) -> str:
        """The screen as soon as it holds all of some words."""
        end = time.monotonic() + seconds
        while not all(word in (seen := self.screen()) for word in words):
            assert time.monotonic() < end, f"no {words} within {seconds} s; the screen:\n{seen}"
            time.sleep(0.1)
        return seen

    def close(self) -> None:
        subprocess.run([*self._tmux, "kill-server"], capture_output=True, check=False)

    def _run(self, *words: str) -> str:
        command = [*self._tmux, *words]
        return subprocess.run(command, capture_output=True, text=True, check=True, env=self._environment).stdout


@pytest.fixture
def kindness(own_data: Path) -> None:
    """A direction in the user's folder, so that nothing has to be fitted: any does to see the app steer."""
    random = np.random.default_rng(0)
    directions = {}
    for layer in range(LAYERS):
        v = random.standard_normal(WIDTH).astype(np.float32)
        directions[layer] = Direction(v / np.linalg.norm(v), norm=4.0)
    kindness = Vector("kindness", Origin("smollm2-135m"), directions, 12)
    vector_files.save(kindness, own_data / "vectors" / "k.safetensors")


@pytest.fixture
def terminal(tmp_path_factory: pytest.TempPathFactory, own_data: Path, kindness: None) -> Iterator[Terminal]:
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not installed: apt-get install tmux")
    pytest.importorskip("llama_cpp")
    smollm2()
    folder = tmp_path_factory.mktemp("t")
    command = f"{sys.executable} -m localprobe"
    if shutil.which("localprobe", path=str(Path(sys.executable).parent)):
        command = str(Path(sys.executable).with_name("localprobe"))
    # A cache of its own: with the texts captured by another test, a fit would be over before it could be cancelled.
    places = {"LOCALPROBE_CACHE": str(folder / "cache"), "LOCALPROBE_DATA": os.environ["LOCALPROBE_DATA"]}
    terminal = Terminal(folder, (120, 36), f"{command} tui --engine llama", {**places, "HF_HUB_OFFLINE": "1"})
    yield terminal
    terminal.close()


@pytest.mark.usefixtures("signals_heard")
def test_a_kill_leaves_the_app_and_a_hangup_that_nohup_ignores_does_not() -> None:
    left: list[str] = []
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    async def alive() -> None:
        on_hangup(lambda: left.append("the app"))
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGTERM)
        await wait_for(lambda: left)

    asyncio.run(alive())
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    assert left == ["the app"]


async def wait_for(predicate: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not predicate():
            await asyncio.sleep(0.01)


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.timeout(600)
def test_load_steer_fit_stop_and_quit(terminal: Terminal, own_data: Path) -> None:
    terminal.see("Say something below")
    terminal.see("smollm2-135m · Q4_1 · llama", "● add kindness  layer 12")
    terminal.keys("C-b")
    terminal.see("on: unsteered beside")
    terminal.text("]]]]")
    terminal.see("dose +0.20", "usable")
    terminal.text("My friend says that she feels empty. What should I do?")
    terminal.see("My friend says that she feels empty. What should I do?")
    terminal.keys("Enter")
    terminal.see("unsteered", "kindness +0.20 @12", "▌")
    terminal.see("tok/s", "/8192", "plain   ", "steered ")
    terminal.keys("C-s")
    said = re.search(r"(\d+) tokens?, stopped", terminal.see("stopped"))
    assert said is not None
    terminal.keys("C-p")
    terminal.see("Search for commands")
    terminal.text("fit empathy")
    terminal.see("Fit the bundled contrast set")
    terminal.keys("Enter")
    terminal.see("Fitting empathy", "tok/s")
    terminal.keys("Escape")
    terminal.see("Fitting was cancelled")
    [child] = [each for each in psutil.process_iter(["cmdline"]) if is_ours(each, own_data)]
    terminal.keys("C-q")
    terminal.see("left with 0")
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
    chats = Chats(own_data / "chats.sqlite")
    [summary] = chats.find("")
    question, answer = chats.read(summary.id).path()
    assert question.content.startswith("My friend says")
    assert len(answer.pieces) == int(said[1]) > 0
    assert answer.parts[0].knobs[0].dose == pytest.approx(0.2, abs=1e-3)


def is_ours(process: psutil.Process, data: Path) -> bool:
    """Whether a process is an engine's child of the app that uses this data folder."""
    try:
        mine = process.environ().get("LOCALPROBE_DATA") == str(data)
        return mine and "localprobe.remote.child" in process.cmdline()
    except psutil.Error:
        return False


@pytest.mark.slow
@pytest.mark.usefixtures("signals_heard")
def test_a_terminal_that_is_closed_in_mid_answer_ends_the_app_and_loses_nothing(own_data: Path) -> None:
    """The slow fake model answers for ever; its words are in the store when the window is gone."""
    app, master = slow_app(own_data)
    try:
        read_until(master, b"tok/s")
        os.close(master)
        time.sleep(3)  # more frames than wait to be written
        app.send_signal(signal.SIGHUP)  # as the system does to the terminal's processes
        assert app.wait(timeout=120) == 0
    finally:
        app.kill()
    chats = Chats(own_data / "chats.sqlite")
    [summary] = chats.find("go on for ever")
    assert len(chats.read(summary.id).path()[-1].pieces) > 2


def slow_app(own_data: Path, *arguments: str) -> tuple[subprocess.Popen[bytes], int]:
    """The app with the slow fake model in a terminal of its own, and that terminal's other end."""
    master, slave = pty.openpty()
    command = [sys.executable, "-c", "import tests.tui.slow_app", *arguments]
    variables = {**os.environ, "TERM": "xterm-256color", "LOCALPROBE_DATA": str(own_data)}
    app = subprocess.Popen(
        command, stdin=slave, stdout=slave, stderr=slave, env=variables, cwd=ROOT, start_new_session=True
    )
    os.close(slave)
    return app, master


def read_until(terminal: int, wanted: bytes) -> None:
    """Take what an app writes until it holds something."""
    end, seen = time.monotonic() + 60, b""
    while wanted not in seen:
        assert time.monotonic() < end, seen[-2000:]
        if select.select([terminal], [], [], 1)[0]:
            seen += os.read(terminal, 65536)
