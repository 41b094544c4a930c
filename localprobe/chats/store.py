"""Chats at rest: one SQLite file, written while the answers stream, so that nothing said is lost."""

from __future__ import annotations

import json
import math
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from localprobe.chats.turns import Chat, Reading, SteeredPart, Turn
from localprobe.errors import LocalprobeError
from localprobe.store.damaged import WRONG, readable, why
from localprobe.store.json_values import from_json
from localprobe.store.sqlite import Schema, SqliteFile


def _format_1(database: sqlite3.Connection) -> None:
    """Chats and their turns, as 0.1.0 kept them."""
    database.execute(
        """
        CREATE TABLE chat (
            id TEXT PRIMARY KEY, title TEXT NOT NULL, model TEXT NOT NULL, system TEXT NOT NULL, leaf TEXT,
            created REAL NOT NULL, updated REAL NOT NULL
        )
        """
    )
    database.execute(
        """
        CREATE TABLE turn (
            id TEXT PRIMARY KEY, chat TEXT NOT NULL REFERENCES chat (id) ON DELETE CASCADE, parent TEXT,
            role TEXT NOT NULL, content TEXT NOT NULL, created REAL NOT NULL, about TEXT NOT NULL
        )
        """
    )
    database.execute("CREATE INDEX turn_chat ON turn (chat, created)")


T = TypeVar("T")
SCHEMA = Schema("chats", (_format_1,))
_WAIT = 5.0  # seconds
_EVERY = 0.8  # seconds between two writes of an answer that grows
_FAR = 1e11  # seconds since 1970: every system can write such a time as a date


@dataclass(frozen=True, slots=True)
class Summary:
    """A chat in a list."""

    id: str
    title: str
    model: str
    updated: float
    turns: int


class Chats:
    """The chats of `chats.sqlite` in the user's data folder. Raises LocalprobeError if the file cannot be used.

    A damaged row does not hide the others: a chat or a turn is skipped, with a `DamagedRow` warning.
    """

    def __init__(self, path: Path | None = None) -> None:
        from localprobe.store.paths import data

        self._file = SqliteFile(path or data() / "chats.sqlite", SCHEMA, wait=_WAIT)
        with self._file.writing():
            pass  # raises now, not after the first answer, if the file cannot be written

    @property
    def path(self) -> Path:
        return self._file.path

    def find(self, search: str = "") -> list[Summary]:
        """Chats whose title or messages hold every word of `search`, the last used one first."""
        words = search.split()
        inside = "EXISTS (SELECT 1 FROM turn WHERE chat = chat.id AND content LIKE ? ESCAPE '\\')"
        matches = " AND ".join([f"(title LIKE ? ESCAPE '\\' OR {inside})"] * len(words))
        patterns = [pattern for word in words for pattern in [_pattern(word)] * 2]
        with self._file.reading() as database:
            rows = database.execute(
                "SELECT id, title, model, updated, (SELECT count(*) FROM turn WHERE chat = chat.id) FROM chat "
                f"{'WHERE ' + matches if words else ''} ORDER BY updated DESC",
                patterns,
            ).fetchall()
        return [chat for row in rows if (chat := self._readable(partial(_summary, row), row))]

    def read(self, id: str) -> Chat:  # noqa: A002 (it is the column's name)
        """A chat with all of its turns. LocalprobeError if there is none, or its row is damaged.

        A turn whose scores and knobs are damaged keeps its text; the turns after one that is lost follow the one before
        it.
        """
        with self._file.reading() as database:
            row = database.execute(
                "SELECT title, model, system, leaf, id, created, updated FROM chat WHERE id = ?", [id]
            ).fetchone()
            if row is None:
                raise LocalprobeError(f"there is no chat {id} in {self.path}")
            turns = database.execute(
                "SELECT role, content, parent, id, created, about FROM turn WHERE chat = ? ORDER BY created, rowid",
                [id],
            ).fetchall()
        try:
            chat = from_json(Chat, _named(Chat, row))
        except WRONG as error:
            raise LocalprobeError(f"chat {id} in {self.path} is damaged ({why(error)})") from error
        lost: dict[str, str | None] = {}
        for *columns, about in turns:
            turn = self._turn(columns, about)
            if turn is None:
                lost[str(columns[3])] = columns[2]
            else:
                chat.turns[turn.id] = turn
        _relink(chat, lost)
        return chat

    def _turn(self, columns: list[Any], about: Any) -> Turn | None:
        """A turn; one whose own row is damaged is None."""
        row, kept = f"message {columns[3]!r} of a chat", "its text was kept, without scores"
        read = partial(from_json, Turn, _named(Turn, columns))
        turn = readable(read, row, self.path)
        if turn and not readable(partial(_describe, turn, about), row, self.path, kept) and turn.role == "assistant":
            turn.pieces, turn.scores = [turn.content], [math.nan]
        return turn

    def _readable(self, read: Callable[[], T], row: Sequence[Any]) -> T | None:
        return readable(read, f"chat {row[0]!r}", self.path)

    def write(self, chat: Chat, *turns: Turn) -> None:
        """Write a chat's own row and some of its turns, in one transaction. All of its turns are written if
        the file lacks the chat: it was moved or deleted, or another process deleted the chat."""
        chat.updated = time.time()
        with self._file.writing() as database:
            if database.execute("SELECT 1 FROM chat WHERE id = ?", [chat.id]).fetchone() is None:
                turns = tuple(chat.turns.values())
            database.execute(
                "INSERT INTO chat (id, title, model, system, leaf, created, updated) VALUES (?, ?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (id) DO UPDATE SET title = excluded.title, model = excluded.model, "
                "system = excluded.system, leaf = excluded.leaf, updated = excluded.updated",
                [chat.id, chat.title, chat.model, chat.system, chat.leaf, chat.created, chat.updated],
            )
            for turn in turns:
                database.execute(
                    "INSERT INTO turn (id, chat, parent, role, content, created, about) VALUES (?, ?, ?, ?, ?, ?, ?) "
                    "ON CONFLICT (id) DO UPDATE SET content = excluded.content, about = excluded.about",
                    [turn.id, chat.id, turn.parent, turn.role, turn.content, turn.created, _about(turn)],
                )

    def remove(self, turn: Turn) -> None:
        """Delete one turn, an answer that never began."""
        with self._file.writing() as database:
            database.execute("DELETE FROM turn WHERE id = ?", [turn.id])

    def delete(self, id: str) -> None:  # noqa: A002 (it is the column's name)
        """Delete a chat and its turns."""
        with self._file.writing() as database:
            database.execute("DELETE FROM chat WHERE id = ?", [id])


