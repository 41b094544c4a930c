"""A small OpenAI-compatible server on 127.0.0.1, for tests of what asks one."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Reply:
    """What the server says to one request for a text."""

    text: str | None = ""
    finish: str = "stop"
    status: int = 200
    error: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    raw: bytes | None = None
    """The whole body instead."""
    refusal: str | None = None

    def body(self, model: str) -> bytes:
        if self.raw is not None:
            return self.raw
        if self.status != 200:
            return json.dumps({"error": self.error}).encode()
        message = {"role": "assistant", "content": self.text, "refusal": self.refusal}
        choice = {"index": 0, "message": message, "finish_reason": self.finish}
        usage = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}
        reply = {"id": "x", "object": "chat.completion", "created": 1, "model": f"{model}-v1"}
        return json.dumps({**reply, "choices": [choice], "usage": usage}).encode()


@dataclass
class Server:
    """A running server: `reply` makes its answers, `asked` and `keys` are what came in."""

    url: str
    reply: Callable[[dict[str, Any]], Reply]
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    models: list[str] = field(default_factory=lambda: ["tiny", "small"])


@contextmanager
def serving(reply: Callable[[dict[str, Any]], Reply]) -> Iterator[Server]:
    """A server for the time of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            listed = {"object": "list", "data": [{"id": name, "object": "model"} for name in server.models]}
            self.send(200, json.dumps(listed).encode(), {})

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["content-length"])))
            server.asked.append({**request, "path": self.path})
            server.keys.append(self.headers["authorization"])
            said = server.reply(request)
            time.sleep(said.delay)
            self.send(said.status, said.body(request["model"]), said.headers)

        def send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {"content-type": "application/json", **headers}.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            try:
                self.wfile.write(body)
            except OSError:  # whoever asked has left
                return

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    server = Server(f"http://127.0.0.1:{listening.server_port}/v1", reply)
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()


def story(request: dict[str, Any]) -> Reply:
    """A text of its own for each request, long enough to be one."""
    system, user = (message["content"] for message in request["messages"])
    return Reply(f"Under {system!r} I look at {user!r} and I do what seems right by it, number {request['seed']}.")
