"""Changing the JSON of stored runs: building blocks of `localprobe.store.migrations`."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from localprobe.store.sqlite import json_text


class StoredRun(NamedTuple):
    """The two parts of a run that are stored as JSON."""

    about: dict[str, Any]
    result: dict[str, Any]


Change: TypeAlias = Callable[[StoredRun], StoredRun]
"""A pure function from the old JSON of a run to the new one."""


def rewrite_runs(database: sqlite3.Connection, changes: Mapping[str, Change]) -> None:
    """Change the JSON of all runs whose kind is a key of `changes`.

    A run that its function cannot read (torn JSON, a value that is missing or of another type) is left unchanged, so
    that it does not make the whole store unusable.
    """
    for kind, change in changes.items():
        rows = database.execute("SELECT rowid FROM runs WHERE kind = ?", (kind,)).fetchall()
        for (row,) in rows:  # results are large: one at a time
            about, result = database.execute("SELECT about, result FROM runs WHERE rowid = ?", (row,)).fetchone()
            try:
                changed = change(StoredRun(json.loads(about), json.loads(result)))
            except (KeyError, TypeError, ValueError, IndexError, AttributeError, RecursionError):
                continue
            database.execute(
                "UPDATE runs SET about = ?, result = ? WHERE rowid = ?",
                (json_text(changed.about), json_text(changed.result), row),
            )
