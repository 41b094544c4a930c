"""Every measure is a ratio of two medians from interleaved runs on this machine, in one process for each engine."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

SECTIONS = {
    "engines": [("torch_engine", "torch"), ("mlx_engine", "mlx_lm"), ("llama_engine", "llama_cpp")],
    "startup": [("startup", None)],
    "capture": [("capture", "torch")],
    "memory": [("memory", "llama_cpp")],
}
"""Section -> (module of this package, the library that it needs)."""
_LIBRARIES = ("torch", "transformers", "mlx", "mlx-lm", "llama-cpp-python", "numpy")


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument(
        "sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)}; all if none is named"
    )
    parser.add_argument(
        "--json", action="store_true", help="print a list of section, measure, ours, other, ratio, goal"
    )
    args = parser.parse_args()
    unknown = [name for name in args.sections if name not in SECTIONS]
    if unknown:
        parser.error(f"no section {unknown[0]!r}: choose of {', '.join(SECTIONS)}")
    rows, absent = [], []
    for section in args.sections or SECTIONS:
        for module, library in SECTIONS[section]:
            if library and find_spec(library) is None:
                absent.append(library)
                continue
            found = run(module)
            absent += [str(row["absent"]) for row in found if "absent" in row]
            rows += [{"section": section, **row} for row in found if "absent" not in row]
    if args.json:
        print(json.dumps(rows, indent=1))
        return
    print(f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(", ".join(f"{name} {metadata.version(name)}" for name in _LIBRARIES if _installed(name)))
    print(f"command: scripts/bench {' '.join(sys.argv[1:])}\n")
    for row in rows:
        print(
            f"{row['measure']:<82} {row['ours']:>10.4g} {row['other']:>10.4g} {row['unit']:<6} "
            f"ratio {row['ratio']:.2f} {judged(row)}"
        )
    for library in absent:
        print(f"{library} is absent: not measured")


def judged(row: dict[str, object]) -> str:
    """The goal of a ratio, and whether it was missed."""
    ratio = float(str(row["ratio"]))
    if "most" in row:
        return f"(at most {row['most']})" + ("" if ratio <= float(str(row["most"])) else "  MISSED")
    return f"(goal {row['goal']})" + ("" if ratio >= float(str(row["goal"])) else "  MISSED")


def run(module: str) -> list[dict[str, object]]:
    """Run one module of this package in a process of its own; its last line of output is a JSON list."""
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    blas = sorted(Path("/usr/lib").glob("*/openblas-pthread/libopenblas.so.0"))
    if module == "mlx_engine" and blas:
        env["LD_PRELOAD"] = str(blas[0])
    command = [sys.executable, "-m", f"benchmarks.{module}"]
    ran = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=False)
    if ran.returncode:
        sys.exit(f"scripts/bench: benchmarks.{module} failed; the reason is above")
    return json.loads(ran.stdout.splitlines()[-1])


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


main()
