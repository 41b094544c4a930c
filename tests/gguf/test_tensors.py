"""Dequantised tensors in safetensors shards."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest
from safetensors.numpy import load_file

from localprobe.errors import CorruptFile, UnsupportedModel
from localprobe.gguf import Header, TensorInfo, read_header, tensors
from localprobe.gguf.names import Source
from localprobe.gguf.tensors import Dtype, check_types, load, write_shards

KINDS = [kind for kind in gguf.GGMLQuantizationType if kind in gguf.quants._type_traits or kind.name in ("F32", "F16")]
INTEGERS = ("I8", "I16", "I32", "I64", "F64")


def written(path: Path, arrays: dict[str, np.ndarray], kind: str = "F32") -> Header:
    chosen = gguf.GGMLQuantizationType[kind]
    writer = gguf.GGUFWriter(path / "f.gguf", "llama")
    for name, array in arrays.items():
        writer.add_tensor(name, gguf.quantize(array, chosen), raw_dtype=chosen)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return read_header(path / "f.gguf")


def shards(header: Header, path: Path, dtype: Dtype = "float32") -> dict[str, np.ndarray]:
    counts: list[int] = []
    sources = [Source(f"hf.{name}", info) for name, info in header.tensors.items()]
    write_shards(header, sources, path, dtype, counts.append)
    assert sum(counts) == tensors.total_bytes(sources, dtype)
    return {name: array for file in path.glob("*.safetensors") for name, array in load_file(file).items()}


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "TQ1_0"])
def test_every_chunk_is_dequantised(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    array = random.standard_normal((37, 256)).astype(np.float32)
    header = written(tmp_path, {"a": array}, kind)
    chosen = gguf.GGMLQuantizationType[kind]
    expected = gguf.dequantize(gguf.quantize(array, chosen), chosen)
    monkeypatch.setattr(tensors, "_CHUNK", 3 * 256)
    np.testing.assert_array_equal(shards(header, tmp_path)["hf.a"], expected)
    np.testing.assert_array_equal(load(header, header.tensors["a"]), expected)


def test_several_shards_and_their_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import json

    arrays = {f"t{i}": np.full((4, 8), i, np.float32) for i in range(5)}
    header = written(tmp_path, arrays)
    monkeypatch.setattr(tensors, "SHARD_BYTES", 300)
    found = shards(header, tmp_path)
    assert {name: array[0, 0] for name, array in found.items()} == {f"hf.t{i}": i for i in range(5)}
    assert [file.name for file in sorted(tmp_path.glob("model-*"))] == [
        f"model-0000{i}-of-00003.safetensors" for i in (1, 2, 3)
    ]
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == 5 * 128
    assert index["weight_map"]["hf.t4"] == "model-00003-of-00003.safetensors"


def test_bfloat16_rounds_to_nearest_even(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file as load_torch

    array = np.random.default_rng(0).standard_normal((64, 32)).astype(np.float32)
    array[0, :3] = [1 + 2**-8, 1 + 3 * 2**-8, -0.0]
    shards(written(tmp_path, {"a": array}), tmp_path, "float16")
    path = tmp_path / "bf16"
    path.mkdir()
    write_shards(
        header := read_header(tmp_path / "f.gguf"), [Source("a", header.tensors["a"])], path, "bfloat16", print
    )
    found = load_torch(path / "model.safetensors")["a"]
    assert torch.equal(found, torch.from_numpy(array).bfloat16())


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinity_are_damage(tmp_path: Path, bad: float) -> None:
    array = np.ones((4, 32), np.float32)
    array[2, 5] = bad
    with pytest.raises(CorruptFile, match="the tensor a holds NaN or infinity"):
        shards(written(tmp_path, {"a": array}), tmp_path)


def test_what_float16_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel, match="the tensor a does not fit into float16"):
        shards(written(tmp_path, {"a": np.full((4, 32), 1e6, np.float32)}), tmp_path, "float16")


@pytest.mark.parametrize("kind", INTEGERS)
def test_integers_are_no_weights(tmp_path: Path, kind: str) -> None:
    writer = gguf.GGUFWriter(tmp_path / "f.gguf", "llama")
    dtype = {"I8": np.int8, "I16": np.int16, "I32": np.int32, "I64": np.int64, "F64": np.float64}[kind]
    writer.add_tensor("a", np.zeros((4, 32), dtype))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    header = read_header(tmp_path / "f.gguf")
    with pytest.raises(UnsupportedModel, match=f"the tensor a is {kind}"):
        check_types(header, [Source("a", header.tensors["a"])])


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_quantisation_that_gguf_knows_passes(kind: gguf.GGMLQuantizationType, tmp_path: Path) -> None:
    header = written(tmp_path, {"a": np.zeros((4, 256), np.float32)})
    info = header.tensors["a"]
    moved = TensorInfo(info.name, info.shape, kind, info.offset, info.nbytes)
    check_types(header, [Source("a", moved)])
