"""Chats at rest: one SQLite file, written while the answers stream, so that nothing said is lost."""

from __future__ import annotations

import json
import math
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from localprobe.chats.turns import Chat, KnobRecord, Part, Reading, Turn
from localprobe.errors import LocalprobeError

VERSION = 1
_SCHEMA = """
CREATE TABLE chat (
    id TEXT PRIMARY KEY, title TEXT NOT NULL, model TEXT NOT NULL, system TEXT NOT NULL, leaf TEXT,
    created REAL NOT NULL, updated REAL NOT NULL
);
CREATE TABLE turn (
    id TEXT PRIMARY KEY, chat TEXT NOT NULL REFERENCES chat (id) ON DELETE CASCADE, parent TEXT,
    role TEXT NOT NULL, content TEXT NOT NULL, created REAL NOT NULL, about TEXT NOT NULL
);
CREATE INDEX turn_chat ON turn (chat, created);
"""


@dataclass(frozen=True, slots=True)
class Summary:
    """A chat in a list."""

    id: str
    title: str
    model: str
    updated: float
    turns: int


class Chats:
    """The chats of `chats.sqlite` in the user's data folder. LocalprobeError says what is wrong with the file."""

    def __init__(self, path: Path | None = None) -> None:
        from localprobe.store.paths import data

        self.path = path or data() / "chats.sqlite"
        with self._errors("open"):
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise LocalprobeError(f"cannot make the folder {self.path.parent}: {error.strerror}") from error
            self._connect()

    def find(self, search: str = "") -> list[Summary]:
        """Chats whose title or messages hold every word of `search`, the last used one first."""
        words = search.split()
        inside = "EXISTS (SELECT 1 FROM turn WHERE chat = chat.id AND content LIKE ? ESCAPE '\\')"
        found = " AND ".join([f"(title LIKE ? ESCAPE '\\' OR {inside})"] * len(words))
        patterns = [pattern for word in words for pattern in [_pattern(word)] * 2]
        with self._errors("read"):
            rows = self._database.execute(
                "SELECT id, title, model, updated, (SELECT count(*) FROM turn WHERE chat = chat.id) FROM chat "
                f"{'WHERE ' + found if words else ''} ORDER BY updated DESC",
                patterns,
            ).fetchall()
        return [Summary(*row) for row in rows]

    def read(self, id: str) -> Chat:  # noqa: A002 (it is the column's name)
        """A chat with all of its turns."""
        with self._errors("read"):
            row = self._database.execute(
                "SELECT title, model, system, leaf, id, created, updated FROM chat WHERE id = ?", [id]
            ).fetchone()
            if row is None:
                raise LocalprobeError(f"there is no chat {id} in {self.path}")
            turns = self._database.execute(
                "SELECT role, content, parent, id, created, about FROM turn WHERE chat = ? ORDER BY created, rowid",
                [id],
            ).fetchall()
        chat = Chat(*row)
        for *columns, about in turns:
            turn = _turn(columns, about)
            chat.turns[turn.id] = turn
        return chat

    def write(self, chat: Chat, *turns: Turn) -> None:
        """Write a chat's own row and some of its turns, all or nothing. All of it goes into a new file if the old one
        was moved or deleted meanwhile, and into the old one if another process has deleted the chat there."""
        chat.updated = time.time()
        with self._errors("write"):
            if self._gone():
                self.close()
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._connect()
        with self._errors("write"), self._transaction():
            if self._database.execute("SELECT 1 FROM chat WHERE id = ?", [chat.id]).fetchone() is None:
                turns = tuple(chat.turns.values())
            self._database.execute(
                "INSERT INTO chat (id, title, model, system, leaf, created, updated) VALUES (?, ?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (id) DO UPDATE SET title = excluded.title, model = excluded.model, "
                "system = excluded.system, leaf = excluded.leaf, updated = excluded.updated",
                [chat.id, chat.title, chat.model, chat.system, chat.leaf, chat.created, chat.updated],
            )
            for turn in turns:
                self._database.execute(
                    "INSERT INTO turn (id, chat, parent, role, content, created, about) VALUES (?, ?, ?, ?, ?, ?, ?) "
                    "ON CONFLICT (id) DO UPDATE SET content = excluded.content, about = excluded.about",
                    [turn.id, chat.id, turn.parent, turn.role, turn.content, turn.created, _about(turn)],
                )

    def remove(self, turn: Turn) -> None:
        """Delete one turn, an answer that never began."""
        with self._errors("write"):
            self._database.execute("DELETE FROM turn WHERE id = ?", [turn.id])

    def delete(self, id: str) -> None:  # noqa: A002 (it is the column's name)
        """Delete a chat and its turns."""
        with self._errors("write"), self._transaction():
            self._database.execute("DELETE FROM chat WHERE id = ?", [id])

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    def _connect(self) -> None:
        self._database = sqlite3.connect(self.path, timeout=5, isolation_level=None)
        self._prepare()
        self._file = self.path.stat().st_ino

    def _gone(self) -> bool:
        """Whether the path names another file now, or none: SQLite would go on writing into one that nobody finds."""
        try:
            return self.path.stat().st_ino != self._file
        except OSError:
            return True

    def _prepare(self) -> None:
        """Set up the connection, and the tables of a new file."""
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = NORMAL")
        self._database.execute("PRAGMA foreign_keys = ON")
        version = self._database.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise LocalprobeError(
                f"{self.path} was written by a newer localprobe (version {version}; this one reads {VERSION}): "
                "upgrade localprobe, or move the file away"
            )
        if version == 0:
            with self._transaction():
                if self._database.execute("PRAGMA user_version").fetchone()[0] == 0:  # no other process was faster
                    for statement in _SCHEMA.split(";"):
                        self._database.execute(statement)
                    self._database.execute(f"PRAGMA user_version = {VERSION}")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    @contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise LocalprobeError(f"cannot {doing} the chats in {self.path}: {error}") from error


def _pattern(word: str) -> str:
    escaped = word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


def _about(turn: Turn) -> str:
    """All of a turn that has no column of its own, as JSON."""
    return json.dumps(
        {
            "pieces": turn.pieces,
            "scores": [None if math.isnan(score) else round(score, 5) for score in turn.scores],
            "parts": [asdict(part) for part in turn.parts],
            "reading": asdict(turn.reading) if turn.reading else None,
            "reason": turn.reason,
            "beside": turn.beside,
            "how": turn.how,
        },
        ensure_ascii=False,
    )


def _turn(columns: list[Any], about: str) -> Turn:
    known = json.loads(about)
    turn = Turn(*columns)
    turn.pieces = known["pieces"]
    turn.scores = [math.nan if score is None else score for score in known["scores"]]
    turn.parts = [
        Part(**{**each, "knobs": tuple(KnobRecord(**knob) for knob in each["knobs"])}) for each in known["parts"]
    ]
    turn.reading = Reading(**known["reading"]) if known["reading"] else None
    turn.reason, turn.beside, turn.how = known["reason"], known["beside"], known["how"]
    return turn
