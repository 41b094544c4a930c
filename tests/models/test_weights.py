from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from localprobe.errors import CorruptFile
from localprobe.models import weights
from localprobe.models.weights import fingerprint
from tests.models.fake_hub import folder_files, write_folder

BIG = b"GGUF" + bytes(2_000_000)


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LOCALPROBE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were really hashed."""
    seen: list[str] = []
    real = weights.sha256

    def spy(path: Path, *rest: weights.Progress) -> str:
        seen.append(path.name)
        return real(path, *rest)

    monkeypatch.setattr(weights, "sha256", spy)
    return seen


def test_a_files_fingerprint_is_its_sha256_and_is_remembered(tmp_path: Path, hashed: list[str]) -> None:
    path = tmp_path / "a.gguf"
    path.write_bytes(BIG)
    seen: list[tuple[str, int, int]] = []
    first = fingerprint(path, lambda *step: seen.append(step))
    assert first == hashlib.sha256(BIG).hexdigest()
    assert seen[-1] == ("hashing a.gguf", len(BIG), len(BIG))
    assert fingerprint(path) == first
    assert hashed == ["a.gguf"]


def test_a_changed_file_is_hashed_again(tmp_path: Path, hashed: list[str]) -> None:
    path = tmp_path / "a.gguf"
    path.write_bytes(BIG)
    before = fingerprint(path)
    path.write_bytes(BIG[:-1] + b"x")
    os.utime(path, ns=(1, 1))
    assert fingerprint(path) != before
    assert len(hashed) == 2


def test_a_torn_note_or_a_cache_that_cannot_be_written_only_costs_time(
    tmp_path: Path, empty_cache: Path, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.gguf"
    path.write_bytes(BIG)
    first = fingerprint(path)
    (note,) = (empty_cache / "hashes").iterdir()
    for torn in (b"", b"{", b"[]", b'{"file": 1}'):
        note.write_bytes(torn)
        assert fingerprint(path) == first
    assert len(hashed) == 5
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LOCALPROBE_CACHE", str(tmp_path / "file" / "below"))
    assert fingerprint(path) == first


def test_a_folders_fingerprint_is_of_config_and_weights(tmp_path: Path) -> None:
    first = fingerprint(write_folder(tmp_path / "a"))
    assert len(first) == 64
    assert fingerprint(write_folder(tmp_path / "b")) == first
    assert fingerprint(write_folder(tmp_path / "c", {**folder_files(), "tokenizer.json": b"[]"})) == first
    assert fingerprint(write_folder(tmp_path / "d", {**folder_files(), "config.json": b"{} "})) != first
    assert fingerprint(write_folder(tmp_path / "e", {**folder_files(), "model.safetensors": b"other"})) != first


def test_a_converted_folder_has_the_fingerprint_of_its_source(tmp_path: Path) -> None:
    mark = b'{"fingerprint": "abc"}'
    assert fingerprint(write_folder(tmp_path / "a", {**folder_files(), "localprobe.json": mark})) == "abc"
    broken = write_folder(tmp_path / "b", {**folder_files(), "localprobe.json": b"{}"})
    with pytest.raises(CorruptFile, match=r"localprobe\.json names no fingerprint: delete"):
        fingerprint(broken)


def test_the_name_of_a_hub_blob_is_believed(tmp_path: Path, hashed: list[str]) -> None:
    name = "ab" * 32
    blob = tmp_path / "models--org--name" / "blobs" / name
    blob.parent.mkdir(parents=True)
    blob.write_bytes(BIG)
    link = tmp_path / "model.gguf"
    link.symlink_to(blob)
    assert fingerprint(link) == name
    assert hashed == []


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "a")
    (folder / "config.json").unlink()
    with pytest.raises(CorruptFile, match=r"cannot read .*config\.json: No such file or directory"):
        fingerprint(folder)
