"""A hub's answer is not trusted with a path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from localprobe.errors import CorruptFile, NotDownloaded, UnsupportedModel
from localprobe.models import download
from localprobe.models.listing import is_inside, listing
from tests.models import fake_hub
from tests.models.fake_hub import COMMIT, Hub, folder_files

hub_cache, hub = fake_hub.hub_cache, fake_hub.hub

HOSTILE = [
    "../x.gguf",
    "a/../../x.json",
    "/etc/x.json",
    "a\\b.json",
    "\\\\host\\x",
    "C:/x.json",
    "a//b.json",
    "./a.json",
    "",
    "a\x1b]0;b.json",
]


def test_files_with_sizes_and_hashes(hub: Hub) -> None:
    hub.repositories["org/name"] = {**folder_files(), "sub/a.gguf": b"GGUF"}
    found = listing("org/name")
    assert found.commit == COMMIT
    sizes = {file.name: file.bytes for file in found.files}
    assert sizes == {name: len(data) for name, data in hub.repositories["org/name"].items()}
    assert {file.name for file in found.files if file.large} == {"model.safetensors", "sub/a.gguf"}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_that_is_no_path_inside_is_refused_by_name(hub: Hub, tmp_path: Path, name: str) -> None:
    hub.repositories["org/name"] = {**folder_files(), name: b"hostile"}
    assert not is_inside(name)
    for fetch in (
        lambda: download.fetch_folder("org/name"),
        lambda: download.fetch_file("org/name", "model.safetensors"),
        lambda: download.remote_ggufs("org/name"),
    ):
        with pytest.raises(UnsupportedModel) as error:
            fetch()
        assert f"org/name lists a file {name!r}, which is not a path inside the repository" in str(error.value)
    assert not hub.downloads()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("name", ["a.gguf", "sub/deep/a.gguf", "模型.gguf", "a b (1).gguf", "..a/b..gguf", "\u200da"])
def test_a_name_that_is_odd_and_inside(name: str) -> None:
    assert is_inside(name)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"lfs": {"sha256": "../../x", "size": 1, "pointerSize": 1}}, "with the hash '../../x'"),
        ({"lfs": None, "blobId": "/tmp/x"}, "with the hash '/tmp/x'"),
        ({"lfs": None, "blobId": None}, "with the hash None"),
        ({"size": -1}, "the size -1"),
        ({"size": "1"}, "the size '1'"),
    ],
)
def test_a_hash_or_a_size_that_cannot_be(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], said: str
) -> None:
    real = fake_hub._entry
    monkeypatch.setattr(fake_hub, "_entry", lambda name, data: {**real(name, data), **changes})
    hub.repositories["org/name"] = {"model.safetensors": b"x"}
    with pytest.raises(UnsupportedModel, match=said):
        listing("org/name")


@pytest.mark.parametrize("commit", ["../../../evil", "main", ""])
def test_a_commit_that_is_none(hub: Hub, monkeypatch: pytest.MonkeyPatch, commit: str) -> None:
    monkeypatch.setattr(fake_hub, "COMMIT", commit)
    hub.repositories["org/name"] = folder_files()
    with pytest.raises(UnsupportedModel, match=f"the hub names its commit {commit!r}, which is none"):
        download.fetch_folder("org/name")


def test_the_headers_of_a_download_name_no_path(hub: Hub, hub_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """huggingface_hub names a file in its cache by the ETag; here the listing's hash names it, and must be right."""
    real = fake_hub._entry
    monkeypatch.setattr(fake_hub, "_entry", lambda name, data: {**real(name, data), "etag": "../../../evil"})
    hub.repositories["org/name"] = folder_files()
    folder = download.fetch_folder("org/name")
    blobs = hub_cache / "models--org--name" / "blobs"
    assert {path.resolve().parent for path in folder.iterdir()} == {blobs}
    assert (folder / "config.json").read_bytes() == folder_files()["config.json"]
    assert not list(hub_cache.parent.rglob("evil*"))


def test_an_answer_of_another_kind_is_one_line(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    real = fake_hub._entry
    monkeypatch.setattr(
        fake_hub, "_entry", lambda name, data: {k: v for k, v in real(name, data).items() if k != "rfilename"}
    )
    hub.repositories["org/name"] = folder_files()
    with pytest.raises(NotDownloaded, match="the answer is not a listing of files"):
        download.fetch_folder("org/name")


def test_a_file_that_only_huggingface_hub_can_fetch_must_be_the_listed_one(
    hub: Hub, hub_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Above 50 GB. huggingface_hub would name it in the cache by the header."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "MAX_HTTP_DOWNLOAD_SIZE", 0)
    real = fake_hub._entry
    monkeypatch.setattr(fake_hub, "_entry", lambda name, data: {**real(name, data), "etag": "../../../evil"})
    hub.repositories["org/name"] = {"a.gguf": b"GGUF"}
    with pytest.raises(CorruptFile, match=r"a\.gguf of org/name is not the file that the hub lists"):
        download.fetch_file("org/name", "a.gguf")
    assert not hub.downloads()
    assert not list(hub_cache.parent.rglob("evil*"))
