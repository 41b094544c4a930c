"""Checks every architecture that transformers and mlx-lm know, and writes docs/architectures.md.

A row is kept in docs/architectures/ once it is checked. It is checked again if it FAILED, if the libraries' versions
have changed, or with --again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any

from architecture_table import page, rows
from architecture_table.names import mlx_names, transformers_names
from benchmarks import machine

ENGINES = ("torch", "mlx")
_SECONDS = 60
_Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/architectures", description=__doc__)
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these architectures, checked again")
    parser.add_argument("--engine", choices=ENGINES, help="one engine only")
    parser.add_argument("--again", action="store_true", help="check every row again")
    parser.add_argument("--seconds", type=float, default=_SECONDS, help="the longest that one may take (%(default)s)")
    parser.add_argument("--trace", action="store_true", help="print the traceback of what failed")
    args = parser.parse_args()
    engines = [args.engine] if args.engine else [engine for engine in ENGINES if find_spec(_MODULES[engine])]
    kept = {engine: rows.resume(engine, args.again) for engine in engines}
    known = {"torch": transformers_names(), "mlx": mlx_names()}
    if unknown := [name for name in args.only if name not in {*known["torch"], *known["mlx"]}]:
        parser.error(f"no architecture {unknown[0]!r}: neither transformers nor mlx-lm knows it")
    with ExitStack() as stack, tempfile.TemporaryDirectory(prefix="localprobe-architectures-") as scratch:
        tokenizer = _tokenizer(Path(scratch) / "tokenizer")
        zygotes = {engine: stack.enter_context(Zygote(engine)) for engine in ENGINES if find_spec(_MODULES[engine])}
        for name in sorted({*known["torch"], *known["mlx"]}, key=str.lower):
            wanted = [engine for engine in engines if name in known[engine]]
            wanted = [engine for engine in wanted if name in args.only or not args.only]
            wanted = [engine for engine in wanted if args.only or not kept[engine].done(name)]
            if not wanted:
                continue
            job = {"name": name, "tokenizer": str(tokenizer), "seconds": args.seconds, "trace": args.trace}
            with tempfile.TemporaryDirectory(dir=scratch) as folder:
                for engine, row in _check(zygotes, wanted, name in known["torch"], {**job, "folder": folder}).items():
                    kept[engine].keep(name, {"result": row["result"], "note": row["note"]})
                    print(f"{name:28} {engine:6} {row['result']:9} {row['seconds']:5} s  {row['note']}", flush=True)
    print(f"written: {page.write(rows.read('torch'), rows.read('mlx'))}")
    failed = [name for engine in engines for name, row in kept[engine].rows.items() if row["result"] == "FAILED"]
    if failed:
        sys.exit(f"scripts/architectures: FAILED: {', '.join(sorted(set(failed)))}")


_MODULES = {"torch": "transformers", "mlx": "mlx_lm"}


def _check(zygotes: dict[str, Zygote], wanted: Sequence[str], in_transformers: bool, job: _Row) -> dict[str, _Row]:
    """The rows of one architecture. MLX is given the folder that transformers wrote, if it knows the architecture."""
    results: dict[str, _Row] = {}
    built = False
    if in_transformers and "torch" in zygotes:
        answer = zygotes["torch"].ask({**job, "build": "torch" not in wanted})
        built = (Path(job["folder"]) / "expected.npz").exists() and not answer.get("text_only")
        if "torch" in wanted:
            results["torch"] = _row(answer)
    if "mlx" in wanted:
        results["mlx"] = _row(zygotes["mlx"].ask({**job, "native": not built}))
    return results


def _row(answer: _Row) -> _Row:
    return {"result": answer["result"], "note": answer.get("note", ""), "seconds": answer["seconds"]}


class Zygote:
    """A process that checks architectures with one engine; see `architecture_table.zygote`."""

    def __init__(self, engine: str) -> None:
        env = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        env |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        blas = machine.openblas()
        if engine == "mlx" and blas and sys.platform == "linux":
            env["LD_PRELOAD"] = str(blas)
        command = [sys.executable, "-m", "architecture_table.zygote", engine]
        self._process = subprocess.Popen(
            command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self._read()  # once its imports are done

    def ask(self, job: _Row) -> _Row:
        """Check one architecture."""
        assert self._process.stdin is not None
        print(json.dumps(job), file=self._process.stdin, flush=True)
        return self._read()

    def _read(self) -> _Row:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            sys.exit("scripts/architectures: a checking process has ended; the reason is above")
        answer: _Row = json.loads(line)
        return answer

    def __enter__(self) -> Zygote:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()


def _tokenizer(folder: Path) -> Path:
    """The tiny tokenizer's files alone."""
    from localprobe.testing.tiny import tiny_folder

    tiny_folder("llama", folder)
    for name in ("config.json", "generation_config.json", "model.safetensors"):
        (folder / name).unlink()
    return folder


if __name__ == "__main__":
    main()
