"""The logs of a server, on stderr: one line of JSON per request, and what went wrong.

    {"time":"2026-11-30T12:00:00Z","client":"127.0.0.1","method":"POST","route":"/v1/chat/completions","status":200,
     "ms":412.7,"prompt_tokens":31,"tokens":64,"steered":true}

A line holds the route, not the path, and no text of a request unless that is asked for.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable
from typing import Any

from localprobe.serve.exchange import Exchange
from localprobe.terminal_text import one_line, visible

_QUIET = frozenset({"/health", "/metrics"})  # asked for every few seconds: their good answers are not logged


def access_log(write: Callable[[str], None], *, texts: bool = False) -> Callable[[Exchange], None]:
    """What writes a line for each exchange; `texts` adds the beginnings of both bodies."""

    def log(exchange: Exchange) -> None:
        if exchange.route not in _QUIET or exchange.status != 200:
            # ASCII: nothing that a client sent reaches a terminal unescaped, or ends the line.
            write(json.dumps(_line(exchange, texts), separators=(",", ":")))

    return log


def _line(exchange: Exchange, texts: bool) -> dict[str, Any]:
    line: dict[str, Any] = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "client": exchange.client,
        "method": exchange.method,
        "route": exchange.route,
        "status": exchange.status,
        "ms": round(1000 * exchange.seconds, 1),
    }
    if not exchange.complete:
        line["broken_off"] = True
    if exchange.prompt_tokens is not None:
        line |= {"prompt_tokens": exchange.prompt_tokens, "tokens": exchange.tokens, "steered": exchange.steered}
    if texts:
        line |= {"asked": _text(exchange.asked), "answered": _text(exchange.answered)}
    return line


def _text(body: bytes) -> str:
    return body.decode("utf-8", "replace")


class OneLine(logging.Formatter):
    """A record as one line, and the traceback of a bug below it."""

    def format(self, record: logging.LogRecord) -> str:
        line = f"localprobe serve: {one_line(record.getMessage())}"
        return f"{line}\n{visible(self.formatException(record.exc_info))}" if record.exc_info else line


def log_to_stderr() -> Callable[[str], None]:
    """Send what localprobe and uvicorn log to stderr. Returns what writes a line there."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine())
    for name, level in (("localprobe", logging.INFO), ("uvicorn", logging.WARNING), ("asyncio", logging.ERROR)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)

    def write(line: str) -> None:
        handler.acquire()  # lines of other threads must not begin within this one
        try:
            handler.stream.write(line + "\n")
            handler.flush()
        finally:
            handler.release()

    return write
