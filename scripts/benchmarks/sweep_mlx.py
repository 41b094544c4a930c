"""A sweep's generations on MLX: what a batch changes in the texts."""

from __future__ import annotations

import json

from benchmarks.common import load
from benchmarks.sweep_rows import alike


def main() -> None:
    print(json.dumps([alike(load("mlx"), 0.0)]))


main()
