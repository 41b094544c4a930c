from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from localprobe.errors import CorruptFile, NotDownloaded, UnknownModel, UnsupportedModel
from localprobe.models import download
from localprobe.models.weights import fingerprint
from localprobe.store import hashes
from tests.models import fake_hub
from tests.models.fake_hub import COMMIT, Hub, folder_files, gguf_bytes

hub_cache, hub = fake_hub.hub_cache, fake_hub.hub

REPO, FILE = "org/model-GGUF", "model-Q4_K_M.gguf"


@pytest.fixture
def weights(hub: Hub, tmp_path: Path) -> bytes:
    """A GGUF file of 65 kB, on the hub."""
    data = gguf_bytes(tmp_path, rows=512)
    hub.repositories[REPO] = {FILE: data, "README.md": b"# a model"}
    return data


def test_a_file_is_fetched_once_and_then_comes_from_the_cache(hub: Hub, weights: bytes) -> None:
    seen: list[tuple[str, int, int]] = []
    path = download.fetch_file(REPO, FILE, lambda *step: seen.append(step))
    assert path.read_bytes() == weights
    assert seen[0] == (f"downloading {REPO}", 0, len(weights))
    assert seen[-1] == (f"downloading {REPO}", len(weights), len(weights))
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)

    hub.broken = 503  # from here on the network is of no use
    assert download.fetch_file(REPO, FILE) == path == download.cached_file(REPO, FILE)
    assert download.cached_ggufs(REPO) == [FILE]
    assert len(hub.downloads()) == 1


def test_a_file_that_was_checked_as_it_arrived_is_not_hashed_again(
    weights: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashes, "_SMALL", 0)  # remember small files too
    path = download.fetch_file(REPO, FILE)
    monkeypatch.setattr(hashes, "sha256", lambda *args: pytest.fail("hashed"))
    assert fingerprint(path) == path.resolve().name


def test_an_interrupted_download_goes_on_where_it_ended(hub: Hub, hub_cache: Path, weights: bytes) -> None:
    def stop_in_the_middle(what: str, done: int, total: int) -> None:
        if done > 30_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download.fetch_file(REPO, FILE, stop_in_the_middle)
    (part,) = hub_cache.rglob("*.incomplete")
    size = part.stat().st_size
    assert 30_000 < size < len(weights)
    assert download.cached_file(REPO, FILE) is None

    seen: list[int] = []
    path = download.fetch_file(REPO, FILE, lambda what, done, total: seen.append(done))
    assert path.read_bytes() == weights
    assert hub.downloads()[-1].endswith(f"bytes={size}-")
    assert seen[0] == size
    assert not list(hub_cache.rglob("*.incomplete"))


def test_a_damaged_download_never_counts(hub: Hub, hub_cache: Path, weights: bytes) -> None:
    hub.damage.add(FILE)
    with pytest.raises(
        CorruptFile, match=r"model-Q4_K_M\.gguf of org/model-GGUF arrived damaged .* run the command again"
    ):
        download.fetch_file(REPO, FILE)
    assert not list(hub_cache.rglob("*.incomplete"))
    hub.damage.clear()
    assert download.fetch_file(REPO, FILE).read_bytes() == weights


def test_a_folder_brings_safetensors_config_and_tokenizer_only(hub: Hub, weights: bytes) -> None:
    unwanted = {"pytorch_model.bin": b"\x80pickle", "modeling.py": b"raise", "consolidated.safetensors": b"twice"}
    hub.repositories["org/model"] = {**folder_files(), **unwanted, "onnx/config.json": b"{}"}
    assert download.cached_folder("org/model") is None
    folder = download.fetch_folder("org/model")
    assert sorted(path.name for path in folder.rglob("*")) == ["config.json", "model.safetensors", "tokenizer.json"]
    assert (folder / "model.safetensors").read_bytes() == folder_files()["model.safetensors"]
    assert folder.name == COMMIT
    assert download.cached_folder("org/model") == folder
    assert sum("model.safetensors" in each for each in hub.downloads()) == 1


def test_a_repository_with_pickles_only_is_refused(hub: Hub) -> None:
    hub.repositories["org/old"] = {"config.json": b"{}", "pytorch_model.bin": b"\x80"}
    with pytest.raises(UnsupportedModel, match="its weights are pickled, which localprobe never loads"):
        download.fetch_folder("org/old")
    assert not hub.downloads()


def test_a_gguf_repository_asked_for_as_a_folder_names_its_files(hub: Hub, weights: bytes) -> None:
    with pytest.raises(UnsupportedModel, match=f"name one of its GGUF files, {REPO}:{FILE}"):
        download.fetch_folder(REPO)


PARTS = ["q/a-00001-of-00002.gguf", "q/a-00002-of-00002.gguf"]


