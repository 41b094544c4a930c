"""What steering costs a decode on torch."""

from __future__ import annotations

import json

from benchmarks.steering_rows import THREADS, costs
from localprobe.engine import LoadOptions
from localprobe.model import Model


def main() -> None:
    model = Model.load("smollm2-135m", "torch", LoadOptions(threads=THREADS))
    print(json.dumps(costs(model, 0.9)))


main()
