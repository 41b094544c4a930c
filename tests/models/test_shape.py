"""What is known of a model before it is fetched or loaded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from localprobe.errors import UnknownModel
from localprobe.models import resolve, shape
from localprobe.models.shape import Shape
from localprobe.testing.tiny import tiny_folder, tiny_gguf
from localprobe_torch import backend as torch
from tests import bundled
from tests.models import fake_hub
from tests.models.fake_hub import Hub, folder_files

hub_cache, hub = fake_hub.hub_cache, fake_hub.hub


def test_short_names_are_in_the_catalogue() -> None:
    assert shape("qwen2.5-7b") == Shape(28, 3584)
    assert shape("Phi-3-mini") == Shape(32, 3072)


@pytest.mark.real
def test_the_bundled_file_is_as_the_catalogue_says() -> None:
    assert shape(str(bundled.smollm2())) == shape("smollm2-135m") == Shape(30, 576)


@pytest.mark.parametrize(("architecture", "layers"), [("llama", 4), ("gpt2", 4), ("gemma3_text", 6)])
def test_a_folder_says_so_in_its_config(architecture: str, layers: int, tmp_path: Path) -> None:
    assert shape(str(tiny_folder(architecture, tmp_path / architecture))) == Shape(layers, 64)


def test_a_model_that_sees_pictures_too_says_so_of_its_text(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"text_config": {"num_hidden_layers": 3, "hidden_size": 8}}))
    assert shape(str(tmp_path)) == Shape(3, 8)


def test_a_gguf_file_says_so_in_its_header(tmp_path: Path) -> None:
    path = tiny_gguf("llama", tmp_path / "tiny.gguf")
    assert shape(str(path)) == shape(str(tmp_path)) == Shape(4, 64)


def test_what_is_in_the_hubs_cache_is_read_and_nothing_is_fetched(hub: Hub) -> None:
    assert shape("org/tiny") is None
    assert not hub.requests
    config = b'{"num_hidden_layers": 3, "hidden_size": 32}'
    hub.repositories["org/tiny"] = {**folder_files(), "config.json": config}
    resolve("org/tiny", torch)
    requests = list(hub.requests)
    assert shape("org/tiny") == Shape(3, 32)
    assert hub.requests == requests


@pytest.mark.parametrize("text", ["{}", "no JSON", '{"num_hidden_layers": "many", "hidden_size": 8}'])
def test_a_file_that_does_not_tell_is_for_the_load_to_judge(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text)
    assert shape(str(tmp_path)) is None


def test_the_fake_model_has_any_shape_and_a_name_for_nothing_is_refused() -> None:
    assert shape("fake") is None
    with pytest.raises(UnknownModel):
        shape("qwen2.5-7c")
