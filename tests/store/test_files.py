"""Whole or not at all."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from localprobe.errors import LocalprobeError
from localprobe.store.files import replacing, write_whole


def test_a_file_is_written_and_its_folder_made(tmp_path: Path) -> None:
    write_whole(tmp_path / "a" / "b.txt", b"whole")
    assert (tmp_path / "a" / "b.txt").read_bytes() == b"whole"
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b.txt"]


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("old")
    with (
        pytest.raises(LocalprobeError, match=r"cannot write .*/f: No space left on device; nothing was changed"),
        replacing(path),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_new_file_has_the_usual_permissions(tmp_path: Path) -> None:
    write_whole(tmp_path / "new", b"")
    (tmp_path / "plain").write_bytes(b"")
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "plain").stat().st_mode
