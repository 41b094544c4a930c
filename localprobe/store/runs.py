"""What was done and what came of it: every fit, validation, comparison and sweep, in one SQLite file.

A run holds its whole result as JSON, and what it takes to repeat it: the command, versions, machine and hashes. A sweep
adds a table of cells beside it (`localprobe.experiments.cells`). SQLite keeps two processes from corrupting each
other's work; a run is there whole or not at all.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from localprobe.engine import Info
from localprobe.errors import LocalprobeError, UsageError

FORMAT = 1
"""Of the tables; kept in the file as `PRAGMA user_version`."""
_WAIT = 30.0  # seconds that a writer waits for another

_TABLES = """
CREATE TABLE IF NOT EXISTS runs (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    created TEXT NOT NULL,
    about TEXT NOT NULL,
    result TEXT NOT NULL
)
"""
_KEEP = """
INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET
    kind = excluded.kind, name = excluded.name, created = excluded.created,
    about = excluded.about, result = excluded.result
"""


@dataclass(frozen=True, slots=True)
class Run:
    """One thing that was done."""

    id: str
    """Eight hexadecimal digits; any beginning that is unique names it too."""
    kind: str
    """`fit`, `validate`, `compare`, `correlate`, `reproduce`, `sweep`, ..."""
    name: str
    """What it was about, for people: a concept and a model."""
    created: str
    """UTC, ISO 8601."""
    about: Mapping[str, Any]
    """What it takes to repeat it: `command`, `versions`, `machine`, and hashes of what went in."""
    result: Mapping[str, Any]


class Runs:
    """The runs in a file, by default in localprobe's data folder. The file is made when something is written."""

    def __init__(self, path: Path | None = None) -> None:
        from localprobe.store.paths import data

        self.path = path or data() / "runs.sqlite"

    def add(
        self,
        kind: str,
        name: str,
        result: Mapping[str, Any],
        *,
        about: Mapping[str, Any] | None = None,
        id: str | None = None,  # noqa: A002 (it is what a run calls it)
    ) -> Run:
        """Keep a run; what it takes to repeat it is added to `about`. With the `id` of a run that is there, it takes
        that run's place. LocalprobeError if the disk refuses."""
        run = Run(
            id or secrets.token_hex(4),
            kind,
            name,
            datetime.now(UTC).isoformat(timespec="seconds"),
            {**circumstances(), **(about or {})},
            result,
        )
        row = (*(getattr(run, name) for name in ("id", "kind", "name", "created")), _text(run.about), _text(run.result))
        with self.connect(write=True) as database:
            database.execute(_KEEP, row)  # never REPLACE, which would take the run's cells with it
        return run

    def all(self, kind: str | None = None) -> list[Run]:
        """Runs, the newest first; of one kind if it is given."""
        if not self.path.exists():
            return []
        with self.connect() as database:
            rows = database.execute("SELECT * FROM runs ORDER BY created DESC, rowid DESC").fetchall()
        return [run for run in map(_run, rows) if kind is None or run.kind == kind]

    def get(self, reference: str) -> Run:
        """The run of an id, a unique beginning of one, or `last`. UsageError if there is none, or several."""
        every = self.all()
        found = every[:1] if reference == "last" else [run for run in every if run.id.startswith(reference)]
        if not found:
            known = ", ".join(run.id for run in every[:5]) or "none at all"
            raise UsageError(f"no run {reference!r} in {self.path}: the latest are {known}; see `localprobe runs`")
        if len(found) > 1:
            raise UsageError(f"{len(found)} runs begin with {reference!r}: {', '.join(run.id for run in found[:5])}")
        return found[0]

    def delete(self, reference: str) -> Run:
        """Take a run out, with its cells; returns it."""
        run = self.get(reference)
        with self.connect(write=True) as database:
            database.execute("DELETE FROM runs WHERE id = ?", (run.id,))
        return run

    @contextmanager
    def connect(self, *, write: bool = False) -> Iterator[sqlite3.Connection]:
        """The database in one transaction, committed if the block ends well.

        LocalprobeError for a torn file, one of a newer localprobe, one that stays locked, or a full disk; what it held
        before stays.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            database = sqlite3.connect(self.path, timeout=_WAIT)
        except (OSError, sqlite3.Error) as error:
            raise LocalprobeError(f"cannot open {self.path}: {error}") from error
        try:
            self._prepare(database)
            with database:
                if write:
                    database.execute("BEGIN IMMEDIATE")
                yield database
        except sqlite3.Error as error:
            raise LocalprobeError(f"the store {self.path} failed: {error}; what it held before stays") from error
        finally:
            database.close()

    def _prepare(self, database: sqlite3.Connection) -> None:
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version > FORMAT:
            raise LocalprobeError(
                f"{self.path} was written by a newer localprobe (format {version}, this one knows {FORMAT}): upgrade "
                "localprobe, or name another store"
            )
        database.execute("PRAGMA foreign_keys = ON")  # cells go with their run
        if version < FORMAT:
            database.execute(_TABLES)
            database.execute(f"PRAGMA user_version = {FORMAT}")
            database.commit()


def circumstances() -> dict[str, Any]:
    """What it takes to repeat what is being done now: the command as it was typed, versions, and the machine."""
    import os
    import platform
    import shlex

    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    return {"command": command, "folder": str(Path.cwd()), "versions": dict(_versions()), "machine": machine}


@cache
def _versions() -> Mapping[str, str]:
    import platform
    from importlib import metadata

    from localprobe.version import __version__

    libraries = ("numpy", "scipy", "scikit-learn", "torch", "transformers", "mlx", "mlx-lm", "llama-cpp-python")
    versions = {"localprobe": __version__, "python": platform.python_version()}
    for name in libraries:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def measured_on(info: Info) -> dict[str, Any]:
    """The model, engine and weights that a result was measured on."""
    names = (
        "model",
        "architecture",
        "engine",
        "version",
        "device",
        "dtype",
        "quantisation",
        "weights",
        "layers",
        "width",
    )
    return {name: getattr(info, name) for name in names}


def _run(row: tuple[str, str, str, str, str, str]) -> Run:
    return Run(*row[:4], json.loads(row[4]), json.loads(row[5]))


def _text(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
