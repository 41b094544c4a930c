"""The server on llama.cpp: many requests at once, against llama-cpp-python's own server, which answers them in turn."""

from __future__ import annotations

import sys
from importlib.util import find_spec

from benchmarks.serve_clients import Clients
from benchmarks.serve_measures import Rows, against, alone, first_token, generated, run
from benchmarks.serve_requests import Asked
from benchmarks.timing import interleaved, row
from localprobe import discovery, models

ROWS = 8
NEEDED = ("fastapi", "sse_starlette", "starlette_context", "pydantic_settings")


def theirs(asked: Asked, clients: Clients, rounds: int) -> Rows:
    """Steered and probed by us against unsteered by them."""
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        return [{"absent": f"llama_cpp.server: pip install 'llama-cpp-python[server]' brings {', '.join(missing)}"}]
    file = models.resolve("smollm2-135m", discovery.backend("llama")).path
    threads = str(asked.model.info.threads)
    command = [sys.executable, "-m", "llama_cpp.server", "--model", str(file), "--n_ctx", "2048"]
    command += ["--n_threads", threads, "--n_threads_batch", threads, "--interrupt_requests", "false"]
    what = f"llama.cpp: {ROWS} steered, watched requests at once, against llama_cpp.server's unsteered"
    return [against(what, [*command, "--verbose", "false"], asked, clients, rounds, count=ROWS, goal=1)]


def batch(asked: Asked, clients: Clients, rounds: int) -> Rows:
    """Over HTTP against `generate`."""
    seconds = interleaved(lambda: clients.at_once(asked.bodies(ROWS)), lambda: generated(asked, ROWS), rounds)
    return [row(f"llama.cpp: {ROWS} requests at once, against one batch in Python", *seconds, 1, "tok/s", None)]


if __name__ == "__main__":
    run("llama", {"theirs": theirs, "batch": batch, "alone": alone, "first-token": first_token})
