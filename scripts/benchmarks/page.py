"""What was measured, as the Markdown page docs/benchmarks.md, and the machine that it was measured on."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

PATH = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"
_LIBRARIES = (
    *("localprobe", "numpy", "torch", "transformers", "mlx", "mlx-lm", "llama-cpp-python", "textual"),
    *("steering-vectors", "repeng"),
)
_INTRODUCTION = """\
# Benchmarks

`scripts/bench` wrote this page. Run it to get the same table for your own machine; `scripts/bench SECTION...` measures
some sections, `--page` writes their page, `--json` prints rows for a program to read.

Every row is a ratio. Of timings, ours and the other run in turn, in one process or as whole processes, after a run of
each to warm up, so that whatever else the machine does touches both alike; the numbers are medians. Peaks of memory are
each of one process of its own. The model is SmolLM2-135M (Q4_1, which torch and MLX get as float32), but where a row
names another. Where less is better, the ratio is ours over the other's and the goal says "at most"; a row without a
goal is there to be compared. Decoding is timed from the first token to the last; a watched answer's last pass, which
scores that token, comes after it. Both sides of the engines' rows on torch and MLX compute with the same arrays.

torch takes MKL for float32, which is slow on an x86 processor that Intel did not make. There localprobe takes oneDNN,
which torch has too; "by MKL" tells what the rows before would be without that.
"""


def write(rows: Sequence[dict[str, Any]], absent: Sequence[str], command: str) -> Path:
    """Write the page, and return its path."""
    PATH.parent.mkdir(exist_ok=True)
    PATH.write_text("\n".join(_lines(rows, absent, command)), encoding="utf-8")
    return PATH


def machine() -> list[str]:
    """The machine, then the versions."""
    memory = f"{_memory() / 2**30:.0f} GiB of memory"
    system = f"{platform.system()} {platform.machine()}"
    installed = [f"{name} {version}" for name in _LIBRARIES if (version := _version(name))]
    return [
        f"{_processor()}, {os.cpu_count()} cores, {memory}, {system}",
        f"Python {platform.python_version()}, {', '.join(installed)}",
    ]


def judged(row: dict[str, Any]) -> str:
    """Whether a row keeps to its goal: `met`, `MISSED`, or nothing where it has none."""
    if "most" in row:
        return "met" if row["ratio"] <= row["most"] else "MISSED"
    if row.get("goal") is None:
        return ""
    return "met" if row["ratio"] >= row["goal"] else "MISSED"


def goal(row: dict[str, Any]) -> str:
    """A row's goal in words."""
    if "most" in row:
        return f"at most {row['most']:g}"
    return "" if row.get("goal") is None else f"at least {row['goal']:g}"


def _lines(rows: Sequence[dict[str, Any]], absent: Sequence[str], command: str) -> list[str]:
    lines = [_INTRODUCTION, *(f"- {line}" for line in machine())]
    lines += [f"- {datetime.now(UTC):%Y-%m-%d}, `{command}`"]
    lines += [f"- absent, so not measured: {name}" for name in dict.fromkeys(absent)]
    for section in dict.fromkeys(row["section"] for row in rows):
        lines += ["", f"## {section}", "", "| measure | ours | other | unit | ratio | goal | |"]
        lines += ["| --- | ---: | ---: | --- | ---: | --- | --- |"]
        lines += [_line(row, section) for row in rows if row["section"] == section]
    return [*lines, ""]


def _line(row: dict[str, Any], section: str) -> str:
    measure = str(row["measure"]).removeprefix(f"{section}: ").replace("|", r"\|")
    numbers = f"{_number(row['ours'])} | {_number(row['other'])} | {row['unit']} | {row['ratio']:.2f}"
    return f"| {measure} | {numbers} | {goal(row)} | {judged(row)} |"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _memory() -> int:
    import psutil

    return int(psutil.virtual_memory().total)


def _processor() -> str:
    """The processor's name, as far as the system tells it."""
    if sys.platform == "darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "a Mac"
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "an unnamed processor"
