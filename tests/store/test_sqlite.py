"""SQLite files: made, migrated, locked, full, killed, replaced."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from localprobe.errors import LocalprobeError
from localprobe.store.sqlite import Schema, SqliteFile


def make_table(database: sqlite3.Connection) -> None:
    database.execute("CREATE TABLE words (word TEXT NOT NULL)")


def add_length(database: sqlite3.Connection) -> None:
    database.execute("ALTER TABLE words ADD COLUMN length INTEGER")
    database.execute("UPDATE words SET length = length(word)")


OLD, NEW = Schema("words", (make_table,)), Schema("words", (make_table, add_length))


def add(file: SqliteFile, word: str) -> None:
    with file.writing() as database:
        database.execute("INSERT INTO words (word) VALUES (?)", (word,))


def words(file: SqliteFile) -> list[str]:
    with file.reading() as database:
        return [word for (word,) in database.execute("SELECT word FROM words ORDER BY rowid")]


def lengths(file: SqliteFile) -> list[int]:
    with file.reading() as database:
        return [length for (length,) in database.execute("SELECT length FROM words ORDER BY rowid")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a folder?" / "words#1.sqlite"


@pytest.fixture
def file(path: Path) -> SqliteFile:
    return SqliteFile(path, NEW, wait=0.05)


# Reading and writing


def test_a_missing_file_reads_as_an_empty_one_and_is_made_by_the_first_write(file: SqliteFile) -> None:
    assert words(file) == []
    assert not file.path.parent.exists()
    add(file, "one")
    assert words(file) == ["one"]
    assert [each.name for each in file.path.parent.glob("*.sqlite")] == ["words#1.sqlite"]


def test_a_transaction_that_fails_leaves_nothing_and_its_own_error_comes_through(file: SqliteFile) -> None:
    add(file, "one")
    with pytest.raises(ZeroDivisionError), file.writing() as database:
        database.execute("DELETE FROM words")
        raise ZeroDivisionError
    add(file, "two")
    assert words(file) == ["one", "two"]


def test_an_error_of_sqlite_is_one_line_that_names_the_file(file: SqliteFile) -> None:
    add(file, "one")
    with pytest.raises(LocalprobeError) as caught, file.writing() as database:
        database.execute("INSERT INTO words (word) VALUES (NULL)")
    reason = "NOT NULL constraint failed: words.word; nothing was changed there"
    assert str(caught.value) == f"cannot write the words in {file.path}: {reason}"
    with pytest.raises(LocalprobeError, match=r"^cannot read .*: no such table: letters$"), file.reading() as database:
        database.execute("SELECT * FROM letters")


def test_a_file_that_is_no_database_is_told(file: SqliteFile) -> None:
    file.path.parent.mkdir()
    file.path.write_bytes(b"not a database, but long enough to be taken for one" * 20)
    with pytest.raises(LocalprobeError, match=r"^cannot open the words in .*: file is not a database$"):
        words(file)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    file = SqliteFile(tmp_path / "file" / "words.sqlite", NEW)
    with pytest.raises(LocalprobeError, match=r"^cannot make the folder .*file: File exists$"):
        add(file, "one")


def test_a_file_that_stays_locked_is_told_and_works_once_it_is_free(file: SqliteFile) -> None:
    add(file, "one")
    other = sqlite3.connect(file.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(LocalprobeError, match=r"^cannot write the words in .*: database is locked"):
        add(file, "two")
    assert words(file) == ["one"]
    other.close()
    add(file, "three")
    assert words(file) == ["one", "three"]


def test_a_full_disk_is_told_and_loses_nothing(file: SqliteFile) -> None:
    add(file, "one")
    with pytest.raises(LocalprobeError, match="is full; nothing was changed there"), file.writing() as database:
        database.execute("PRAGMA max_page_count = 4")
        database.execute("INSERT INTO words (word) VALUES (?)", ("long" * 10_000,))
    add(file, "two")
    assert words(file) == ["one", "two"]


_KILLED = """
import os, signal, sys
from pathlib import Path
from tests.store.test_sqlite import NEW, SqliteFile, add
file = SqliteFile(Path(sys.argv[1]), NEW)
add(file, "kept")
with file.writing() as database:
    database.execute("PRAGMA cache_size = 1")  # so that some of it is in the file already
    database.executemany("INSERT INTO words (word) VALUES (?)", [("lost" * 1000,)] * 100)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_that_is_killed_loses_its_transaction_and_nothing_else(path: Path) -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", _KILLED, str(path)], cwd=root, check=False)
    assert done.returncode == -signal.SIGKILL
    file = SqliteFile(path, NEW)
    add(file, "after")
    assert words(file) == ["kept", "after"]


