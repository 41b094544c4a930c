"""The measures of the server that every engine has: a request alone, and the first token of many.

A module of these runs alone too, in part: `PYTHONPATH=scripts .venv/bin/python -m benchmarks.serve_torch --only alone`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

from benchmarks.plain import Plain
from benchmarks.serve_clients import Clients, localprobe, process
from benchmarks.serve_requests import DOSE, MOST, TOKENS, Asked, library
from benchmarks.timing import PROMPT, interleaved, limit, row
from localprobe.engine import LoadOptions
from localprobe.generation.decode import Decoding
from localprobe.generation.events import Token
from localprobe.model import Model

Rows: TypeAlias = list[dict[str, Any]]
Part: TypeAlias = Callable[[Asked, Clients, int], Rows]
"""Takes the requests, the clients of the server, and a number of rounds."""
NAMES = {"torch": "torch", "llama": "llama.cpp"}
SPREAD = 1 / MOST
"""Seconds between two of the requests that arrive within one."""


def run(engine: str, parts: Mapping[str, Part]) -> None:
    """Print the rows of the parts of an engine; the arguments may name some, and the rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", choices=parts, default=list(parts), help="the parts to measure")
    parser.add_argument("--rounds", type=int, default=5, help="of each pair; less is quicker and says less")
    parser.add_argument("--threads", type=int, help="of the engine, on both sides; its own choice if not given")
    args = parser.parse_args()
    rows: Rows = []
    with served(engine, args.threads) as (asked, clients):
        for part in args.only:
            rows += parts[part](asked, clients, args.rounds)
            print(f"  {part}: {[round(row.get('ratio', 0), 3) for row in rows]}", file=sys.stderr)
    print(json.dumps(rows))


@contextmanager
def served(engine: str, threads: int | None) -> Iterator[tuple[Asked, Clients]]:
    """The bundled model in this process and behind a server, both with the vectors of the requests."""
    model = Model.load("smollm2-135m", engine, LoadOptions(threads=threads))
    options = [] if threads is None else ["--threads", str(threads)]
    with library(model), process(localprobe(engine, *options), health="/health") as url:
        clients = Clients(url)
        try:
            yield Asked(model), clients
        finally:
            clients.close()
    model.close()


def alone(asked: Asked, clients: Clients, rounds: int) -> Rows:
    """One streamed request, against the command line with the same steering, which scores by the same direction."""
    steering = f"{DOSE} steer-0"
    info = asked.model.info
    options = [
        "--tokens",
        str(TOKENS),
        "--steer",
        steering,
        *(["--threads", str(info.threads)] if info.threads else []),
    ]
    plain = Plain("smollm2-135m", info.engine, *options)
    body = {
        "messages": [{"role": "user", "content": PROMPT}],
        "max_tokens": TOKENS,
        "temperature": 0,
        "steering": steering,
        "probes": ["steer-0"],
    }
    try:
        seconds = interleaved(lambda: 1 / clients.rate(body), lambda: 1 / plain.rate(), rounds=2 * rounds + 1)
    finally:
        plain.close()
    what = f"{_name(asked)}: a request alone, against `localprobe chat --plain`, decode"
    return [row(what, *seconds, 1, "tok/s", 0.95)]


def first_token(asked: Asked, clients: Clients, rounds: int) -> Rows:
    """The slowest first token of many requests, against the time to prefill their prompts one after another."""

    def slowest(apart: float) -> Callable[[], float]:
        return lambda: max(clients.first(asked.bodies(MOST, long=True), apart))

    def prefilled() -> float:
        requests, watch = asked.requests(MOST, long=True)
        start = time.perf_counter()
        for request, read in zip(requests, watch, strict=True):
            decoding = Decoding(asked.model.engine, [request], [read])
            decoding.step()  # needs no other pass
            decoding.close()
        return time.perf_counter() - start

    length = statistics.mean(len(request.ids) for request in asked.requests(MOST, long=True)[0])
    name = f"{_name(asked)}: {MOST} prompts of {length:.0f} tokens"
    what = f"{name} that arrive within a second, the slowest first token, against their prefill in order"
    rows = [limit(what, *interleaved(slowest(SPREAD), prefilled, rounds), "s", 1.5)]
    return [*rows, limit("the same, if all arrive at once", *interleaved(slowest(0), prefilled, rounds), "s")]


def generated(asked: Asked, count: int) -> float:
    """Seconds a token of the same requests as one batch in Python."""
    requests, watch = asked.requests(count)
    start = time.perf_counter()
    tokens = sum(isinstance(event, Token) for event in asked.model.generate(requests, watch))
    return (time.perf_counter() - start) / tokens


def _name(asked: Asked) -> str:
    return NAMES[asked.model.info.engine]
