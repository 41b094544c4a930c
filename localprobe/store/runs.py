"""The store of runs: every fit, validation, comparison and sweep with its result, in one SQLite file.

A run holds its whole result as JSON, and what is needed to repeat it: command, versions, machine and hashes. The cells
of a sweep are in a separate table (`localprobe.experiments.cells`).
"""

from __future__ import annotations

import json
import secrets
import shlex
import sqlite3
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from localprobe.errors import DataError, UsageError
from localprobe.store.damaged import WRONG, readable, why
from localprobe.store.migrations import MIGRATIONS
from localprobe.store.names import is_id
from localprobe.store.sqlite import Schema, SqliteFile, json_text

T = TypeVar("T")
SCHEMA = Schema("runs", MIGRATIONS)

_RUN = "id, kind, name, created, about, result"
_VALID = """
CASE WHEN typeof(about) = 'text' AND typeof(result) = 'text' AND json_valid(about) AND json_valid(result)
    THEN json_type(about) = 'object' AND json_type(result) = 'object' ELSE 0
END
"""
_SUMMARY = f"""
id, kind, name, created, {_VALID}, CASE
    WHEN NOT ({_VALID}) THEN NULL
    WHEN kind = 'sweep' THEN json_extract(result, '$.cells')
    WHEN kind IN ('fit', 'validate') THEN (
        SELECT json_object('layer', json_extract(value, '$.layer'), 'auroc', json_extract(value, '$.auroc'))
        FROM json_each(result, '$.layers')
        WHERE CASE type WHEN 'object' THEN json_extract(value, '$.layer') = json_extract(result, '$.layer') END
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
    """The run id: usually eight hexadecimal digits, of which any unique prefix is accepted too. It becomes part of
    file names, so it has no other characters than letters, digits, `-` and `_`."""
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
    disk; the file then keeps its previous content. A damaged row does not hide the others: it is skipped, with a
    `DamagedRow` warning.
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
        """Store a run, adding `circumstances` to `about`. It replaces a stored run of the same `id`. UsageError for an
        id that could not be part of a file's name."""
        if id is not None and not is_id(id):
            raise UsageError(f"{id!r} cannot be the id of a run: use letters, digits, - and _ only")
        created = datetime.now(UTC).isoformat(timespec="seconds")
        run = Run(id or secrets.token_hex(4), kind, name, created, {**circumstances(), **(about or {})}, result)
        row = (run.id, run.kind, run.name, run.created, json_text(run.about), json_text(run.result))
        with self.file.writing() as database:
            database.execute(_KEEP, row)  # not REPLACE, which would delete the run's cells
        return run

    def summaries(self) -> list[RunSummary]:
        """Summaries of all runs, the newest first."""
        with self.file.reading() as database:
            rows = database.execute(f"SELECT {_SUMMARY} FROM runs {_NEWEST_FIRST}").fetchall()
        return [run for row in rows if (run := self._readable(_summary, row))]

    def all(self, kind: str | None = None) -> list[Run]:
        """Runs with their results, the newest first; only those of `kind` if given."""
        where, values = ("WHERE kind = ?", (kind,)) if kind else ("", ())
        with self.file.reading() as database:
            rows = database.execute(f"SELECT {_RUN} FROM runs {where} {_NEWEST_FIRST}", values).fetchall()
        return [run for row in rows if (run := self._readable(_run, row))]

    def find(self, id: str) -> Run | None:  # noqa: A002 (it is what a run calls it)
        """The run with exactly this id, or None; None for a damaged one too."""
        with self.file.reading() as database:
            row = _row(database, id)
        return self._readable(_run, row) if row else None

    def get(self, reference: str) -> Run:
        """The run of an id, of a unique prefix of one, or the `last` run. UsageError if there is none, or several;
        DataError if it is damaged, but `last` is the last one that is not."""
        if reference == "last" and (last := self._last()):
            return last
        with self.file.reading() as database:
            row = _row(database, self._resolved(database, reference))
        assert row is not None  # in the same transaction
        try:
            return _run(row)
        except WRONG as error:
            raise DataError(
                f"{_called(row)} in {self.path} is damaged ({why(error)}): {_how_to_delete(row)}"
            ) from error

    def delete(self, reference: str) -> RunSummary:
        """Delete a run, named as for `get`, with its cells; returns its summary. A damaged one can be deleted too."""
        with self.file.writing() as database:
            run = self._resolved(database, reference)
            row = database.execute(f"SELECT {_SUMMARY} FROM runs WHERE id = ?", (run,)).fetchone()
            database.execute("DELETE FROM runs WHERE id = ?", (run,))
        try:
            return _summary(row)
        except WRONG:
            return RunSummary(run, "damaged run", "", "", {})

    def _last(self) -> Run | None:
        """The newest run that can be read."""
        with self.file.reading() as database:
            for reference in _ids(database):
                if (row := _row(database, reference)) and (run := self._readable(_run, row)):
                    return run
        return None

    def _readable(self, read: Callable[[Sequence[Any]], T], row: Sequence[Any]) -> T | None:
        """The run of a row; None, and a warning, if the row is damaged."""
        return readable(lambda: read(row), _called(row), self.path, f"it was skipped; {_how_to_delete(row)}")

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


def _row(database: sqlite3.Connection, reference: str) -> tuple[Any, ...] | None:
    row: tuple[Any, ...] | None = database.execute(f"SELECT {_RUN} FROM runs WHERE id = ?", (reference,)).fetchone()
    return row


def _run(row: Sequence[Any]) -> Run:
    """The run of a row. Raises one of `WRONG` if the row is damaged."""
    about, result = json.loads(row[4]), json.loads(row[5])
    if not (isinstance(about, dict) and isinstance(result, dict)):
        raise TypeError("its JSON is no object")
    return Run(*_texts(row), about, result)


def _summary(row: Sequence[Any]) -> RunSummary:
    """The summary of a row. Raises one of `WRONG` if the row is damaged."""
    if not row[4]:
        raise ValueError("its JSON is torn or no object")
    headline = json.loads(row[5] or "{}")
    shown = ("done", "expected") if row[1] == "sweep" else ("auroc", "layer")
    if headline and not all(isinstance(headline[name], int | float) for name in shown):
        raise TypeError("its result has other types")
    return RunSummary(*_texts(row), headline)


def _texts(row: Sequence[Any]) -> tuple[str, str, str, str]:
    """The columns that are text."""
    reference, kind, name, created = row[:4]
    if not all(isinstance(text, str) for text in row[:4]):
        raise TypeError("a name that is no text")
    if not is_id(reference):
        raise ValueError("an id that could leave its folder")
    return reference, kind, name, created


def _called(row: Sequence[Any]) -> str:
    return f"run {str(row[0])!r}"


def _how_to_delete(row: Sequence[Any]) -> str:
    return f"`localprobe runs delete {shlex.quote(str(row[0]))}` removes it"
