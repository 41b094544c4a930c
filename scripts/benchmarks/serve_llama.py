"""The server on llama.cpp: many requests at once, against llama-cpp-python's own server, which answers them in turn."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from benchmarks.serve_clients import Clients, process
from benchmarks.serve_measures import Rows, alone, first_token, generated, run
from benchmarks.serve_requests import Asked, unsteered
from benchmarks.timing import interleaved, row
from localprobe import discovery, models

ROWS = 8
NEEDED = ("fastapi", "sse_starlette", "starlette_context", "pydantic_settings")


def theirs(asked: Asked, clients: Clients, rounds: int) -> Rows:
    """Steered and probed by us against unsteered by them."""
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        return [{"absent": f"llama_cpp.server: pip install 'llama-cpp-python[server]' brings {', '.join(missing)}"}]
    with llama_cpp_server(asked) as others:
        seconds = interleaved(
            lambda: clients.at_once(asked.bodies(ROWS)),
            lambda: others.at_once(unsteered(asked.bodies(ROWS))),
            rounds,
        )
    what = f"llama.cpp: {ROWS} steered, watched requests at once, against llama_cpp.server's unsteered"
    return [row(what, *seconds, 1, "tok/s", 1)]


@contextmanager
def llama_cpp_server(asked: Asked) -> Iterator[Clients]:
    """Clients of llama_cpp.server, with the same file and as many threads."""
    file = models.resolve("smollm2-135m", discovery.backend("llama")).path
    threads = str(asked.model.info.threads)
    command = [sys.executable, "-m", "llama_cpp.server", "--model", str(file), "--n_ctx", "2048"]
    command += ["--n_threads", threads, "--n_threads_batch", threads, "--interrupt_requests", "false"]
    command += ["--host", "127.0.0.1", "--port", str(port := free_port()), "--verbose", "false"]
    with process(command, f"http://127.0.0.1:{port}") as url:
        clients = Clients(url)
        try:
            yield clients
        finally:
            clients.close()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


def batch(asked: Asked, clients: Clients, rounds: int) -> Rows:
    """Over HTTP against `generate`."""
    seconds = interleaved(lambda: clients.at_once(asked.bodies(ROWS)), lambda: generated(asked, ROWS), rounds)
    return [row(f"llama.cpp: {ROWS} requests at once, against one batch in Python", *seconds, 1, "tok/s", None)]


if __name__ == "__main__":
    run("llama", {"theirs": theirs, "batch": batch, "alone": alone, "first-token": first_token})
