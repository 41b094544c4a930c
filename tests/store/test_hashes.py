"""Hashes of files, remembered until a file changes."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import pytest

from localprobe.errors import CorruptFile
from localprobe.progress import Progress
from localprobe.store import hashes
from localprobe.store.hashes import digest

BIG = b"GGUF" + bytes(2_000_000)
OTHER = b"GGUF" + bytes(1_999_999) + b"x"


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LOCALPROBE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were really hashed."""
    seen: list[str] = []
    real = hashes.sha256

    def spy(path: Path, *rest: Progress) -> str:
        seen.append(path.name)
        return real(path, *rest)

    monkeypatch.setattr(hashes, "sha256", spy)
    return seen


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.gguf"
    path.write_bytes(BIG)
    return path


def test_a_hash_is_computed_once(file: Path, hashed: list[str]) -> None:
    seen: list[tuple[str, int, int]] = []
    assert digest(file, lambda *step: seen.append(step)) == hashlib.sha256(BIG).hexdigest()
    assert seen[-1] == ("hashing a.gguf", len(BIG), len(BIG))
    assert digest(file) == hashlib.sha256(BIG).hexdigest()
    assert hashed == ["a.gguf"]


def test_a_file_overwritten_with_size_and_time_kept_is_hashed_again(file: Path) -> None:
    digest(file)
    before = file.stat()
    file.write_bytes(OTHER)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert digest(file) == hashlib.sha256(OTHER).hexdigest()


def test_a_file_replaced_by_another_of_its_size_and_time_is_hashed_again(file: Path, tmp_path: Path) -> None:
    """As by `cp -p`, `mv` and `tar`."""
    digest(file)
    other = tmp_path / "other.gguf"
    other.write_bytes(OTHER)
    shutil.copystat(file, other)
    other.replace(file)
    assert digest(file) == hashlib.sha256(OTHER).hexdigest()


def test_a_note_counts_for_the_very_file_only(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of size, times and inode is compared, on any file system."""
    stamp = hashes._stamp(file)
    hashes._keep(stamp, "a" * 64)
    assert digest(file) == "a" * 64
    for i in range(1, len(stamp)):
        other = [*stamp]
        other[i] = int(stamp[i]) + 1
        hashes._keep(other, "a" * 64)
        assert digest(file) == hashlib.sha256(BIG).hexdigest()


def test_a_file_that_is_written_to_while_it_is_hashed_is_not_remembered(file: Path, hashed: list[str]) -> None:
    def write(what: str, done: int, total: int) -> None:
        os.utime(file, ns=(1, 1))

    digest(file, write)
    digest(file)
    assert len(hashed) == 2


def test_what_was_computed_while_writing_is_not_read_again(file: Path, hashed: list[str]) -> None:
    hashes.remember(file, "b" * 64)
    assert digest(file) == "b" * 64
    assert hashed == []


def test_a_torn_note_or_a_cache_that_cannot_be_written_only_costs_time(
    file: Path, tmp_path: Path, empty_cache: Path, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = digest(file)
    (note,) = (empty_cache / "hashes").iterdir()
    for torn in (b"", b"{", b"[]", b'{"file": 1}'):
        note.write_bytes(torn)
        assert digest(file) == first
    assert len(hashed) == 5
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LOCALPROBE_CACHE", str(tmp_path / "file" / "below"))
    assert digest(file) == first


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(CorruptFile, match=r"cannot read .*none: No such file or directory"):
        digest(tmp_path / "none")
