"""localprobe's SQLite files: opened, migrated to the current format, read and written in transactions.

    file = SqliteFile(path, Schema("runs", (make_table, add_column)))
    with file.writing() as database:
        database.execute("INSERT INTO ...")

Transactions are atomic even if the process is killed or the disk fills up, and concurrent processes are safe. Failures
raise LocalprobeError, naming the file.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from localprobe.errors import LocalprobeError
from localprobe.store.paths import data

_PRIVATE = 0o600
_text = partial(str, encoding="utf-8", errors="replace")
"""Decodes text columns: bytes that are no UTF-8 must not make a whole table unreadable."""

Migration: TypeAlias = Callable[[sqlite3.Connection], None]


@dataclass(frozen=True, slots=True)
class Schema:
    """The schema of one kind of file."""

    holds: str
    """A plural for error messages: `runs`, `chats`."""
    migrations: tuple[Migration, ...]
    """The i-th migrates a file from format i to format i + 1; a new file goes through all of them. Append only; never
    change a released one."""

    @property
    def format(self) -> int:
        """The current format. A file stores its own as `PRAGMA user_version`; a new one has 0."""
        return len(self.migrations)


class SqliteFile:
    """One file of a schema, created when it is first written. A writer waits up to `wait` seconds for another one.

    Each transaction opens the file again. So it may be used from any thread, and a file that was deleted or replaced
    in the meantime is not written to any more.
    """

    def __init__(self, path: Path, schema: Schema, *, wait: float = 30.0) -> None:
        self.path, self._schema, self._wait = path, schema, wait

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A transaction that reads. A missing file reads as empty and is not created. Raises LocalprobeError."""
        with self._transaction("DEFERRED", create=False, fails="cannot read the {} in {}: {}") as database:
            yield database

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that writes, rolled back if the block raises. Raises LocalprobeError."""
        fails = "cannot write the {} in {}: {}; nothing was changed there"
        with self._transaction("IMMEDIATE", create=True, fails=fails) as database:
            yield database

    @contextmanager
    def _transaction(self, mode: str, *, create: bool, fails: str) -> Iterator[sqlite3.Connection]:
        try:
            database = self._open(create)
        except (sqlite3.Error, OSError) as error:
            raise LocalprobeError(f"cannot open the {self._schema.holds} in {self.path}: {error}") from error
        try:
            with closing(database), _transaction(database, mode):
                yield database
        except sqlite3.Error as error:
            raise LocalprobeError(fails.format(self._schema.holds, self.path, error)) from error

    def _open(self, create: bool) -> sqlite3.Connection:
        if create:
            self._make_folder()
            return self._prepared(self._connect("rwc"))
        if not self.path.exists():
            return self._prepared(_in_memory())
        writable = os.access(self.path, os.W_OK) and os.access(self.path.parent, os.W_OK)
        return self._prepared(self._connect("rw" if writable else "ro"), in_place=writable)

    def _make_folder(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LocalprobeError(f"cannot make the folder {self.path.parent}: {error.strerror or error}") from error

    def _connect(self, mode: str) -> sqlite3.Connection:
        if mode != "ro":
            self._keep_private(mode)
        address = f"{self.path.absolute().as_uri()}?mode={mode}"
        database = sqlite3.connect(address, timeout=self._wait, isolation_level=None, uri=True)
        database.text_factory = _text
        return database

    def _keep_private(self, mode: str) -> None:
        """Let nobody else read what was said: a new file is the user's alone, and so is an old one in localprobe's own
        folder. One elsewhere may have been shared on purpose. SQLite gives its journals the permissions of the file."""
        if mode == "rwc":
            with suppress(OSError):  # it exists, or SQLite says why it cannot
                os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, _PRIVATE))
        with suppress(OSError):  # another user's file
            if self.path.absolute().is_relative_to(data()) and self.path.stat().st_mode & 0o077:
                self.path.chmod(_PRIVATE)

    def _prepared(self, database: sqlite3.Connection, *, in_place: bool = True) -> sqlite3.Connection:
        """A connection to a file of the current format: this one, or a copy in memory if it must not be changed."""
        try:
            if not in_place and _format(database) < self._schema.format:
                copy = _in_memory()
                with closing(database):
                    database.backup(copy)
                database = copy
            self._migrate(database)
            database.execute("PRAGMA foreign_keys = ON")
        except BaseException:
            database.close()
            raise
        return database

    def _migrate(self, database: sqlite3.Connection) -> None:
        """Migrate a file to the current format; another process may do some of the steps at the same time."""
        while (current := _format(database)) != self._schema.format:
            if current > self._schema.format:
                raise LocalprobeError(
                    f"{self.path} was written by a newer localprobe (format {current}; this one reads "
                    f"{self._schema.format}): upgrade localprobe, or move the file away"
                )
            with _transaction(database, "IMMEDIATE"):
                if _format(database) == current:  # else another process did this step
                    self._schema.migrations[current](database)
                    database.execute(f"PRAGMA user_version = {current + 1}")


def json_text(value: Mapping[str, Any]) -> str:
    """A value as JSON text for a column. ValueError for NaN and infinity, which JSON does not have."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _in_memory() -> sqlite3.Connection:
    return sqlite3.connect(":memory:", isolation_level=None)


def _format(database: sqlite3.Connection) -> int:
    (number,) = database.execute("PRAGMA user_version").fetchone()
    return int(number)


@contextmanager
def _transaction(database: sqlite3.Connection, mode: str) -> Iterator[None]:
    database.execute(f"BEGIN {mode}")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):  # SQLite has already rolled back if the disk is full
            database.execute("ROLLBACK")
        raise
