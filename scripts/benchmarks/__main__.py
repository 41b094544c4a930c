"""Every measure is a ratio of two medians from interleaved runs on this machine, in one process for each engine."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from importlib.util import find_spec
from typing import Any

from benchmarks import kept, machine, page

SECTIONS = {
    "engines": [("torch_engine", "torch"), ("mlx_engine", "mlx_lm"), ("llama_engine", "llama_cpp")],
    "sweep": [("sweep_torch", "torch"), ("sweep_llama", "llama_cpp"), ("sweep_mlx", "mlx_lm")],
    "steering": [("steering_torch", "torch"), ("steering_llama", "llama_cpp"), ("steering_mlx", "mlx_lm")],
    "serve": [("serve_torch", "torch"), ("serve_llama", "llama_cpp"), ("serve_others", None)],
    "startup": [("startup", None)],
    "capture": [("capture", "torch")],
    "memory": [("memory", "llama_cpp"), ("big", "llama_cpp")],
    "load": [("load", "torch")],
    "tui": [("tui_app", "llama_cpp")],
}
"""Section -> (module of this package, the library that it needs)."""
FAILED = " (which failed)"
NO_BLAS = "mlx_lm (on Linux it needs OpenBLAS to be of any speed: on Debian, apt-get install libopenblas0-pthread)"


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument(
        "sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)}; all if none is named"
    )
    parser.add_argument(
        "--json", action="store_true", help="print a list of section, measure, ours, other, ratio, goal"
    )
    parser.add_argument(
        "--page", action="store_true", help=f"put these sections on {page.PATH.name}; done anyway for all of them"
    )
    parser.add_argument(
        "--name", default=machine.processor(), help="of the page's column: this machine, or a build on it (%(default)s)"
    )
    args = parser.parse_args()
    unknown = [name for name in args.sections if name not in SECTIONS]
    if unknown:
        parser.error(f"no section {unknown[0]!r}: choose of {', '.join(SECTIONS)}")
    rows, absent = measure(args.sections or list(SECTIONS))
    command = " ".join(["scripts/bench", *args.sections])
    missing = [library for libraries in absent.values() for library in libraries]
    if args.json:
        print(json.dumps(rows, indent=1))
    else:
        show(rows, missing)
    if args.page or not args.sections:
        kept.keep(args.name, rows, absent, command)
        print(f"written: {page.write(kept.runs())}", file=sys.stderr)
    if failed := [library for library in missing if library.endswith(FAILED)]:
        sys.exit(f"scripts/bench: {'; '.join(failed)}: the reason is above")


def measure(sections: list[str]) -> tuple[list[dict[str, Any]], dict[str, list[str]]]:
    """The rows of some sections, and the libraries that each section lacks."""
    rows: list[dict[str, Any]] = []
    absent: dict[str, list[str]] = {section: [] for section in sections}
    for section in sections:
        for module, library in SECTIONS[section]:
            if reason := lacks(library):
                print(f"{section}: {module} is left out: {reason}", file=sys.stderr)
                absent[section].append(reason)
                continue
            print(f"{section}: {module} ...", file=sys.stderr)
            results = run(module)
            absent[section] += [str(row["absent"]) for row in results if "absent" in row]
            new = [{"section": section, **row} for row in results if "absent" not in row]
            rows += new
            for row in new:  # a run that is broken off has shown these
                print(f"  {line(row)}", file=sys.stderr)
    return rows, absent


def lacks(library: str | None) -> str:
    """What keeps a library from being measured; empty if nothing does."""
    if library is None:
        return ""
    if find_spec(library) is None:
        return library
    slow = library == "mlx_lm" and sys.platform == "linux" and machine.openblas() is None
    return NO_BLAS if slow else ""


def show(rows: list[dict[str, Any]], missing: list[str]) -> None:
    """Print the machine, a line for each row, and what is absent."""
    print("\n".join([machine.describe(), machine.versions(), ""]))
    for row in rows:
        print(line(row))
    for library in dict.fromkeys(missing):
        print(f"absent, so not measured: {library}")


def line(row: dict[str, Any]) -> str:
    """A row as it is printed."""
    judged = f"({page.goal(row)}) {page.judged(row)}" if page.goal(row) else ""
    numbers = f"{row['ours']:>10.4g} {row['other']:>10.4g} {row['unit']:<6} ratio {row['ratio']:.2f}"
    return f"{row['measure']:<82} {numbers} {judged}".rstrip()


def run(module: str) -> list[dict[str, Any]]:
    """Run one module of this package in a process of its own; its last line of output is a JSON list."""
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    blas = machine.openblas()
    if module.endswith(("mlx_engine", "_mlx")) and blas and sys.platform == "linux":
        env["LD_PRELOAD"] = str(blas)
    command = [sys.executable, "-m", f"benchmarks.{module}"]
    ran = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=False)
    if ran.returncode:  # what the others found is not lost by it
        return [{"absent": f"benchmarks.{module}{FAILED}"}]
    results: list[dict[str, Any]] = json.loads(ran.stdout.splitlines()[-1])
    return results


if __name__ == "__main__":
    main()
