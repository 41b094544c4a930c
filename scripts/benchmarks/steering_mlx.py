"""What steering costs a decode on MLX."""

from __future__ import annotations

import json

from benchmarks.common import load
from benchmarks.steering_rows import costs


def main() -> None:
    print(json.dumps(costs(load("mlx"), 0.9)))


main()
