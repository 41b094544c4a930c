from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from localprobe.errors import CorruptFile, ModelError, UnknownModel, UnsupportedModel
from localprobe.models.checkpoint import Size, check_folder, check_gguf, read_header, size, weight_files
from tests.models.fake_hub import folder_files, gguf_bytes, write_folder


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is not a GGUF file: it is empty"),
        (b"version https://git-lfs.github.com/spec/v1", "Git LFS pointer"),
        (b"<!doctype html>", "it is a web page"),
        (b"PK\x03\x04", "zip or pickle"),
        (b"\x80\x02}q", "zip or pickle"),
        (b"hello", "it starts with b'hell'"),
        (b"GGUF\x03", "is cut off after 5 bytes"),
    ],
)
def test_a_file_that_is_no_gguf(tmp_path: Path, data: bytes, said: str) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(data)
    with pytest.raises(CorruptFile, match=said):
        check_gguf(path)


def test_gguf_of_an_old_version(tmp_path: Path) -> None:
    data = gguf_bytes(tmp_path)
    (tmp_path / "whole.gguf").write_bytes(data)
    check_gguf(tmp_path / "whole.gguf")
    (tmp_path / "old.gguf").write_bytes(data[:4] + b"\x01\0\0\0" + data[8:])
    with pytest.raises(UnsupportedModel, match=r"old\.gguf is GGUF version 1"):
        check_gguf(tmp_path / "old.gguf")


def test_every_part_of_a_split_gguf_is_checked_and_counted(tmp_path: Path) -> None:
    data = gguf_bytes(tmp_path)
    first, second = tmp_path / "a-00001-of-00002.gguf", tmp_path / "a-00002-of-00002.gguf"
    first.write_bytes(data)
    with pytest.raises(UnknownModel, match=r"a-00002-of-00002\.gguf is missing: a GGUF file in 2 parts needs all"):
        check_gguf(first)
    second.write_bytes(data + data)
    for path in (first, second):
        check_gguf(path)
        assert size(path) == Size(3 * len(data))
    second.write_bytes(b"<html>")
    with pytest.raises(CorruptFile, match=r"a-00002-of-00002\.gguf is not a GGUF file: it is a web page"):
        check_gguf(first)


def test_a_whole_folder_and_its_size(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "model")
    check_folder(folder)
    stored = (folder / "model.safetensors").stat().st_size
    assert size(folder) == Size(bytes=stored, floats=256, float_bytes=512)
    assert size(folder).in_memory(None) == stored
    assert size(folder).in_memory(4) == stored + 512


def test_packed_integers_do_not_grow_with_the_dtype(tmp_path: Path) -> None:
    tensors = {"w": np.zeros((4, 8), np.uint32), "scales": np.zeros((4, 2), np.float16)}
    folder = write_folder(tmp_path / "4bit", {**folder_files(), "model.safetensors": save(tensors)})
    assert size(folder).in_memory(4) - size(folder).bytes == 8 * 2


def test_an_index_says_which_files_count(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "model")
    names = ["model-00002-of-00002.safetensors", "model-00001-of-00002.safetensors"]
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": names[0], "b": names[1], "c": names[0]}}))
    assert [path.name for path in weight_files(folder)] == [*sorted(names), "model.safetensors"]  # which is preferred
    (folder / "model.safetensors").unlink()
    assert [path.name for path in weight_files(folder)] == sorted(names)
    with pytest.raises(UnknownModel, match=r"lacks model-00001-of-00002\.safetensors, which its index names"):
        check_folder(folder)
    for strange in ("", "..", "sub/model.safetensors"):
        index.write_text(json.dumps({"weight_map": {"a": "model-00001-of-00002.safetensors", "b": strange}}))
        with pytest.raises(CorruptFile, match=f"names '{strange}', which is not a file of its folder"):
            check_folder(folder)
    index.write_text(json.dumps({"weight_map": {"a": "../../etc/passwd"}}))
    with pytest.raises(CorruptFile, match=r"names '\.\./\.\./etc/passwd', which is not a file of its folder"):
        check_folder(folder)
    index.write_text(json.dumps({"weight_map": ["a"]}))
    with pytest.raises(CorruptFile, match="has no weight_map"):
        check_folder(folder)


