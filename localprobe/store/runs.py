"""The store of runs: every fit, validation, comparison and sweep with its result, in one SQLite file.

A run holds its whole result as JSON, and what is needed to repeat it: command, versions, machine and hashes. The cells
of a sweep are in a separate table (`localprobe.experiments.cells`).
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from localprobe.errors import UsageError
from localprobe.store.migrations import MIGRATIONS
from localprobe.store.sqlite import Schema, SqliteFile, json_text

SCHEMA = Schema("runs", MIGRATIONS)

_RUN = "id, kind, name, created, about, result"
_SUMMARY = """
id, kind, name, created, CASE
    WHEN kind = 'sweep' THEN json_extract(result, '$.cells')
    WHEN kind IN ('fit', 'validate') THEN (
        SELECT json_object('layer', json_extract(value, '$.layer'), 'auroc', json_extract(value, '$.auroc'))
        FROM json_each(result, '$.layers') WHERE json_extract(value, '$.layer') = json_extract(result, '$.layer')
    )
END
"""
_NEWEST_FIRST = "ORDER BY created DESC, rowid DESC"
_KEEP = f"""
INSERT INTO runs ({_RUN}) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET
    kind = excluded.kind, name = excluded.name, created = excluded.created,
    about = excluded.about, result = excluded.result
"""


@dataclass(frozen=True, slots=True)
class Run:
    """One stored run."""

    id: str
    """The run id: eight hexadecimal digits, of which any unique prefix is accepted too."""
    kind: str
    """`fit`, `validate`, `compare`, `correlate`, `reproduce`, `sweep`, ..."""
    name: str
    """Description for people: a concept and a model."""
    created: str
    """UTC, ISO 8601."""
    about: Mapping[str, Any]
    """What is needed to repeat it: `command`, `versions`, `machine`, and hashes of the inputs."""
    result: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A run as shown in a list; read without the rest of its result."""

    id: str
    kind: str
    name: str
    created: str
    headline: Mapping[str, Any]
    """The `cells` of a sweep; the `layer` and `auroc` of a fit or a validation; empty for other runs, and before there
    is a result."""


class Runs:
    """The runs in a file, by default in localprobe's data folder. The file is made when something is written.

    Every method raises LocalprobeError for a damaged file, one of a newer localprobe, one that stays locked, or a full
    disk; the file then keeps its previous content.
    """

    def __init__(self, path: Path | None = None) -> None:
        from localprobe.store.paths import data

        self.file = SqliteFile(path or data() / "runs.sqlite", SCHEMA)
        """The SQLite file, for other tables that belong to runs."""

    @property
    def path(self) -> Path:
        return self.file.path

    def add(
        self,
        kind: str,
        name: str,
        result: Mapping[str, Any],
        *,
        about: Mapping[str, Any] | None = None,
        id: str | None = None,  # noqa: A002 (it is what a run calls it)
    ) -> Run:
        """Store a run, adding `circumstances` to `about`. It replaces a stored run of the same `id`."""
        created = datetime.now(UTC).isoformat(timespec="seconds")
        run = Run(id or secrets.token_hex(4), kind, name, created, {**circumstances(), **(about or {})}, result)
        row = (run.id, run.kind, run.name, run.created, json_text(run.about), json_text(run.result))
        with self.file.writing() as database:
            database.execute(_KEEP, row)  # not REPLACE, which would delete the run's cells
        return run

    def summaries(self) -> list[RunSummary]:
        """Summaries of all runs, the newest first."""
        with self.file.reading() as database:
            return [_summary(row) for row in database.execute(f"SELECT {_SUMMARY} FROM runs {_NEWEST_FIRST}")]

    def all(self, kind: str | None = None) -> list[Run]:
        """Runs with their results, the newest first; only those of `kind` if given."""
        where, values = ("WHERE kind = ?", (kind,)) if kind else ("", ())
        with self.file.reading() as database:
            rows = database.execute(f"SELECT {_RUN} FROM runs {where} {_NEWEST_FIRST}", values).fetchall()
        return [_run(row) for row in rows]

    def find(self, id: str) -> Run | None:  # noqa: A002 (it is what a run calls it)
        """The run with exactly this id, or None."""
        with self.file.reading() as database:
            return _find(database, id)

    def get(self, reference: str) -> Run:
        """The run of an id, of a unique prefix of one, or the `last` run. UsageError if there is none, or several."""
        with self.file.reading() as database:
            run = _find(database, self._resolved(database, reference))
        assert run is not None  # in the same transaction
        return run

    def delete(self, reference: str) -> RunSummary:
        """Delete a run, named as for `get`, with its cells; returns its summary."""
        with self.file.writing() as database:
            run = self._resolved(database, reference)
            row = database.execute(f"SELECT {_SUMMARY} FROM runs WHERE id = ?", (run,)).fetchone()
            database.execute("DELETE FROM runs WHERE id = ?", (run,))
        return _summary(row)

    def _resolved(self, database: sqlite3.Connection, reference: str) -> str:
        """The run id that a reference stands for."""
        ids = _ids(database, "" if reference == "last" else reference)
        if reference == "last":
            ids = ids[:1]
        if not ids:
            latest = ", ".join(_ids(database)[:5]) or "none at all"
            raise UsageError(f"no run {reference!r} in {self.path}: the latest are {latest}; see `localprobe runs`")
        if len(ids) > 1:
            raise UsageError(f"{len(ids)} runs begin with {reference!r}: {', '.join(ids[:5])}")
        return ids[0]


def circumstances() -> dict[str, Any]:
    """What is needed to repeat the current command: the command line, versions, and the machine."""
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


def _ids(database: sqlite3.Connection, prefix: str = "") -> list[str]:
    where = "WHERE substr(id, 1, length(:prefix)) = :prefix"
    rows = database.execute(f"SELECT id FROM runs {where} {_NEWEST_FIRST}", {"prefix": prefix})
    return [reference for (reference,) in rows]


def _find(database: sqlite3.Connection, reference: str) -> Run | None:
    row = database.execute(f"SELECT {_RUN} FROM runs WHERE id = ?", (reference,)).fetchone()
    return _run(row) if row else None


def _run(row: tuple[str, str, str, str, str, str]) -> Run:
    return Run(*row[:4], json.loads(row[4]), json.loads(row[5]))


def _summary(row: tuple[str, str, str, str, str | None]) -> RunSummary:
    return RunSummary(*row[:4], json.loads(row[4] or "{}"))