def test_a_split_file_is_offered_by_its_first_part_and_fetched_whole(hub: Hub) -> None:
    hub.repositories["org/parts"] = {**dict.fromkeys(PARTS, b"GGUF"), "b.gguf": b""}
    assert download.remote_ggufs("org/parts") == [PARTS[0], "b.gguf"]
    for file in PARTS:
        path = download.fetch_file("org/parts", file)
        assert path.parts[-2:] == ("q", "a-00001-of-00002.gguf")
        assert (path.parent / "a-00002-of-00002.gguf").read_bytes() == b"GGUF"
        assert download.cached_gguf("org/parts", file) == path
    assert download.cached_ggufs("org/parts") == [PARTS[0]]


def test_a_split_file_that_lacks_a_part_names_it(hub: Hub) -> None:
    hub.repositories["org/parts"] = {PARTS[0]: b"GGUF"}
    with pytest.raises(UnknownModel, match=f"org/parts has no file '{PARTS[1]}'; it has {PARTS[0]}"):
        download.fetch_file("org/parts", PARTS[0])
    assert not hub.downloads()


def test_a_small_file_that_arrives_damaged_never_counts(hub: Hub) -> None:
    hub.repositories["org/model"] = folder_files()
    hub.damage.add("tokenizer.json")
    with pytest.raises(CorruptFile, match=r"tokenizer\.json of org/model arrived damaged"):
        download.fetch_folder("org/model")
    hub.damage.clear()
    assert (download.fetch_folder("org/model") / "tokenizer.json").read_bytes() == b"{}"


def test_other_tools_find_what_was_fetched(hub: Hub) -> None:
    from huggingface_hub import hf_hub_download, scan_cache_dir

    hub.repositories["org/model"] = folder_files()
    folder = download.fetch_folder("org/model")
    hub.broken = 503
    assert Path(hf_hub_download("org/model", "config.json", local_files_only=True)).parent == folder
    (repository,) = scan_cache_dir(folder.parents[2]).repos
    assert repository.refs["main"].snapshot_path == folder


def test_no_such_repository(hub: Hub) -> None:
    with pytest.raises(
        UnknownModel, match=rf"there is no model at {hub.url}/org/none; if it is private, .*hf auth login"
    ):
        download.fetch_folder("org/none")


def test_no_such_file_lists_those_that_there_are(hub: Hub, weights: bytes) -> None:
    with pytest.raises(UnknownModel, match=f"{REPO} has no file 'other.gguf'; it has {FILE}"):
        download.fetch_file(REPO, "other.gguf")


def test_a_gated_repository_says_where_to_ask(hub: Hub, weights: bytes) -> None:
    hub.gated.add(REPO)
    with pytest.raises(NotDownloaded, match=f"{REPO} is gated: accept its terms at {hub.url}/{REPO}, then sign in"):
        download.fetch_file(REPO, FILE)


@pytest.mark.parametrize("status", [401, 403])
def test_refused_access(hub: Hub, status: int) -> None:
    hub.broken = status
    with pytest.raises((NotDownloaded, UnknownModel), match="sign in with `hf auth login`"):
        download.fetch_file(REPO, FILE)


def test_a_hub_that_fails_is_told_from_a_missing_model(hub: Hub) -> None:
    hub.broken = 500
    with pytest.raises(NotDownloaded, match="is not on this disk and the hub answered with status 500"):
        download.fetch_folder("org/model")


def test_without_a_network_the_error_says_what_to_fetch_and_where_to_put_it(hub_cache: Path) -> None:
    with pytest.raises(NotDownloaded) as error:
        download.fetch_file(REPO, FILE)
    line = str(error.value)
    assert line.startswith(f"{REPO} is not on this disk and fetching it failed (ConnectError: ")
    assert f"run `hf download {REPO} {FILE}`" in line
    assert line.endswith(f"bring its cache folder models--org--model-GGUF to {hub_cache}")
    with pytest.raises(
        NotDownloaded, match=r"`hf download org/model --include 'model\*\.safetensors' --include '\*\.json'"
    ):
        download.fetch_folder("org/model")


def test_offline_mode_is_said_plainly(hub_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub.errors import OfflineModeIsEnabled

    def refuse(repo: str) -> None:
        raise OfflineModeIsEnabled("offline")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(download, "listing", refuse)
    with pytest.raises(NotDownloaded, match="is not on this disk and HF_HUB_OFFLINE is set"):
        download.fetch_file(REPO, FILE)


def test_a_full_disk_is_noticed_before_anything_is_fetched(
    hub: Hub, weights: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 1000))
    with pytest.raises(
        NotDownloaded, match=r"needs 0\.0 GB more on the disk of .*, which has 0\.0 GB free: make room, or"
    ):
        download.fetch_file(REPO, FILE)
    assert not hub.downloads()


def test_the_hubs_progress_bars_are_left_as_they_were(weights: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    from huggingface_hub.utils import are_progress_bars_disabled

    download.fetch_file(REPO, FILE)
    assert not are_progress_bars_disabled()
    assert capfd.readouterr() == ("", "")
