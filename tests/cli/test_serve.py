"""`localprobe serve` as a user starts it."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from localprobe.vectors.vector import Vector
from tests.cli.conftest import Run
from tests.serve.server import planted, wait_for


@pytest.fixture
def warm() -> Vector:
    return planted("warm")


@contextmanager
def started(*arguments: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address of a server in a process of its own, and the process."""
    command = [sys.executable, "-c", "from localprobe.cli import main; main()", "serve", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        found = re.search(r"http://\S+", line)
        assert found, line + process.communicate()[1]
        yield found[0], process
    finally:
        process.kill()
        process.communicate()


def get(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.slow
def test_it_prints_its_address_answers_and_ends_with_its_engine(warm: Vector) -> None:
    with started("fake", "--port", "0", "--steer", "0.4 warm", "--max-tokens", "6") as (url, process):
        wait_for(lambda: get(f"{url}/health") == 200, 60)
        body = {"messages": [{"role": "user", "content": "Hello"}], "temperature": 0, "max_tokens": 50}
        asked = urllib.request.Request(
            f"{url}/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(asked, timeout=30) as response:
            answer = json.load(response)
        assert answer["localprobe"]["steering"] == "0.4 warm"
        assert answer["usage"]["completion_tokens"] == 6
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nosuchmodel"], "no model is named 'nosuchmodel'"),
        (["fake", "--engine", "nosuch"], "nosuch"),
        (["fake", "--steer", "0.2 ../warm"], "'../warm' is no name of a vector"),
        (["fake", "--steer", "0.2 nosuch"], "no vector 'nosuch' in the library"),
        (["fake", "--steer", "0.2"], "expected a vector after the number"),
        (["fake", "--host", "0.0.0.0"], "others can reach 0.0.0.0, and no key is set"),
        (["fake", "--port", "99999"], "99999"),
        (["fake", "--steer", "0.2 warm if nosuch > 3"], "no vector 'nosuch' in the library"),
        (["fake", "--deadline", "nan"], "nan is no number of seconds"),
        (["fake", "--grace", "inf"], "inf is no number of seconds"),
        (["fake", "fake", "--resident", "2"], "fake is named twice"),
        (["fake", "--port", "0", "--allow-origin", "*"], "--allow-origin '*': an origin has a scheme and a host"),
        (["fake", "--port", "0", "--allow-origin", "localhost:3000"], "--allow-origin 'localhost:3000'"),
        (["fake", "--port", "0", "--allow-origin", "null"], "--allow-origin 'null'"),
        (["fake", "--port", "0", "--allow-host", "http://me"], "--allow-host 'http://me': give a name or an address"),
        (["fake", "--port", "0", "--allow-host", "*"], "--allow-host '*'"),
    ],
)
def test_what_cannot_be_served_is_one_line(run: Run, warm: Vector, arguments: list[str], said: str) -> None:
    ran = run("serve", *arguments)
    assert ran.status == 2
    assert said in ran.err


def test_a_port_in_use_is_one_line(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ran = run("serve", "fake", "--port", taken.getsockname()[1])
    assert ran.status == 2
    assert "the port is in use" in ran.err
    assert len(ran.err.splitlines()) == 1


def test_without_its_libraries_it_says_what_to_install(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("localprobe.cli.serve._NEEDED", ("starlette", "nosuchlibrary"))
    ran = run("serve", "fake")
    assert ran.status == 2
    assert "the server needs nosuchlibrary: run pip install 'localprobe[serve]'" in ran.err
