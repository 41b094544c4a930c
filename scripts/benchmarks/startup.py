"""How long `localprobe --help` takes above a bare Python."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.timing import interleaved

LIMIT = 0.2


def main() -> None:
    localprobe = str(Path(sys.executable).with_name("localprobe"))

    def call(*command: str) -> None:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    ours, bare = interleaved(lambda: call(localprobe, "--help"), lambda: call(sys.executable, "-c", "pass"), rounds=15)
    above = ours - bare
    result = {
        "measure": f"startup: `localprobe --help` above a bare python, of {LIMIT} s allowed",
        "ours": above,
        "other": LIMIT,
        "unit": "s",
        "ratio": LIMIT / above,
        "goal": 1.0,
    }
    print(json.dumps([result]))


main()
