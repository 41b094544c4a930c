"""Rope scaling found back from a GGUF, or refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from localprobe.errors import CorruptFile, UnsupportedModel
from localprobe.gguf import read_header
from localprobe.gguf.rope import partial_factor, rope, short_decimal
from localprobe.gguf.sizes import Sizes

SIZES = Sizes(layers=1, width=512, heads=4, kv_heads=4, head_width=128, feed_forward=8, vocabulary=8, context=131072)


def scaling(path: Path, family: str = "llama", freqs: Any = None, **metadata: Any) -> dict[str, Any]:
    """The rope parameters of a GGUF with these metadata and this `rope_freqs.weight`."""
    writer = gguf.GGUFWriter(path / "f.gguf", family)
    if freqs is not None:
        writer.add_tensor("rope_freqs.weight", np.asarray(freqs, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    header = read_header(path / "f.gguf")
    header.metadata.update({f"{family}.rope.{key.replace('__', '.')}": value for key, value in metadata.items()})
    partial_factor(header, SIZES)
    return rope(header, SIZES)


def llama3(factor: float, low: float, high: float, original: int, theta: float = 500_000.0) -> Any:
    """What llama.cpp's converter stores for Llama 3's scaling: one factor a frequency."""
    wavelengths = 2 * np.pi * theta ** (np.arange(0, 128, 2) / 128)
    smooth = np.clip((original / wavelengths - low) / (high - low), 0, 1)
    return 1 / ((1 - smooth) / factor + smooth)


def test_plain(tmp_path: Path) -> None:
    assert scaling(tmp_path) == {"rope_type": "default", "rope_theta": 10_000.0}
    assert scaling(tmp_path, freq_base=500_000.0)["rope_theta"] == 500_000.0
    assert scaling(tmp_path, "gemma3")["rope_theta"] == 1_000_000.0
    assert scaling(tmp_path, scaling__type="none", scaling__factor=4.0)["rope_type"] == "default"
    assert scaling(tmp_path, freqs=np.ones(64))["rope_type"] == "default"


def test_linear(tmp_path: Path) -> None:
    expected = {"rope_type": "linear", "rope_theta": 10_000.0, "factor": 4.0}
    assert scaling(tmp_path, scaling__type="linear", scaling__factor=4.0) == expected
    assert scaling(tmp_path, scale_linear=4.0) == expected  # older files


def test_yarn(tmp_path: Path) -> None:
    found = scaling(
        tmp_path, "qwen2", scaling__type="yarn", scaling__factor=4.0, scaling__original_context_length=32768
    )
    assert found["rope_type"] == "yarn"
    assert found["original_max_position_embeddings"] == 32768


@pytest.mark.parametrize(("factor", "original", "high"), [(8, 8192, 4), (32, 8192, 4), (16, 4096, 4), (4, 16384, 8)])
def test_llama3_is_found_back_from_its_factors(tmp_path: Path, factor: int, original: int, high: int) -> None:
    found = scaling(tmp_path, freqs=llama3(factor, 1, high, original), freq_base=500_000.0)
    assert found == {
        "rope_type": "llama3",
        "rope_theta": 500_000.0,
        "factor": factor,
        "low_freq_factor": 1.0,
        "high_freq_factor": high,
        "original_max_position_embeddings": original,
    }


def test_another_low_factor_is_the_same_scaling_written_otherwise(tmp_path: Path) -> None:
    found = scaling(tmp_path, freqs=llama3(8, 2, 8, 16384), freq_base=500_000.0)
    assert (found["high_freq_factor"], found["original_max_position_embeddings"]) == (4.0, 8192)


@pytest.mark.parametrize(
    ("family", "metadata", "message"),
    [
        ("llama", {"freqs": np.linspace(1, 9, 64)}, "not those of Llama 3's scaling"),
        ("llama", {"freqs": llama3(8, 1, 4, 8192), "scale_linear": 2.0}, "'linear' with rope_freqs.weight"),
        ("qwen2", {"scaling__type": "longrope", "scaling__factor": 2.0}, "longrope"),
        (
            "qwen2",
            {"scaling__type": "yarn", "scaling__factor": 2.0, "scaling__yarn_log_multiplier": 0.1},
            "'yarn' with qwen2.rope.scaling.yarn_log_multiplier",
        ),
        ("llama", {"dimension_count": 64}, "rotates 64 of the 128"),
    ],
)
def test_what_hugging_face_has_no_name_for(tmp_path: Path, family: str, metadata: dict[str, Any], message: str) -> None:
    with pytest.raises(UnsupportedModel, match=message):
        scaling(tmp_path, family, **metadata)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"freqs": np.ones(7)}, "not 64 numbers"),
        ({"freqs": np.full(64, np.nan)}, "cannot be factors"),
        ({"freqs": np.zeros(64)}, "cannot be factors"),
        ({"freq_base": float("nan")}, "freq_base is nan"),
        ({"freq_base": -1.0}, "freq_base is -1"),
        ({"freq_base": 1e300}, r"freq_base is 1e\+300"),  # a float64, which float32 cannot hold
        ({"scaling__factor": float("inf")}, "factor is inf"),
        ({"scaling__type": "yarn", "scaling__factor": 2.0, "scaling__original_context_length": 0}, "length is 0"),
        ({"dimension_count": 1000}, "heads are 128 wide"),
    ],
)
def test_numbers_that_cannot_be(tmp_path: Path, metadata: dict[str, Any], message: str) -> None:
    with pytest.raises(CorruptFile, match=message):
        scaling(tmp_path, **metadata)


def test_short_decimal() -> None:
    assert short_decimal(float(np.float32(1e-5))) == 1e-5
    assert short_decimal(500_000.0) == 500_000.0