@pytest.mark.parametrize(
    ("lacking", "error", "said"),
    [
        ("config.json", UnknownModel, "holds no config.json"),
        ("model.safetensors", UnknownModel, r"holds no \*\.safetensors weights"),
        ("tokenizer.json", UnknownModel, "holds no tokenizer.json"),
    ],
)
def test_a_folder_that_lacks_something(tmp_path: Path, lacking: str, error: type[ModelError], said: str) -> None:
    folder = write_folder(tmp_path / "model")
    (folder / lacking).unlink()
    with pytest.raises(error, match=said):
        check_folder(folder)


def test_an_adapter_beside_the_weights_is_refused(tmp_path: Path) -> None:
    """transformers applies it where peft is installed; mlx-lm does not."""
    folder = write_folder(tmp_path / "model", {**folder_files(), "adapter_config.json": b"{}"})
    with pytest.raises(UnsupportedModel, match=r"holds an adapter beside its weights .*: merge it into the weights"):
        check_folder(folder)


def test_a_folder_of_pickles(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "model", {"config.json": b"{}", "pytorch_model.bin": b"\x80"})
    with pytest.raises(UnknownModel, match="only pickled weights, which localprobe never loads"):
        check_folder(folder)


@pytest.mark.parametrize(
    ("data", "said"), [(b"{", "not JSON .* or fetch the file again"), (b"[]", "a JSON object and holds a list")]
)
def test_a_broken_config(tmp_path: Path, data: bytes, said: str) -> None:
    folder = write_folder(tmp_path / "model", {**folder_files(), "config.json": data})
    with pytest.raises(CorruptFile, match=said):
        check_folder(folder)


def test_broken_safetensors(tmp_path: Path) -> None:
    whole = folder_files()["model.safetensors"]
    folder = tmp_path / "model"
    for data, said in [
        (whole[:-1], f"should be {len(whole)} bytes long and is {len(whole) - 1}"),
        (whole + b"x", f"should be {len(whole)} bytes long"),
        (whole[:4], "is not a safetensors file"),
        (b"\xff" * 8 + whole[8:], "is not a safetensors file"),
        (whole[:8] + b"!" + whole[9:], "has a broken safetensors header"),
        (b"\x02" + b"\0" * 7 + b"[]", "has a broken safetensors header"),
        (b"\x80\x02}q" + b"\0" * 16, "is not a safetensors file: it is a zip or pickle file"),
    ]:
        write_folder(folder, {**folder_files(), "model.safetensors": data})
        with pytest.raises(CorruptFile, match=said):
            check_folder(folder)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ('{"dtype": "F32", "shape": "4", "data_offsets": [0, 16]}', "the tensor 'w' has the shape '4'"),
        ('{"dtype": "F32", "shape": [-4], "data_offsets": [0, 16]}', r"has the shape \[-4\]"),
        ('{"dtype": "F32", "shape": [4.0], "data_offsets": [0, 16]}', r"has the shape \[4.0\]"),
        ('{"dtype": "F32", "shape": [18446744073709551616], "data_offsets": [0, 16]}', "has the shape"),
        ('{"dtype": "F32", "shape": [2147483648, 2147483648], "data_offsets": [0, 16]}', "of F32 in 16 bytes"),
        ('{"dtype": "F32", "shape": [4], "data_offsets": [16, 0]}', "has the data_offsets"),
        ('{"dtype": "F32", "shape": [4], "data_offsets": 16}', "has the data_offsets 16"),
        ('{"dtype": "F32", "shape": [4], "data_offsets": [4, 20]}', "begins at byte 4, the one before ends at 0"),
        ('{"dtype": 7, "shape": [4], "data_offsets": [0, 16]}', "has no dtype"),
        ("[]", "has no dtype"),
        ("[" * 100_000, "deep"),
    ],
)
def test_a_tensor_that_cannot_be_is_named(entry: str, said: str, tmp_path: Path) -> None:
    header = f'{{"w": {entry}}}'.encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(16))
    with pytest.raises(CorruptFile, match=rf"broken safetensors header .*{said}") as raised:
        read_header(path)
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 500