# Formats


def test_a_file_of_an_older_format_is_migrated_when_it_is_opened(path: Path, file: SqliteFile) -> None:
    add(SqliteFile(path, OLD), "three")
    assert lengths(file) == [5]
    with file.reading() as database:
        assert database.execute("PRAGMA user_version").fetchone() == (2,)


def test_a_migration_that_fails_leaves_the_file_as_it_was(path: Path) -> None:
    def fails(database: sqlite3.Connection) -> None:
        database.execute("DROP TABLE words")
        database.execute("SELECT * FROM letters")

    old = SqliteFile(path, OLD)
    add(old, "one")
    with pytest.raises(LocalprobeError, match=r"^cannot open the words in .*: no such table: letters$"):
        words(SqliteFile(path, Schema("words", (make_table, fails))))
    assert words(old) == ["one"]


def test_a_file_of_a_newer_localprobe_is_left_alone(path: Path) -> None:
    add(SqliteFile(path, NEW), "one")
    before = path.read_bytes()
    with pytest.raises(LocalprobeError) as caught:
        words(SqliteFile(path, OLD))
    assert str(caught.value) == (
        f"{path} was written by a newer localprobe (format 2; this one reads 1): upgrade localprobe, or move the file "
        "away"
    )
    assert path.read_bytes() == before


def test_an_older_file_that_may_not_be_written_is_read_all_the_same(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(SqliteFile(path, OLD), "three")
    before = path.read_bytes()
    monkeypatch.setattr(os, "access", lambda *args: False)
    assert lengths(SqliteFile(path, NEW)) == [5]
    assert path.read_bytes() == before


def _write(path: Path, number: int) -> None:
    add(SqliteFile(path, NEW), str(number))


@pytest.mark.parametrize("old", [False, True], ids=["new file", "older file"])
def test_processes_that_open_a_file_at_once_migrate_it_once(path: Path, old: bool) -> None:
    if old:
        add(SqliteFile(path, OLD), "0")
    with ProcessPoolExecutor(4, mp_context=get_context("fork")) as pool:
        list(pool.map(_write, [path] * 16, range(1, 17)))
    assert sorted(map(int, words(SqliteFile(path, NEW)))) == list(range(0 if old else 1, 17))


# A file that is moved


def test_a_file_that_was_deleted_meanwhile_is_made_anew(file: SqliteFile) -> None:
    add(file, "lost")
    file.path.unlink()
    assert words(file) == []
    add(file, "kept")
    assert words(file) == words(SqliteFile(file.path, NEW)) == ["kept"]


def test_a_file_that_was_replaced_meanwhile_is_the_one_that_is_used(file: SqliteFile, tmp_path: Path) -> None:
    add(file, "old")
    other = SqliteFile(tmp_path / "other.sqlite", NEW)
    add(other, "new")
    other.path.replace(file.path)
    add(file, "newer")
    assert words(file) == words(SqliteFile(file.path, NEW)) == ["new", "newer"]


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_new_file_is_its_users_alone_and_so_are_its_journals(path: Path) -> None:
    file = SqliteFile(path, OLD)
    with file.writing() as database:
        database.execute("INSERT INTO words (word) VALUES ('a')")
        assert {mode(each) for each in path.parent.iterdir()} == {0o600}
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA journal_mode = WAL")
    with file.writing() as database:
        database.execute("INSERT INTO words (word) VALUES ('b')")
        assert {each.name.removeprefix(path.name): mode(each) for each in path.parent.iterdir()} == {
            "": 0o600,
            "-wal": 0o600,
            "-shm": 0o600,
        }


def test_an_old_file_becomes_its_users_alone_unless_it_lies_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCALPROBE_DATA", str(tmp_path / "data"))
    own, shared = tmp_path / "data" / "own.sqlite", tmp_path / "group" / "shared.sqlite"
    for path in (own, shared):
        add(SqliteFile(path, OLD), "a")
        path.chmod(0o664)
        assert words(SqliteFile(path, OLD)) == ["a"]
    assert (mode(own), mode(shared)) == (0o600, 0o664)
