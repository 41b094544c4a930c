"""Every measure is a ratio of two medians from interleaved runs on this machine, in one process for each engine."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks import page

SECTIONS = {
    "engines": [("torch_engine", "torch"), ("mlx_engine", "mlx_lm"), ("llama_engine", "llama_cpp")],
    "sweep": [("sweep_torch", "torch"), ("sweep_llama", "llama_cpp"), ("sweep_mlx", "mlx_lm")],
    "startup": [("startup", None)],
    "capture": [("capture", "torch")],
    "memory": [("memory", "llama_cpp"), ("big", "llama_cpp")],
    "load": [("load", "torch")],
    "tui": [("tui_app", "llama_cpp")],
}
"""Section -> (module of this package, the library that it needs)."""
FAILED = " (which failed)"


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument(
        "sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)}; all if none is named"
    )
    parser.add_argument(
        "--json", action="store_true", help="print a list of section, measure, ours, other, ratio, goal"
    )
    parser.add_argument(
        "--page", action="store_true", help=f"write {page.PATH.name} with these sections; done anyway for all of them"
    )
    args = parser.parse_args()
    unknown = [name for name in args.sections if name not in SECTIONS]
    if unknown:
        parser.error(f"no section {unknown[0]!r}: choose of {', '.join(SECTIONS)}")
    rows, absent = measure(args.sections or list(SECTIONS))
    command = " ".join(["scripts/bench", *sys.argv[1:]])
    if args.json:
        print(json.dumps(rows, indent=1))
    else:
        show(rows, absent, command)
    if args.page or not args.sections:
        print(f"written: {page.write(rows, absent, command)}", file=sys.stderr)
    if failed := [each for each in absent if each.endswith(FAILED)]:
        sys.exit(f"scripts/bench: {'; '.join(failed)}: the reason is above")


def measure(sections: list[str]) -> tuple[list[dict[str, Any]], list[str]]:
    """The rows of some sections, and what is absent."""
    rows, absent = [], []
    for section in sections:
        for module, library in SECTIONS[section]:
            if library and find_spec(library) is None:
                absent.append(library)
                continue
            print(f"{section}: {module} ...", file=sys.stderr)
            found = run(module)
            absent += [str(row["absent"]) for row in found if "absent" in row]
            new = [{"section": section, **row} for row in found if "absent" not in row]
            rows += new
            for row in new:  # a run that is broken off has shown these
                print(f"  {line(row)}", file=sys.stderr)
    return rows, absent


def show(rows: list[dict[str, Any]], absent: list[str], command: str) -> None:
    """Print the machine, a line for each row, and what is absent."""
    print("\n".join([*page.machine(), f"command: {command}", ""]))
    for row in rows:
        print(line(row))
    for library in absent:
        print(f"absent, so not measured: {library}")


def line(row: dict[str, Any]) -> str:
    """A row as it is printed."""
    judged = f"({page.goal(row)}) {page.judged(row)}" if page.goal(row) else ""
    numbers = f"{row['ours']:>10.4g} {row['other']:>10.4g} {row['unit']:<6} ratio {row['ratio']:.2f}"
    return f"{row['measure']:<82} {numbers} {judged}".rstrip()


def run(module: str) -> list[dict[str, Any]]:
    """Run one module of this package in a process of its own; its last line of output is a JSON list."""
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    blas = sorted(Path("/usr/lib").glob("*/openblas-pthread/libopenblas.so.0"))
    if module.endswith(("mlx_engine", "_mlx")) and blas:
        env["LD_PRELOAD"] = str(blas[0])
    command = [sys.executable, "-m", f"benchmarks.{module}"]
    ran = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=False)
    if ran.returncode:  # what the others found is not lost by it
        return [{"absent": f"benchmarks.{module}{FAILED}"}]
    return json.loads(ran.stdout.splitlines()[-1])


main()
