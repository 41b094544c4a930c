"""The server on MLX: many steered requests at once, against mlx_lm.server, which batches too, unsteered."""

from __future__ import annotations

import sys

from benchmarks.serve_clients import Clients
from benchmarks.serve_measures import Rows, against, folder, run
from benchmarks.serve_requests import Asked

ROWS = 8


def theirs(asked: Asked, clients: Clients, rounds: int) -> Rows:
    """Steered and probed by us against unsteered by them."""
    path = folder()
    command = [sys.executable, "-m", "mlx_lm.server", "--model", path, "--log-level", "ERROR"]
    what = f"mlx: {ROWS} steered, watched requests at once, against mlx_lm.server's unsteered"
    return [against(what, command, asked, clients, rounds // 2 + 1, count=ROWS, model=path)]


if __name__ == "__main__":
    run("mlx", {"theirs": theirs})
