"""A real server in a process of its own, on loopback, with the fake engine in a child or in the server itself.

    with started(keys=["secret-key"], grace=1.0) as server: ...

As a program it is that server; its argument is the settings as JSON. `delay` makes the fake engine run in the server's
process, that many seconds a step.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.serve.server import wait_for

ASK = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 8}
LONG = {**ASK, "max_tokens": 400, "stream": True, "temperature": 0.3, "seed": 14}
"""With this seed the fake model does not end before the limit."""


@dataclass(frozen=True)
class Started:
    """A server process."""

    process: subprocess.Popen[str]
    url: str
    http: httpx.Client = field(repr=False)
    errors: Path
    """What it wrote to stderr."""

    @property
    def engines(self) -> list[psutil.Process]:
        """The engine's processes."""
        return [p for p in psutil.Process(self.process.pid).children() if "localprobe.remote.child" in p.cmdline()]

    @property
    def port(self) -> int:
        return httpx.URL(self.url).port or 0

    def said(self) -> str:
        return self.errors.read_text("utf-8")

    def ready(self) -> bool:
        return self.http.get("/health").status_code == 200

    def chat(self, **fields: Any) -> httpx.Response:
        return self.http.post("/v1/chat/completions", json=ASK | fields)


@contextmanager
def started(*, ready: bool = True, **settings: Any) -> Iterator[Started]:
    """A server, `ready` unless its model is to be waited for; ended, if it did not end, when the block does."""
    with tempfile.TemporaryDirectory() as folder:
        errors = Path(folder, "stderr")
        with errors.open("w") as stderr:
            command = [sys.executable, "-m", "tests.serve.process", json.dumps(settings)]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True)
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            found = re.search(r"http://\S+", line)
            assert found, f"{line!r}, and on stderr: {errors.read_text()}"
            headers = {"Authorization": f"Bearer {settings['keys'][0]}"} if settings.get("keys") else {}
            with httpx.Client(base_url=found[0], headers=headers, timeout=60, trust_env=False) as http:
                server = Started(process, found[0], http, errors)
                if ready:
                    wait_for(server.ready)
                yield server
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()


def main() -> None:
    from localprobe.engines.spec import ModelSpec
    from localprobe.fake import FakeEngine
    from localprobe.serve.app import create_app
    from localprobe.serve.host import Host, load_in_child
    from localprobe.serve.run import serve
    from localprobe.serve.settings import Settings

    given = json.loads(sys.argv[1])
    delay = given.pop("delay", None)
    settings = Settings(**{"port": 0, **{k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}})
    load = load_in_child if delay is None else lambda slot: FakeEngine(slot.spec.name, delay=delay)
    host = Host([ModelSpec("fake", "fake")], settings.limits, load=load)
    serve(create_app(host, settings), host, settings)


if __name__ == "__main__":
    main()
