"""A 7B model on llama.cpp: canary, capture and a steered decode, in low memory and in the usual way.

The weights are random and in the shape of Qwen2.5-7B (`benchmarks.big_gguf`). Each way runs in a process of its own:
`python -m benchmarks.big FILE low|usual` is one.

What is measured is the most memory that was ever resident in that process (ru_maxrss), and a page of a mapped file
counts as resident once it was touched. So in low memory the file is nearly all of the peak, though none of it is
anybody's alone: the system takes those pages back when it needs them. The usual way repacks weights into private
memory while it reads the mapped file, so the file counts twice; of the two, the private half must stay. The private
memory, which Linux tells, is given beside the peak.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.timing import limit

NEEDED = 4_600_000_000
"""Bytes of disk: the file is 4.29 GB."""
LAYER, TOKENS = 14, 16
TEXTS = (
    "The ship came home.",
    "Snow fell all night.",
    "She kept her promise.",
    "The bread was warm.",
    "Nobody asked him why.",
    "A dog slept outside.",
    "The bridge was closed.",
    "They shared the last one.",
    "He lied to his friend.",
    "Rain is good for barley.",
)
"""Ten short texts; a letter is a token here."""


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="localprobe-") as folder:
        free = shutil.disk_usage(folder).free
        if free < NEEDED:
            lacking = f"it takes {NEEDED / 1e9:.1f} GB, and {tempfile.gettempdir()} has {free / 1e9:.1f}; set TMPDIR"
            print(json.dumps([{"absent": f"the GGUF file in the shape of a 7B model ({lacking})"}]))
            return
        path = Path(folder) / "random-7b-q4_0.gguf"
        # In a process of its own: what starts a process counts into that one's peak.
        subprocess.run([sys.executable, "-m", "benchmarks.big_gguf", str(path)], check=True)
        os.environ["LOCALPROBE_CACHE"] = folder
        low, usual = run(path, "low"), run(path, "usual")
        print(json.dumps(rows(path.stat().st_size / 1e6, low, usual)))


def rows(file: float, low: dict[str, Any], usual: dict[str, Any]) -> list[dict[str, Any]]:
    """Peaks against the file's size, in MB; what has no goal is there to be compared."""
    what = f"a 7B-shaped GGUF on llama.cpp, canary, capture of {len(TEXTS)} texts, steered decode:"
    ways = "low memory", "the usual way" if not usual["low"] else "the usual way, which chose low memory,"
    found = [limit(f"memory: {what} peak in {ways[0]}, against the file", low["peak"], file, "MB", 1.2)]
    found.append(limit(f"memory: the same, {ways[1]}", usual["peak"], file, "MB"))
    if low["private"]:
        found += [
            limit(f"memory: the same, private memory of {way}", each["private"], file, "MB")
            for way, each in zip(ways, (low, usual), strict=True)
        ]
    for verb, name in (("capture", "capture"), ("decode", "steered decode")):
        measure = f"memory: the same, {name} in low memory, against the usual way"
        ratio = low[verb] / usual[verb]
        found.append({"measure": measure, "ours": low[verb], "other": usual[verb], "unit": "tok/s", "ratio": ratio})
    return found


def run(path: Path, way: str) -> dict[str, Any]:
    """What one process found, and its peak in MB."""
    started = subprocess.Popen([sys.executable, "-m", "benchmarks.big", str(path), way], stdout=subprocess.PIPE)
    assert started.stdout is not None
    told = started.stdout.read()
    _, status, used = os.wait4(started.pid, 0)
    if status:
        sys.exit(f"the 7B-shaped model failed in the {way} way")
    return {**json.loads(told), "peak": used.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)}


def work(path: str, way: str) -> None:
    """Canary, capture and a steered decode of one model; tokens a second of each go to standard output."""
    from localprobe.engine import LoadOptions
    from localprobe.engines import canary
    from localprobe.generation.decode import Decoding
    from localprobe.model import Model
    from localprobe.steering.positions import term

    with Model.load(path, "llama", LoadOptions(low_memory=way == "low"), check=False) as model:
        failed = [check for check in canary.run(model.engine) if not check.passed]
        if failed:
            sys.exit(f"the canary died: {failed}")
        start, length = time.perf_counter(), sum(len(model.engine.encode(text)) for text in TEXTS)
        residuals = model.pooled(TEXTS, [LAYER])[:, 0]  # (texts, width)
        captured = length / (time.perf_counter() - start)
        v = residuals[0] - residuals[1]
        v *= 0.2 * np.linalg.norm(residuals[0]) / np.linalg.norm(v)
        request = model.request("Who are you?", tokens=TOKENS)
        request = type(request)(request.ids, (term(LAYER, v, 1.0),), request.sampler, request.key, TOKENS)
        decoding = Decoding(model.engine, [request])
        decoding.step()
        start = time.perf_counter()
        while not decoding.done:
            decoding.step()
        decoded = (len(decoding.answer()) - 1) / (time.perf_counter() - start)
        decoding.close()
        low = way == "low" or any("low memory" in note for note in model.info.notes)
        print(json.dumps({"capture": captured, "decode": decoded, "low": low, "private": private()}))


def private() -> float:
    """Megabytes of this process that are no pages of a file; 0 where the system does not tell."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    return sum(int(line.split()[1]) / 1e3 for line in lines if line.startswith("RssAnon"))


if __name__ == "__main__":
    main() if len(sys.argv) == 1 else work(*sys.argv[1:])
