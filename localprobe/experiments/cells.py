"""The cells of sweeps, in the same SQLite file as their runs: one row per cell, written when it is finished.

A cell is written once and as a whole: if two processes generate the same one, the first to finish counts. Measures are
added to it later. Deleting a run deletes its cells.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from localprobe.engine import IntArray
from localprobe.experiments.grid import Cell
from localprobe.store.damaged import readable
from localprobe.store.json_values import from_json, to_json
from localprobe.store.runs import Runs
from localprobe.store.sqlite import json_text

T = TypeVar("T")
_COORDINATES = tuple(field.name for field in fields(Cell))
_ANSWER = ("text", "reason", "ids", "scores")
_COLUMNS = (*_COORDINATES, *_ANSWER, "measures", "judgement")


@dataclass(frozen=True, slots=True)
class CellMeasures:
    """Measures of an answer by the unsteered model, see `localprobe.experiments.model_measures`."""

    nll: float | None
    """Mean negative log-likelihood of the answer's tokens, in nats; None for an answer without tokens."""
    readings: Mapping[str, float]
    """Mean projection of the answer's residuals with nothing added, under `vector:layer`."""
    kl: float
    """How far steering moved the distribution of the first token, in nats."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """The judgement of an answer."""

    score: int | None
    """None if the reply names no score of the rubric."""
    reply: str
    judge: str
    """The model that judged."""


@dataclass(frozen=True, slots=True, eq=False)
class CellAnswer:
    """The answer of a cell."""

    cell: Cell
    text: str
    reason: str
    """Why it ended, see `localprobe.generation.events.Reason`."""
    ids: IntArray
    """(n,) int32: the answer's tokens, without the one that ended it."""
    scores: Mapping[str, float]
    """Mean projection of the answer's residuals while steered, under `vector:layer`."""
    measures: CellMeasures | None = None
    """None until measured."""
    judgement: Judgement | None = None
    """None until judged."""


class Cells:
    """The cells of one run, which must be in the store. Raises LocalprobeError where the store fails."""

    def __init__(self, runs: Runs, run: str) -> None:
        self._file, self.run = runs.file, run

    def mend(self) -> None:
        """Delete damaged rows, with a `DamagedRow` warning, so that their cells are generated again, and are the same
        as before."""
        with self._file.writing() as database:
            rows = database.execute(f"SELECT rowid, {', '.join(_COLUMNS)} FROM cells WHERE run = ?", (self.run,))
            damaged = [row[0] for row in rows.fetchall() if self._readable(row[1:], "it is generated again") is None]
            database.executemany("DELETE FROM cells WHERE rowid = ?", [(row,) for row in damaged])

    def keys(self) -> set[str]:
        """Keys of the finished cells."""
        with self._file.reading() as database:
            return {key for (key,) in database.execute("SELECT key FROM cells WHERE run = ?", (self.run,))}

    def write(self, answers: Sequence[CellAnswer]) -> int:
        """Write answers in one transaction; returns how many were new."""
        rows = [(self.run, *_values(answer)) for answer in answers]
        with self._file.writing() as database:
            return database.executemany(_insert("OR IGNORE"), rows).rowcount

    def adopt(self, cells: Iterable[Cell]) -> None:
        """Copy answers to these cells from other runs of this store, so that an experiment can be extended."""
        with self._file.writing() as database:
            for cell in cells:
                own = {name: value for name, value in asdict(cell).items() if name != "key"}
                columns = ", ".join(f":{name}" if name in own else name for name in _COLUMNS)
                database.execute(
                    f"INSERT OR IGNORE INTO cells (run, {', '.join(_COLUMNS)}) "
                    f"SELECT :run, {columns} FROM cells WHERE key = :key AND run != :run LIMIT 1",
                    {**own, "key": cell.key, "run": self.run},
                )

    def measured(self, measures: Mapping[str, CellMeasures]) -> None:
        """Add measures to cells, by key."""
        self._update("measures", measures)

    def judged(self, judgements: Mapping[str, Judgement]) -> None:
        """Add judgements to cells, by key."""
        self._update("judgement", judgements)

    def read(self) -> list[CellAnswer]:
        """Every answer, ordered by model, prompt, arm and strength. A damaged row is skipped, with a `DamagedRow`
        warning."""
        order = "model, engine, scenario, pressure DESC, arm, pole, vector, layer, dose, share, steering, sample, key"
        with self._file.reading() as database:
            query = f"SELECT {', '.join(_COLUMNS)} FROM cells WHERE run = ? ORDER BY {order}"
            rows = database.execute(query, (self.run,)).fetchall()
        return [answer for row in rows if (answer := self._readable(row, "it was skipped"))]

    def _readable(self, row: Sequence[Any], advice: str) -> CellAnswer | None:
        return _readable(row, self.run, self._file.path, advice)

    def _update(self, column: str, values: Mapping[str, CellMeasures] | Mapping[str, Judgement]) -> None:
        rows = [(_text(value), self.run, key) for key, value in values.items()]
        with self._file.writing() as database:
            database.executemany(f"UPDATE cells SET {column} = ? WHERE run = ? AND key = ?", rows)


def merge(source: sqlite3.Connection, target: sqlite3.Connection, runs: Collection[str], path: Path) -> int:
    """Copy the cells of runs that `target` has, with their measures; returns how many cells are new.

    `path` is the source's file, for the `DamagedRow` warning of a row that is skipped.
    """
    new = 0
    for row in source.execute(f"SELECT run, {', '.join(_COLUMNS)} FROM cells"):
        if row[0] not in runs or _readable(row[1:], row[0], path, "it was skipped") is None:
            continue
        new += target.execute(_insert("OR IGNORE"), row).rowcount
        target.execute(
            "UPDATE cells SET measures = coalesce(measures, ?), judgement = coalesce(judgement, ?) "
            "WHERE run = ? AND key = ?",
            (*row[-2:], *row[:2]),
        )
    return new


def _insert(conflict: str) -> str:
    return f"INSERT {conflict} INTO cells (run, {', '.join(_COLUMNS)}) VALUES ({', '.join('?' * (len(_COLUMNS) + 1))})"


def _values(answer: CellAnswer) -> tuple[Any, ...]:
    coordinates = asdict(answer.cell)
    return (
        *(coordinates[name] for name in _COORDINATES),
        answer.text,
        answer.reason,
        answer.ids.astype("<i4").tobytes(),
        _text(answer.scores),
        answer.measures and _text(answer.measures),
        answer.judgement and _text(answer.judgement),
    )


def _readable(row: Sequence[Any], run: str, path: Path, advice: str) -> CellAnswer | None:
    """The answer of a row; None, and a warning, if the row is damaged."""
    return readable(lambda: _answer(row), f"cell {str(row[0])[:12]} of run {run}", path, advice)


def _answer(row: Sequence[Any]) -> CellAnswer:
    """The answer of a row. Raises one of `localprobe.store.damaged.WRONG` if the row is damaged."""
    values = dict(zip(_COLUMNS, row, strict=True))
    values["pressure"] = bool(values["pressure"])
    return CellAnswer(
        from_json(Cell, {name: values[name] for name in _COORDINATES}),
        from_json(str, values["text"]),
        from_json(str, values["reason"]),
        np.frombuffer(values["ids"], dtype="<i4").astype(np.int32),
        from_json(dict[str, Any], json.loads(values["scores"])),
        _read(CellMeasures, values["measures"]),
        _read(Judgement, values["judgement"]),
    )


def _read(kind: type[T], text: str | None) -> T | None:
    return None if text is None else from_json(kind, json.loads(text))


def _text(value: Any) -> str:
    return json_text(to_json(value))
