"""`localprobe chat --url` and `steer --url`: the commands on a server's model."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from localprobe.chats.store import Chats
from localprobe.serve.settings import Settings
from localprobe.vectors.library import Library
from localprobe.vectors.vector import Vector
from tests.cli.conftest import Ran, Run, run, vector_file  # noqa: F401 (fixtures)
from tests.client.test_failures import slow
from tests.serve.server import Server, serving, wait_for


@pytest.fixture
def chat(run: Run, server: Server, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]  # noqa: F811
    def chatted(lines: str, *args: object) -> Ran:
        monkeypatch.setattr("sys.stdin", io.StringIO(lines))
        return run("chat", "--url", server.url, "--plain", "--tokens", "12", *args)

    return chatted


def test_a_chat_is_that_of_the_model_here(run: Run, chat, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    lines = "Hello\n/steer 0.4 warm @2\n/watch brief > -100\n/regenerate\n"
    over_http = chat(lines)
    assert over_http.status == 0, over_http.err
    monkeypatch.setattr("sys.stdin", io.StringIO(lines))
    here = run("chat", "fake", "--engine", "fake", "--plain", "--tokens", "12")
    assert over_http.out == here.out
    assert re.sub(r"[\d.]+ tok/s", "", over_http.err) == re.sub(r"[\d.]+ tok/s", "", here.err)
    assert "warm at layer 2: dose +0.400" in over_http.err
    assert "brief > -100 fires" in over_http.err


def test_a_vector_of_the_server_is_a_knob(chat) -> None:  # type: ignore[no-untyped-def]
    ran = chat("Hello\n/dose 0.8\n/regenerate\n", "--vector", "warm")
    assert ran.status == 0, ran.err
    first, second = ran.out.splitlines()
    assert first != second
    assert "warm at layer 3: dose +0.800" in ran.err
    assert re.search(r"\[probe [+-]\d+\.\d\d at layer 3, \d+ tokens", ran.err)
    assert Chats().find()[0].model == "fake"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("/steer 0.2 nothing", "no vector 'nothing' in the library"),
        ("Hello\n/continue", "a server continues no answer: ask it to go on, in a message"),
        ("x" * 600, "shorten it"),
    ],
)
def test_an_error_is_a_line_and_the_chat_goes_on(chat, line: str, told: str) -> None:  # type: ignore[no-untyped-def]
    ran = chat(f"{line}\nBye\n")
    assert ran.status == 0
    assert told in ran.err
    assert ran.out.splitlines()


def test_a_vector_of_this_machine_needs_a_server_that_takes_it(
    run: Run,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    vector_file: Path,  # noqa: F811
    library: Vector,
) -> None:
    for allowed in (True, False):
        with serving(Settings(allow_upload=allowed)) as server:
            monkeypatch.setattr("sys.stdin", io.StringIO("Hello\n"))
            ran = run("chat", "--plain", "--url", server.url, "--tokens", "4", "--vector", vector_file)
        if allowed:
            assert "[probe " in ran.err
            for kept in Library().named("kindness"):
                kept.path.unlink()
        else:
            assert "has no vector 'kindness', and takes none: " in ran.err
            assert "--allow-upload" in ran.err


def test_how_to_load_is_not_for_a_server(run: Run, server: Server) -> None:  # noqa: F811
    ran = run("chat", "--plain", "--url", server.url, "--engine", "torch")
    assert ran.status == 2
    assert "a server has loaded its model: leave out how to load it, or leave out --url" in ran.err


def test_a_model_that_the_server_lacks_is_a_line(run: Run, server: Server) -> None:  # noqa: F811
    ran = run("chat", "llama-3", "--plain", "--url", server.url)
    assert ran.status == 2
    assert "no model 'llama-3' here" in ran.err


def test_an_address_without_a_server_is_a_line(run: Run) -> None:  # noqa: F811
    ran = run("chat", "--plain", "--url", "http://127.0.0.1:9")
    assert ran.status == 2
    assert "no server answers at http://127.0.0.1:9: start `localprobe serve` there" in ran.err


def test_steer_and_generate_answer_as_they_do_here(run: Run, server: Server) -> None:  # noqa: F811
    for command in (
        ("steer", "0.4 warm", "Hello", "--tokens", "12", "--watch", "warm > -100"),
        ("steer", "warm", "Hello", "--dose", "0.4", "--tokens", "12"),
        ("generate", "Hello", "--tokens", "12", "--raw"),
    ):
        over_http = json.loads(run(*command, "--json", "--url", server.url).out)
        here = json.loads(run(*command, "--json", "--model", "fake", "--engine", "fake").out)
        assert over_http["ids"] == here["ids"]
        assert over_http["alerts"] == here["alerts"]
        assert [knob["alpha"] for knob in over_http["knobs"]] == pytest.approx([k["alpha"] for k in here["knobs"]])


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a pseudoterminal")
def test_ctrl_c_on_a_terminal_ends_the_answer_at_the_server_and_the_text_is_kept() -> None:
    with serving(load=slow) as server, Terminal("chat", "--plain", "--url", server.url, "--tokens", "400") as chat:
        chat.reads(lambda told: "> " in told)
        chat.types("Hello\n")
        chat.reads(lambda told: len(told.partition("Hello")[2].strip()) > 20)
        assert not server.host.hosted().idle
        chat.types("\x03")
        chat.reads(lambda told: re.search(r"\d+ tokens, [\d.]+ tok/s, stopped", told) is not None)
        wait_for(lambda: server.host.hosted().idle)
        chat.types("/quit\n")
        assert chat.process.wait(20) == 0
    kept = Chats()
    [answer] = [turn for turn in kept.read(kept.find()[0].id).path() if turn.role == "assistant"]
    assert answer.reason == "stopped"
    assert len(answer.content) > 20


_MAIN = """
import fcntl, signal, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that Ctrl-C reaches the process, as in a shell
signal.signal(signal.SIGINT, signal.default_int_handler)
from localprobe.cli import main
main()
"""


class Terminal:
    """`localprobe` in a process of its own, on a pseudoterminal."""

    def __init__(self, *arguments: str) -> None:
        self._end, inner = pty.openpty()
        command = [sys.executable, "-c", _MAIN, *arguments]
        self.process = subprocess.Popen(command, stdin=inner, stdout=inner, stderr=inner, start_new_session=True)
        os.close(inner)
        self._told = ""

    def types(self, text: str) -> None:
        os.write(self._end, text.encode())

    def reads(self, holds: Callable[[str], bool]) -> None:
        """Read until what was told holds."""
        while not holds(self._told):
            self._told += os.read(self._end, 4096).decode(errors="replace")

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._end)
