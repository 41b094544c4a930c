"""Baking as a whole: what is refused before anything is written, what is left where it fails, and what the folder says
of itself."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import localprobe as lp
from localprobe.baking import bake, check, folder
from localprobe.engine import LoadOptions
from localprobe.errors import LocalprobeError, ModelError, UnknownModel, UnsupportedModel, UsageError, VectorError
from localprobe.model import Model
from localprobe.models.weights import fingerprint
from localprobe.testing.tiny import tiny_folder, tiny_gguf
from localprobe.vectors import files
from localprobe.vectors.library import Library
from localprobe.vectors.vector import Direction, Origin, Vector

Made = Callable[..., Vector]


def configure(model: Path, **changed: Any) -> None:
    file = model / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changed))


def refusal(kind: type[LocalprobeError], *arguments: Any, **named: Any) -> str:
    """The one line that refuses it."""
    with pytest.raises(kind) as refused:
        bake(*arguments, check=False, **named)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("share", [0.0, -0.1, 1.5, float("nan")])
def test_a_share_out_of_range(share: float, vector: Made, llama: Path, tmp_path: Path) -> None:
    line = refusal(UsageError, str(llama), [vector()], tmp_path / "baked", share=share)
    assert line == f"`share` {share:g} is out of range: give a number above 0, up to 1"


def test_no_vector_a_missing_file_an_unknown_name_and_a_missing_layer(
    vector: Made, llama: Path, tmp_path: Path
) -> None:
    baked = tmp_path / "baked"
    assert refusal(UsageError, str(llama), [], baked) == "there is no vector: give at least one"
    assert "no vector file at nowhere.safetensors" in refusal(VectorError, str(llama), ["nowhere.safetensors"], baked)
    assert "no vector 'nobody'" in refusal(VectorError, str(llama), ["nobody"], baked)
    assert "calm has no direction at layer 3" in refusal(UsageError, str(llama), [vector()], baked, layer=3)
    assert "has width 32, but" in refusal(VectorError, str(llama), [vector(width=32)], baked)
    assert not baked.exists()


def test_an_output_that_exists_is_refused_unless_it_is_an_empty_folder(
    vector: Made, llama: Path, tmp_path: Path
) -> None:
    empty, full, file = tmp_path / "empty", tmp_path / "full", tmp_path / "file"
    empty.mkdir()
    full.mkdir()
    (full / "thesis.txt").touch()
    file.touch()
    for taken in (full, file, llama):
        assert refusal(UsageError, str(llama), [vector()], taken).startswith(
            f"{taken} exists already: give as `output`"
        )
    bake(str(llama), [vector()], empty, check=False)
    assert (empty / "model.safetensors").is_file()


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({"quantization": {"bits": 4, "group_size": 64}}, "by mlx-lm"),
        ({"quantization_config": {"quant_method": "gptq"}}, "gptq"),
        ({"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}, "bitsandbytes"),
    ],
)
def test_quantised_folders_are_refused(
    settings: dict[str, Any], kind: str, vector: Made, llama: Path, tmp_path: Path
) -> None:
    configure(llama, **settings)
    line = refusal(UnsupportedModel, str(llama), [vector()], tmp_path / "baked")
    assert line == (
        f"{llama} is quantised ({kind}), and quantised weights cannot hold the removal: bake the original weights, "
        "then quantise the result"
    )


def test_pickled_weights_are_refused(vector: Made, llama: Path, tmp_path: Path) -> None:
    (llama / "model.safetensors").rename(llama / "pytorch_model.bin")
    assert "only pickled weights, which localprobe never loads" in refusal(
        UnknownModel, str(llama), [vector()], tmp_path / "baked"
    )


def test_a_gguf_file_with_norms_is_refused_before_it_is_converted(vector: Made, tmp_path: Path) -> None:
    path = tiny_gguf("gemma3_text", tmp_path / "tiny.gguf")
    assert "gemma3 has a norm between" in refusal(UnsupportedModel, str(path), [vector()], tmp_path / "baked")


def test_a_full_disk_is_refused_before_anything_is_written(
    vector: Made, llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10**6))
    line = refusal(ModelError, str(llama), [vector()], tmp_path / "baked")
    assert line.startswith(f"{tmp_path / 'baked'} takes 0.1 GB, and the disk of {tmp_path} has 0.0 GB left")
    assert [path.name for path in tmp_path.iterdir()] == ["tiny-llama"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "no space"), RuntimeError("a bug")])
def test_nothing_is_left_of_what_was_broken_off(
    error: BaseException, vector: Made, llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*arguments: Any) -> None:
        raise error

    monkeypatch.setattr(folder, "write", breaks)
    full = isinstance(error, OSError)
    with pytest.raises(
        ModelError if full else type(error), match="the disk filled up; nothing was left" if full else None
    ):
        bake(str(llama), [vector()], tmp_path / "baked")
    assert [path.name for path in tmp_path.iterdir()] == ["tiny-llama"]


def test_the_folder_holds_all_but_weights_unchanged_and_names_what_was_left_out(
    vector: Made, llama: Path, tmp_path: Path
) -> None:
    (llama / "LICENSE").write_text("do as you please")
    (llama / "pytorch_model.bin").touch()
    (llama / "consolidated.safetensors").touch()
    (llama / "original").mkdir()
    (llama / "README.md").write_text("the source's own")
    done = bake(str(llama), [vector()], tmp_path / "baked", check=False)
    assert done.left_out == ("consolidated.safetensors", "original", "pytorch_model.bin")
    for name in ("LICENSE", "tokenizer.json", "tokenizer_config.json", "generation_config.json", "config.json"):
        assert (tmp_path / "baked" / name).read_bytes() == (llama / name).read_bytes()


def test_the_folder_says_what_was_done(vector: Made, llama: Path, tmp_path: Path) -> None:
    done = bake(str(llama), [vector(0), vector(1, "warm")], tmp_path / "baked", layer=1)
    mark = json.loads((tmp_path / "baked" / "localprobe.json").read_text())
    assert mark["source"] == {"model": "tiny-llama", "weights": fingerprint(llama), "architecture": "llama"}
    assert [(removed["concept"], removed["layer"]) for removed in mark["removed"]] == [("calm", 1), ("warm", 1)]
    assert all(len(removed["sha256"]) == 64 for removed in mark["removed"])
    assert mark["changed"] == {"token embedding": 1, "attention": 4, "MLP": 4}
    assert mark["check"]["engine"] == check.engines()[0]
    assert done.check is not None
    assert done.check.left < 1e-5
    card = (tmp_path / "baked" / "README.md").read_text()
    assert "# tiny-llama without calm, warm" in card
    assert fingerprint(llama) in card
    assert str(tmp_path) not in card, "where it lay is nobody's business"
    assert "9 of 39 tensors" in card


def test_without_a_check_the_folder_says_so(vector: Made, llama: Path, tmp_path: Path) -> None:
    done = bake(str(llama), [vector()], tmp_path / "baked", check=False)
    assert (done.check, done.unchecked) == (None, "the check was turned off")
    assert "| checked | no: the check was turned off |" in (tmp_path / "baked" / "README.md").read_text()


def test_without_an_engine_a_known_architecture_is_written_and_another_is_not(
    vector: Made, llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "engines", list)
    done = bake(str(llama), [vector()], tmp_path / "baked")
    assert (done.check, done.unchecked) == (None, "no engine that loads folders is installed")
    configure(llama, model_type="new")
    with pytest.raises(UnsupportedModel, match="new is not an architecture that localprobe knows how to bake"):
        bake(str(llama), [vector()], tmp_path / "another")


def test_a_name_of_the_library_is_the_vector_for_these_weights(
    vector: Made, llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCALPROBE_DATA", str(tmp_path / "data"))
    random = np.random.default_rng(3)

    def kept(weights: str, model: str) -> Vector:
        directions = {2: Direction(random.standard_normal(64).astype(np.float32))}
        Library().keep(made := Vector("calm", Origin(model, weights, width=64, layers=4), directions, 2))
        return made

    kept("f" * 64, "another-model")
    assert "the vector 'calm' is kept for another-model, not for" in refusal(
        VectorError, str(llama), ["calm"], tmp_path / "baked"
    )
    own = kept(fingerprint(llama), "tiny")
    by_name = bake(str(llama), ["calm"], tmp_path / "by-name", check=False)
    in_memory = bake(str(llama), [own], tmp_path / "in-memory", check=False)
    assert by_name.removed == in_memory.removed


def test_a_vector_of_another_model_is_used_with_a_warning(vector: Made, llama: Path, tmp_path: Path) -> None:
    stranger = Vector("calm", Origin("another-model"), vector().directions, 2)
    files.save(stranger, tmp_path / "calm.safetensors")
    told: list[str] = []
    bake(str(llama), [tmp_path / "calm.safetensors"], tmp_path / "baked", check=False, notify=told.append)
    assert told == [f"vector 'calm' was made for another-model, not for {llama}: expect little of it"]


def test_localprobe_loads_the_folder_and_a_gguf_keeps_its_tokens(vector: Made, tmp_path: Path) -> None:
    path = tiny_gguf("qwen2", tmp_path / "tiny.gguf")
    bake(str(path), [vector()], tmp_path / "baked")
    texts = ["Kind words cost nothing, 12345!", "  two  spaces\n\nand lines"]
    options = LoadOptions(threads=1)
    with (
        Model.load(str(path), "torch", options) as source,
        Model.load(str(tmp_path / "baked"), "torch", options) as baked,
    ):
        for text in texts:
            np.testing.assert_array_equal(source.engine.encode(text), baked.engine.encode(text))
        direction = vector().directions[2].vector
        residuals = baked.pooled(texts, pooling="mean")
        parts = residuals @ (direction / np.linalg.norm(direction))
        assert np.abs(parts).max() < 1e-5 * np.linalg.norm(residuals, axis=-1).min()


def test_from_python(vector: Made, llama: Path, tmp_path: Path) -> None:
    files.save(vector(), tmp_path / "calm.safetensors")
    one = lp.bake(str(llama), tmp_path / "calm.safetensors", str(tmp_path / "one"), check=False)
    two = lp.bake(str(llama), [vector(), vector(1, "warm")], tmp_path / "two", share=0.5, check=False)
    assert [removed.concept for removed in one.removed] == ["calm"]
    assert ([removed.concept for removed in two.removed], two.share) == (["calm", "warm"], 0.5)


def test_what_no_engine_can_load_is_not_kept(vector: Made, tmp_path: Path) -> None:
    source = tiny_folder("llama", tmp_path / "source")
    configure(source, model_type="new")
    with pytest.raises(ModelError):
        bake(str(source), [vector()], tmp_path / "baked")
    assert not (tmp_path / "baked").exists()
