from __future__ import annotations

from pathlib import Path

import pytest

from localprobe.models import download, fits, inventory
from localprobe.models.inventory import Item
from localprobe.testing.tiny import tiny_gguf
from tests.gguf.split import split_gguf
from tests.models import fake_hub
from tests.models.fake_hub import COMMIT, Hub, folder_files, gguf_bytes

hub_cache, hub = fake_hub.hub_cache, fake_hub.hub


@pytest.fixture(autouse=True)
def small_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """8 GB free and no card."""
    monkeypatch.setattr(fits, "available", lambda: 8_000_000_000)
    monkeypatch.setattr(fits, "has_gpu_driver", lambda: False)
    monkeypatch.setattr(fits, "is_apple_silicon", lambda: False)


def find(items: list[Item], name: str) -> dict[str, Item]:
    """Items of a name, by the engines that use them."""
    return {use.engine: item for item in items if item.name == name for use in item.uses}


def test_known_models_are_listed_with_the_weights_of_each_engine(hub_cache: Path) -> None:
    items = inventory.items()
    smol = find(items, "smollm2-135m")
    assert set(smol) >= {"torch", "mlx", "llama"}
    assert smol["torch"] is smol["llama"]
    assert smol["llama"].bytes == 98_362_432
    assert smol["llama"].path is not None

    phi = find(items, "phi-3-mini")
    assert phi["torch"].weights == "microsoft/Phi-3-mini-4k-instruct"
    assert phi["mlx"].weights == "mlx-community/Phi-3-mini-4k-instruct-4bit"
    assert phi["llama"].weights == "microsoft/Phi-3-mini-4k-instruct-gguf:Phi-3-mini-4k-instruct-q4.gguf"
    assert [phi[engine].path for engine in ("torch", "mlx", "llama")] == [None] * 3
    assert [phi[engine].format for engine in ("torch", "mlx", "llama")] == ["folder", "folder", "gguf"]


def test_what_fits_into_memory(hub_cache: Path) -> None:
    fitting = {(item.name, use.engine) for item in inventory.items() for use in item.uses if use.fits}
    assert {("smollm2-135m", "torch"), ("phi-3-mini", "llama"), ("qwen2.5-7b", "mlx")} <= fitting
    assert ("phi-3-mini", "torch") not in fitting  # float32: 15.7 GB
    torch = next(use for use in find(inventory.items(), "phi-3-mini")["torch"].uses if use.engine == "torch")
    assert torch.needed == 4 * 3_821_079_552 + fits.BASE


def test_the_hubs_cache_is_listed_too(hub: Hub, tmp_path: Path) -> None:
    hub.repositories["org/model"] = folder_files()
    hub.repositories["org/embeds"] = {**folder_files(), "config.json": b'{"architectures": ["BertModel"]}'}
    hub.repositories["org/model-GGUF"] = {"a.gguf": gguf_bytes(tmp_path)}
    download.fetch_folder("org/model")
    download.fetch_folder("org/embeds")
    download.fetch_file("org/model-GGUF", "a.gguf")
    hub.requests.clear()

    items = inventory.items()
    assert [item.name for item in items if item.name.startswith("org/")] == ["org/model", "org/model-GGUF:a.gguf"]
    assert "llama" not in find(items, "org/model")
    by_engine = {use.engine: use for use in find(items, "org/model-GGUF:a.gguf")["llama"].uses}
    assert by_engine["torch"].needed == 4 * 256 + fits.BASE
    assert not hub.requests


def test_a_damaged_file_hides_no_other(hub: Hub, tmp_path: Path) -> None:
    whole = gguf_bytes(tmp_path)
    hub.repositories["org/a-GGUF"] = {"torn.gguf": whole[:-9], "page.gguf": b"<html>", "whole.gguf": whole}
    hub.repositories["org/b"] = {**folder_files(), "config.json": b'{"architectures": 5}'}
    hub.repositories["org/c"] = folder_files()
    for name in ("torn.gguf", "page.gguf", "whole.gguf"):
        download.fetch_file("org/a-GGUF", name)
    lost = download.fetch_folder("org/c").parent / COMMIT / "lost.gguf"
    lost.symlink_to(tmp_path / "nowhere")
    (download.fetch_folder("org/b") / "model.safetensors").resolve().write_bytes(b"torn")

    listed = {item.name: item for item in inventory.items() if item.name.startswith("org/")}
    assert [name for name, item in listed.items() if not item.problem] == ["org/a-GGUF:whole.gguf", "org/c"]
    assert {name: item.uses for name, item in listed.items() if item.problem} == {
        "org/a-GGUF:page.gguf": [],
        "org/a-GGUF:torn.gguf": [],
        "org/b": [],
        "org/c:lost.gguf": [],
    }
    assert "it is a web page" in listed["org/a-GGUF:page.gguf"].problem
    assert "is cut short" in listed["org/a-GGUF:torn.gguf"].problem
    assert "is not a safetensors file" in listed["org/b"].problem
    assert "cannot read" in listed["org/c:lost.gguf"].problem


def test_a_known_model_in_the_cache_is_listed_once(hub: Hub, tmp_path: Path) -> None:
    repo, file = "microsoft/Phi-3-mini-4k-instruct-gguf", "Phi-3-mini-4k-instruct-q4.gguf"
    hub.repositories[repo] = {file: gguf_bytes(tmp_path)}
    path = download.fetch_file(repo, file)
    assert [item.name for item in inventory.items() if item.path == path] == ["phi-3-mini"]


def test_a_split_file_is_listed_once_with_the_size_of_all_parts(hub: Hub, tmp_path: Path) -> None:
    files = split_gguf(tiny_gguf("llama", tmp_path / "tiny.gguf"), tmp_path / "split")
    hub.repositories["org/name-GGUF"] = {f"q/{file.name}": file.read_bytes() for file in files}
    path = download.fetch_file("org/name-GGUF", f"q/{files[1].name}")
    (item,) = [item for item in inventory.items() if item.name.startswith("org/")]
    assert item.name == "org/name-GGUF:q/tiny-00001-of-00003.gguf"
    assert item.bytes == sum(file.stat().st_size for file in files)
    (path.parent / files[2].name).unlink()
    (item,) = [item for item in inventory.items() if item.name.startswith("org/")]
    assert "00003-of-00003.gguf is missing" in item.problem
