"""What steering costs a decode on llama.cpp."""

from __future__ import annotations

import json

from benchmarks.common import load
from benchmarks.steering_rows import costs


def main() -> None:
    print(json.dumps(costs(load("llama"), 0.85)))


main()
