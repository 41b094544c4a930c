"""The server on torch: many requests at once, against the same one after another, and as one batch in Python."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

from benchmarks.serve_clients import Clients
from benchmarks.serve_measures import Rows, against, alone, first_token, folder, generated, run
from benchmarks.serve_requests import MOST, Asked
from benchmarks.timing import interleaved, row

OTHERS = 8
"""Requests to servers of others."""


def in_turn(asked: Asked, clients: Clients, rounds: int) -> Rows:
    """Together against one after another."""
    seconds = interleaved(
        lambda: clients.at_once(asked.bodies(MOST)), lambda: clients.in_turn(asked.bodies(MOST)), rounds // 2 + 1
    )
    return [row(f"torch: {MOST} requests at once, against the same one after another", *seconds, 1, "tok/s", 4)]


def batch(asked: Asked, clients: Clients, rounds: int) -> Rows:
    """Over HTTP against `generate`."""
    seconds = interleaved(lambda: clients.at_once(asked.bodies(MOST)), lambda: generated(asked, MOST), rounds)
    return [row(f"torch: {MOST} requests at once, against one batch in Python", *seconds, 1, "tok/s", 0.9)]


def transformers(asked: Asked, clients: Clients, rounds: int) -> Rows:
    """Steered and probed by us against unsteered by `transformers serve`."""
    if find_spec("fastapi") is None:
        return [{"absent": "transformers serve: it needs fastapi"}]
    command = [str(Path(sys.executable).with_name("transformers")), "serve", "--dtype", "float32", "--device", "cpu"]
    what = f"torch: {OTHERS} steered, watched requests at once, against `transformers serve`, unsteered"
    return [against(what, command, asked, clients, rounds // 2 + 1, count=OTHERS, model=folder())]


def saklas(asked: Asked, clients: Clients, rounds: int) -> Rows:
    """Named, so that nobody thinks it was forgotten."""
    return [{"absent": "saklas: it depends on some forty packages more, among them datasets and transformer-lens"}]


if __name__ == "__main__":
    run(
        "torch",
        {
            "in-turn": in_turn,
            "batch": batch,
            "alone": alone,
            "first-token": first_token,
            "transformers": transformers,
            "saklas": saklas,
        },
    )
