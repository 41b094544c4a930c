"""The server on torch: many requests at once, against the same one after another, and as one batch in Python."""

from __future__ import annotations

from benchmarks.serve_clients import Clients
from benchmarks.serve_measures import Rows, alone, first_token, generated, run
from benchmarks.serve_requests import MOST, Asked
from benchmarks.timing import interleaved, row


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


if __name__ == "__main__":
    run("torch", {"in-turn": in_turn, "batch": batch, "alone": alone, "first-token": first_token})