def _summary(row: Sequence[Any]) -> Summary:
    """The chat of a row. Raises one of `WRONG` if the row is damaged."""
    summary = from_json(Summary, _named(Summary, row))
    if not 0 <= summary.updated < _FAR:
        raise ValueError("its time is none")
    return summary


def _pattern(word: str) -> str:
    escaped = word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


def _about(turn: Turn) -> str:
    """The fields of a turn that have no column, as JSON."""
    return json.dumps(  # not strict: an alpha that overflows adds infinity to a score
        {
            "pieces": turn.pieces,
            "scores": [None if math.isnan(score) else round(score, 5) for score in turn.scores],
            "parts": [asdict(part) for part in turn.parts],
            "reading": asdict(turn.reading) if turn.reading else None,
            "reason": turn.reason,
            "beside": turn.beside,
            "how": turn.details,
        },
        ensure_ascii=False,
    )


@dataclass(frozen=True, slots=True)
class _About:
    """The fields of a turn that have no column."""

    pieces: list[str]
    scores: list[float | None]
    parts: list[SteeredPart]
    reading: Reading | None
    reason: str
    beside: str | None
    how: dict[str, Any]


def _describe(turn: Turn, about: Any) -> bool:
    """Add to a turn what its row says in JSON. Raises one of `WRONG`, with the turn unchanged, if that is damaged."""
    fields = from_json(_About, json.loads(about))
    if len(fields.pieces) != len(fields.scores):
        raise ValueError("its tokens and their scores differ in number")
    told = Turn("assistant", "", details=fields.how)
    _ = told.gates, told.alerts  # raise
    turn.pieces = fields.pieces
    turn.scores = [math.nan if score is None else score for score in fields.scores]
    turn.parts, turn.reading, turn.reason = fields.parts, fields.reading, fields.reason
    turn.beside, turn.details = fields.beside, fields.how
    return True


def _named(kind: type[Chat | Turn | Summary], values: Sequence[Any]) -> dict[str, Any]:
    """Columns by the names of the fields of a dataclass, in their order."""
    return dict(zip((field.name for field in fields(kind)), values, strict=False))


def _relink(chat: Chat, lost: Mapping[str, Any]) -> None:
    """Let every turn follow one that is there, or none, without a circle."""
    for turn in chat.turns.values():
        turn.parent = _kept(turn.parent, chat, lost)
    chat.leaf = _kept(chat.leaf, chat, lost)
    for turn in chat.turns.values():
        above, at = {turn.id}, turn
        while at.parent is not None and at.parent in chat.turns:
            if at.parent in above:
                at.parent = None
                break
            at = chat.turns[at.parent]
            above.add(at.id)


def _kept(reference: str | None, chat: Chat, lost: Mapping[str, Any]) -> str | None:
    """A turn, or the nearest one before it that is not lost."""
    passed = set()
    while reference is not None and reference in lost and reference not in passed:
        passed.add(reference)
        reference = lost[reference]
    return reference if isinstance(reference, str) or reference is None else None


class ChatWriter:
    """Writes turns into `chats` while an answer streams; with None it writes nothing.

    It never raises: `trouble` holds the error, and what could not be written is written with the next turns.
    """

    def __init__(self, chats: Chats | None) -> None:
        self.chats = chats
        self.trouble: LocalprobeError | None = None
        """Why the last write failed; None if it did not."""
        self._written = 0.0
        self._unwritten: dict[str, Turn] = {}

    @property
    def due(self) -> bool:
        """Whether it is time to write a growing answer again."""
        return time.monotonic() - self._written > _EVERY

    def write(self, chat: Chat, *turns: Turn) -> None:
        """Write some turns of a chat, and those that could not be written before."""
        self._written = time.monotonic()
        self._unwritten.update({turn.id: turn for turn in turns})
        if self.chats is None:
            return
        try:
            self.chats.write(chat, *self._unwritten.values())
        except LocalprobeError as error:
            self.trouble = error
        else:
            self.trouble = None
            self._unwritten.clear()

    def remove(self, turn: Turn) -> None:
        """Take out an answer that never began."""
        self._unwritten.pop(turn.id, None)
        if self.chats is not None:
            with suppress(LocalprobeError):  # an empty answer that stays in the file does no harm
                self.chats.remove(turn)
