from __future__ import annotations

import io
from pathlib import Path

import gguf
import numpy as np
import pytest

from localprobe.errors import CorruptFile, ModelError, UnknownModel
from localprobe.gguf import read_header
from localprobe.gguf.reader import Reader


def test_smollm2(smollm2: Path) -> None:
    header = read_header(smollm2)
    assert header.architecture == "llama"
    assert header.quantisation == "Q4_1"
    assert header.required("llama.block_count", int) == 30
    assert header.value("tokenizer.ggml.add_bos_token", bool) is False
    assert header.value("llama.rope.scaling.factor", float) is None
    tokens = header.texts("tokenizer.ggml.tokens")
    assert tokens is not None and len(tokens) == 49152 and tokens[1] == "<|im_start|>"
    kinds = header.numbers("tokenizer.ggml.token_type")
    assert kinds is not None and kinds.dtype == np.int32 and kinds[:4].tolist() == [3, 3, 3, 3]
    assert header.tensors["blk.0.attn_k.weight"].shape == (192, 576)


def test_every_tensor_lies_where_the_gguf_package_finds_it(tiny: Path) -> None:
    header = read_header(tiny)
    theirs = gguf.GGUFReader(tiny)
    assert len(header.tensors) == len(theirs.tensors)
    for tensor in theirs.tensors:
        ours = header.tensors[tensor.name]
        assert (ours.offset, ours.nbytes, ours.type) == (tensor.data_offset, tensor.n_bytes, tensor.tensor_type)
        assert ours.shape == tuple(int(size) for size in reversed(tensor.shape))
        assert ours.count == tensor.n_elements


class Counting(io.FileIO):
    """Counts what is read of it."""

    reads = size = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(-1 if size is None else size) or b""
        self.reads, self.size = self.reads + 1, self.size + len(data)
        return data


def test_nothing_but_the_header_is_read_and_that_once(smollm2: Path) -> None:
    with Counting(smollm2) as file:
        header = Reader(smollm2, file).header()
    data = min(tensor.offset for tensor in header.tensors.values())
    assert data - 32 < file.size <= data < header.size / 50
    texts = sum(len(value) for value in header.metadata.values() if isinstance(value, list))
    assert file.reads < 2 * texts + 20 * (len(header.metadata) + len(header.tensors))


def test_every_kind_of_value(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "f.gguf", "llama")
    written = {
        "a.uint8": (writer.add_uint8, 200),
        "a.int8": (writer.add_int8, -100),
        "a.uint16": (writer.add_uint16, 60_000),
        "a.int16": (writer.add_int16, -30_000),
        "a.uint32": (writer.add_uint32, 4_000_000_000),
        "a.int32": (writer.add_int32, -2_000_000_000),
        "a.uint64": (writer.add_uint64, 2**63),
        "a.int64": (writer.add_int64, -(2**62)),
        "a.float32": (writer.add_float32, 0.5),
        "a.float64": (writer.add_float64, 0.1),
        "a.bool": (writer.add_bool, True),
        "a.string": (writer.add_string, "naïve 東京"),
    }
    for key, (add, value) in written.items():
        add(key, value)
    writer.add_array("a.strings", ["", "é"])
    writer.add_array("a.floats", [0.5, 1.5])
    writer.add_array("a.bools", [True, False])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()

    metadata = read_header(tmp_path / "f.gguf").metadata
    assert {key: metadata[key] for key in written} == {key: value for key, (_, value) in written.items()}
    assert metadata["a.strings"] == ["", "é"]
    assert np.asarray(metadata["a.floats"]).tolist() == [0.5, 1.5]
    assert np.asarray(metadata["a.bools"]).tolist() == [True, False]


def test_a_value_of_another_kind_is_named(tiny: Path) -> None:
    header = read_header(tiny)
    with pytest.raises(CorruptFile, match=r"general\.name should be int, it is str"):
        header.value("general.name", int)
    with pytest.raises(CorruptFile, match=r"tokenizer.ggml.tokens should be an array of numbers, it is list"):
        header.numbers("tokenizer.ggml.tokens")
    with pytest.raises(CorruptFile, match=r"general\.name should be an array of text"):
        header.texts("general.name")
    with pytest.raises(CorruptFile, match=r"llama\.nothing is missing"):
        header.required("llama.nothing", int)


def test_quantisation_of_a_file_that_does_not_say(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "f.gguf", "llama")
    writer.add_tensor("a.weight", np.zeros((4, 64), np.float32))
    writer.add_tensor(
        "b.weight",
        gguf.quantize(np.zeros((64, 64), np.float32), gguf.GGMLQuantizationType.Q8_0),
        raw_dtype=gguf.GGMLQuantizationType.Q8_0,
    )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert read_header(tmp_path / "f.gguf").quantisation == "Q8_0"


def test_no_file_and_no_permission(tmp_path: Path) -> None:
    with pytest.raises(UnknownModel, match="no such file"):
        read_header(tmp_path / "nothing.gguf")
    with pytest.raises(ModelError, match="cannot read"):
        read_header(tmp_path)
