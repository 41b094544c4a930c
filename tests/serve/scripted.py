"""A server that sends an answer byte by byte as a test writes it, and ends it as the test says."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

from localprobe.serve.page import headers, html

End = Literal["close", "hang"]


@contextmanager
def scripted(answer: bytes, end: End = "close") -> Iterator[str]:
    """The URL of a server that has the page, one model, no vectors, and this stream of events for every chat.

    After it, the server closes the answer, or sends nothing more until GET /drop drops the connection.
    """
    over = threading.Event()
    values: dict[str, Any] = {
        "/health": {"status": "ok", "models": []},
        "/v1/models": {"data": [{"id": "scripted", "localprobe": {}}]},
        "/v1/vectors": {"data": []},
        "/v1/steering": {"steering": ""},
        "/drop": {},
    }

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.path == "/drop":
                over.set()
            body = html().encode() if self.path == "/" else json.dumps(values[self.path]).encode()
            self.send_response(200)
            for name, value in (headers() if self.path == "/" else {"Content-Type": "application/json"}).items():
                self.send_header(name, value)
            if self.path == "/":
                self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for byte in answer:
                self.wfile.write(b"1\r\n" + bytes([byte]) + b"\r\n")
                self.wfile.flush()
            if end == "hang":
                over.wait(60)
            else:
                self.wfile.write(b"0\r\n\r\n")
            self.close_connection = True

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        over.set()
        server.shutdown()
        server.server_close()


def chunk(text: str, **fields: Any) -> dict[str, Any]:
    """A chunk of one token."""
    logprobs = {"content": [{"token": text, "logprob": -0.5}]}
    return {"choices": [{"index": 0, "delta": {"content": text}, "logprobs": logprobs, **fields}]}
