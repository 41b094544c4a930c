"""Chats at rest: one SQLite file, written while the answers stream, so that nothing said is lost."""

from __future__ import annotations

import json
import math
import sqlite3
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from localprobe.chats.turns import Chat, KnobRecord, Reading, SteeredPart, Turn
from localprobe.errors import LocalprobeError
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


SCHEMA = Schema("chats", (_format_1,))
_WAIT = 5.0  # seconds


@dataclass(frozen=True, slots=True)
class Summary:
    """A chat in a list."""

    id: str
    title: str
    model: str
    updated: float
    turns: int


class Chats:
    """The chats of `chats.sqlite` in the user's data folder. Raises LocalprobeError if the file cannot be used."""

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
        return [Summary(*row) for row in rows]

    def read(self, id: str) -> Chat:  # noqa: A002 (it is the column's name)
        """A chat with all of its turns."""
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
        chat = Chat(*row)
        for *columns, about in turns:
            turn = _turn(columns, about)
            chat.turns[turn.id] = turn
        return chat

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


def _turn(columns: list[Any], about: str) -> Turn:
    fields = json.loads(about)
    turn = Turn(*columns)
    turn.pieces = fields["pieces"]
    turn.scores = [math.nan if score is None else score for score in fields["scores"]]
    turn.parts = [
        SteeredPart(**{**part, "knobs": tuple(KnobRecord(**knob) for knob in part["knobs"])})
        for part in fields["parts"]
    ]
    turn.reading = Reading(**fields["reading"]) if fields["reading"] else None
    turn.reason, turn.beside, turn.details = fields["reason"], fields["beside"], fields["how"]
    return turn
