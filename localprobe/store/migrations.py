"""The formats of the store of runs: one function for each step from a format to the next.

A step changes tables by SQL, and stored JSON by pure functions, one for each kind of run (`localprobe.store.changes`).
The functions of a released step never change. Tests run all of them on a store that 0.1.0 wrote
(`tests/store/data`).
"""

from __future__ import annotations

import sqlite3

from localprobe.store import results_0_1_0
from localprobe.store.changes import rewrite_runs


def _format_1(database: sqlite3.Connection) -> None:
    """The table of runs, as in 0.1.0."""
    database.execute(
        """
        CREATE TABLE IF NOT EXISTS runs (
            id TEXT PRIMARY KEY,
            kind TEXT NOT NULL,
            name TEXT NOT NULL,
            created TEXT NOT NULL,
            about TEXT NOT NULL,
            result TEXT NOT NULL
        )
        """
    )


def _format_2(database: sqlite3.Connection) -> None:
    """Results in the form of the dataclasses, and the table of cells, which 0.1.0 created with the first sweep."""
    database.execute(
        """
        CREATE TABLE IF NOT EXISTS cells (
            run TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
            key TEXT NOT NULL,
            stream TEXT NOT NULL,
            model TEXT NOT NULL,
            engine TEXT NOT NULL,
            label TEXT NOT NULL,
            arm TEXT NOT NULL,
            scenario TEXT NOT NULL,
            pressure INTEGER NOT NULL,
            pole TEXT NOT NULL,
            vector TEXT NOT NULL,
            layer INTEGER,
            dose REAL NOT NULL,
            alpha REAL NOT NULL,
            sample INTEGER NOT NULL,
            text TEXT NOT NULL,
            reason TEXT NOT NULL,
            ids BLOB NOT NULL,
            scores TEXT NOT NULL,
            measures TEXT,
            judgement TEXT,
            PRIMARY KEY (run, key)
        )
        """
    )
    database.execute("CREATE INDEX IF NOT EXISTS cells_by_key ON cells (key)")
    rewrite_runs(database, results_0_1_0.CHANGES)


def _format_3(database: sqlite3.Connection) -> None:
    """Cells of ablations and of steering expressions: no dose and no alpha, but an operator, a share and a text. SQLite
    cannot drop NOT NULL from a column, so the table is made again."""
    database.execute("ALTER TABLE cells RENAME TO cells_2")
    database.execute("DROP INDEX IF EXISTS cells_by_key")
    database.execute(
        """
        CREATE TABLE cells (
            run TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
            key TEXT NOT NULL,
            stream TEXT NOT NULL,
            model TEXT NOT NULL,
            engine TEXT NOT NULL,
            label TEXT NOT NULL,
            arm TEXT NOT NULL,
            scenario TEXT NOT NULL,
            pressure INTEGER NOT NULL,
            pole TEXT NOT NULL,
            vector TEXT NOT NULL,
            layer INTEGER,
            dose REAL,
            alpha REAL,
            sample INTEGER NOT NULL,
            operator TEXT NOT NULL,
            share REAL,
            steering TEXT NOT NULL,
            text TEXT NOT NULL,
            reason TEXT NOT NULL,
            ids BLOB NOT NULL,
            scores TEXT NOT NULL,
            measures TEXT,
            judgement TEXT,
            PRIMARY KEY (run, key)
        )
        """
    )
    same = (
        "run, key, stream, model, engine, label, arm, scenario, pressure, pole, vector, layer, dose, alpha, sample, "
        "text, reason, ids, scores, measures, judgement"
    )
    database.execute(
        f"INSERT INTO cells ({same}, operator, steering) "
        f"SELECT {same}, CASE WHEN vector = '' THEN '' ELSE 'add' END, '' FROM cells_2"
    )
    database.execute("DROP TABLE cells_2")
    database.execute("CREATE INDEX cells_by_key ON cells (key)")


MIGRATIONS = (_format_1, _format_2, _format_3)
