"""Names that become paths: what a user typed, and what goes into a file's name."""

from __future__ import annotations

from pathlib import Path

import pytest

from localprobe.store.names import cut, exists, file_name, is_file, path_of


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "~no-such-user/a", "missing"])
def test_a_path_that_cannot_be_is_not_there(name: str) -> None:
    assert not exists(path_of(name))
    assert not is_file(path_of(name))


def test_a_folder_is_there_and_is_no_file(tmp_path: Path) -> None:
    assert exists(tmp_path)
    assert not is_file(tmp_path)


def test_a_home_is_put_in_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert path_of("~/a") == Path("/home/me/a")
    assert path_of("~no-such-user/a") == Path("~no-such-user/a")


def test_a_name_is_cut_by_bytes_and_not_within_a_letter() -> None:
    assert cut("情情", 5) == "情"
    assert file_name("情" * 120) == "情" * 40
    assert file_name("../a b/") == "a-b"
