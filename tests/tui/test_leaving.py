"""Leaving the app in mid-answer: no traceback on the terminal, and what was said is kept."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from localprobe.chats.store import Chats
from tests.tui.test_terminal import read_until, slow_app

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("signals_heard")]

QUIT = b"\x11"


def key(pressed: bytes) -> Callable[[subprocess.Popen[bytes], int], object]:
    return lambda app, terminal: os.write(terminal, pressed)


def sent(number: signal.Signals) -> Callable[[subprocess.Popen[bytes], int], object]:
    return lambda app, terminal: app.send_signal(number)


def quit_in_a_long_step(app: subprocess.Popen[bytes], terminal: int) -> None:
    """The engine's process takes long over a token: it is stopped."""
    (child,) = psutil.Process(app.pid).children()
    child.send_signal(signal.SIGSTOP)
    os.write(terminal, QUIT)


WAYS = {
    "the quit key": key(QUIT),
    "ctrl+c twice, then the quit key": key(b"\x03\x03" + QUIT),
    "a kill": sent(signal.SIGTERM),
    "an interrupt from elsewhere": sent(signal.SIGINT),
    "the quit key in a long step": quit_in_a_long_step,
}


@pytest.mark.parametrize("leave", WAYS.values(), ids=list(WAYS))
def test_leaving_in_mid_answer_prints_nothing_and_keeps_the_answer(
    own_data: Path, leave: Callable[[subprocess.Popen[bytes], int], object]
) -> None:
    app, master = slow_app(own_data, "remote")
    try:
        read_until(master, b"tok/s")
        leave(app, master)
        said = rest(master)
        assert app.wait(timeout=120) == 0, said[-3000:]
    finally:
        app.kill()
        os.close(master)
    assert not re.search("Traceback|Error|never retrieved", said), said[-3000:]
    chats = Chats(own_data / "chats.sqlite")
    (summary,) = chats.find("go on for ever")
    answer = chats.read(summary.id).path()[-1]
    assert answer.pieces
    assert answer.content == "".join(answer.pieces)


def rest(terminal: int) -> str:
    """All that a program still writes, without escape sequences."""
    said = b""
    try:
        while part := os.read(terminal, 65536):
            said += part
    except OSError:  # the program has left
        pass
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said.decode(errors="replace"))
