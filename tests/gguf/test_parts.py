"""GGUF files in parts."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from localprobe.errors import CorruptFile, UnknownModel
from localprobe.gguf import read_header, read_model, to_folder
from localprobe.gguf.parts import is_later_part, part_names, parts
from localprobe.gguf.tensors import load
from localprobe.testing.tiny import tiny_gguf
from tests.gguf.split import split_gguf


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("a-00002-of-00002.gguf", ["a-00001-of-00002.gguf", "a-00002-of-00002.gguf"]),
        ("Q4/a-00001-of-00002.gguf", ["Q4/a-00001-of-00002.gguf", "Q4/a-00002-of-00002.gguf"]),
        ("a-00001-of-00001.gguf", ["a-00001-of-00001.gguf"]),
        ("a-00003-of-00002.gguf", ["a-00003-of-00002.gguf"]),
        ("a-00000-of-00002.gguf", ["a-00000-of-00002.gguf"]),
        ("a-1-of-2.gguf", ["a-1-of-2.gguf"]),
        ("a.gguf", ["a.gguf"]),
    ],
)
def test_the_parts_of_a_name(name: str, names: list[str]) -> None:
    assert part_names(name) == names
    assert [is_later_part(part) for part in names] == [False, *[True] * (len(names) - 1)]


def test_the_header_of_all_parts_is_that_of_the_whole(tiny: Path, tmp_path: Path) -> None:
    files = split_gguf(tiny, tmp_path)
    whole = read_header(tiny)
    for given in files:
        model = read_model(given)
        assert model.path == files[0]
        assert model.size == sum(file.stat().st_size for file in files)
        assert model.tensors.keys() == whole.tensors.keys()
        assert {model.file(info) for info in model.tensors.values()} == set(files)
        assert model.architecture == whole.architecture
    for name, info in read_model(files[0]).tensors.items():
        np.testing.assert_array_equal(load(model, info), load(whole, whole.tensors[name]))


@pytest.mark.parametrize("architecture", ["llama", "gemma3_text"])
def test_a_split_file_becomes_the_folder_of_the_whole_one(architecture: str, tmp_path: Path) -> None:
    whole = tiny_gguf(architecture, tmp_path / "whole.gguf")
    last = split_gguf(whole, tmp_path / "split")[-1]
    expected, found = (to_folder(file, file.stem, tmp_path / "cache") for file in (whole, last))
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        assert (found / name).read_bytes() == (expected / name).read_bytes()
    assert load_file(found / "model.safetensors")


def test_one_part_of_one_is_a_whole_file(tiny: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(tiny, tmp_path / "tiny-00001-of-00001.gguf"))
    (one,) = split_gguf(tiny, tmp_path / "split", count=1)
    for file in (path, one):
        assert parts(file) == [file]
        assert read_model(file).tensors.keys() == read_header(tiny).tensors.keys()


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_a_missing_part_is_named(tiny: Path, tmp_path: Path, missing: int) -> None:
    files = split_gguf(tiny, tmp_path)
    files[missing].unlink()
    name = f"tiny-0000{missing + 1}-of-00003"
    for given in files:
        with pytest.raises(UnknownModel, match=rf"{name}\.gguf is missing: a GGUF file in 3 parts needs all of them"):
            read_model(given)


def test_parts_of_two_models_are_no_model(tiny: Path, tmp_path: Path) -> None:
    files = split_gguf(tiny, tmp_path)
    others = split_gguf(tiny, tmp_path / "four", count=4)
    whole = files[1].read_bytes()
    files[1].write_bytes(others[1].read_bytes())
    with pytest.raises(CorruptFile, match=r"named as part 2 of 3 and its header says that it is part 2 of 4: rename"):
        read_model(files[0])
    files[1].write_bytes(files[2].read_bytes())
    with pytest.raises(CorruptFile, match=r"named as part 2 of 3 and its header says that it is part 3 of 3: rename"):
        read_model(files[0])
    files[1].write_bytes(whole)
    renamed = files[0].rename(tmp_path / "renamed.gguf")
    with pytest.raises(CorruptFile, match=r"named as a whole file and its header says that it is part 1 of 3: rename"):
        read_model(renamed)
    named = Path(shutil.copy(tiny, tmp_path / "tiny-00001-of-00003.gguf"))
    with pytest.raises(CorruptFile, match=r"named as part 1 of 3 and its header says that it is a whole file: rename"):
        read_model(named)


def test_a_tensor_in_two_parts_or_in_none_is_told(tiny: Path, tmp_path: Path) -> None:
    import gguf

    def part(number: int, *names: str) -> None:
        writer = gguf.GGUFWriter(tmp_path / f"x-0000{number}-of-00002.gguf", "llama")
        writer.add_uint16("split.no", number - 1)
        writer.add_uint16("split.count", 2)
        writer.add_int32("split.tensors.count", 3)
        for name in names:
            writer.add_tensor(name, np.ones((2, 32), np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()

    part(1, "a", "b")
    part(2, "b")
    with pytest.raises(CorruptFile, match=r"x-00002-of-00002\.gguf: the tensor 'b' is in another part too"):
        read_model(tmp_path / "x-00001-of-00002.gguf")
    part(2)
    with pytest.raises(CorruptFile, match="hold 2 tensors and should hold 3"):
        read_model(tmp_path / "x-00001-of-00002.gguf")
