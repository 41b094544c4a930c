"""Peak memory of a capture of 5,000 texts against one of 100: it should not grow with the number of texts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.timing import limit

LAYERS = "1,2,3"
"""Low ones, where the pass stops early: what is asked is memory, not speed."""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        peaks = [peak(texts, Path(folder)) for texts in (5000, 100)]
    print(json.dumps([limit("memory: peak of capturing 5,000 texts, against 100", *peaks, "MB", 1.1)]))


def peak(texts: int, folder: Path) -> float:
    """Most resident memory of `localprobe capture`, in MB."""
    lines = [f"Text {i} says that {i * 7919 % 1000} of {i % 97} birds flew over the harbour." for i in range(texts)]
    path = folder / f"{texts}.txt"
    path.write_text("\n".join(lines))
    localprobe = str(Path(sys.executable).with_name("localprobe"))
    command = [localprobe, "capture", str(path), "-o", str(folder / f"{texts}.safetensors"), "--layers", LAYERS]
    started = subprocess.Popen([*command, "--engine", "llama"], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(started.pid, 0)
    if status:
        sys.exit(f"localprobe capture of {texts} texts failed")
    return used.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


main()
