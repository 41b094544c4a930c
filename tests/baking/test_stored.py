"""Tensors read, edited and written without losing their type."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from localprobe.baking import stored as stored_file
from localprobe.baking.stored import Edit, Written, tensors, write
from localprobe.errors import CorruptFile, UnsupportedModel

RANDOM = np.random.default_rng(0)
D = np.linalg.qr(RANDOM.standard_normal((8, 2)))[0]
"""Two directions of width 8."""
EDIT = Edit(D, 0.5)


def one(path: Path, array: np.ndarray, name: str = "w") -> stored_file.Stored:
    save_file({name: array}, path)
    return tensors([path])[name]


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-14), ("float32", 1e-6), ("float16", 2e-3)])
def test_rows_and_columns_lose_half_of_the_directions(dtype: str, tolerance: float, tmp_path: Path) -> None:
    whole = RANDOM.standard_normal((5, 8)).astype(dtype)
    expected = whole - 0.5 * (whole.astype(np.float64) @ D) @ D.T
    rows = EDIT.apply(one(tmp_path / "a", whole), -1)
    assert rows.dtype == whole.dtype
    np.testing.assert_allclose(rows, expected, atol=tolerance)
    columns = EDIT.apply(one(tmp_path / "b", np.ascontiguousarray(whole.T)), -2)
    np.testing.assert_allclose(columns, expected.T, atol=tolerance)


def test_a_bias_and_joined_experts(tmp_path: Path) -> None:
    bias = RANDOM.standard_normal(8).astype(np.float32)
    np.testing.assert_allclose(EDIT.apply(one(tmp_path / "a", bias), -1), bias - 0.5 * D @ (D.T @ bias), atol=1e-6)
    experts = RANDOM.standard_normal((3, 8, 5)).astype(np.float32)  # (experts, width, inner)
    edited = EDIT.apply(one(tmp_path / "b", experts), -2)
    np.testing.assert_allclose(edited, experts - 0.5 * D @ (D.T @ experts), atol=1e-6)


def test_a_tensor_of_several_pieces_is_edited_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = one(tmp_path / "a", RANDOM.standard_normal((8, 33)).astype(np.float32))
    whole = EDIT.apply(stored, -2)
    monkeypatch.setattr(stored_file, "_PIECE", 40)  # five columns at once
    np.testing.assert_array_equal(EDIT.apply(stored, -2), whole)


def test_bfloat16_is_rounded_to_the_nearest(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file as save_torch

    weight = torch.randn(8, 100, generator=torch.Generator().manual_seed(0)).bfloat16()
    save_torch({"w": weight}, tmp_path / "a")
    edited = Edit(D, 1.0).apply(tensors([tmp_path / "a"])["w"], -2)
    d = torch.tensor(D)
    expected = (weight.double() - d @ (d.T @ weight.double())).float().bfloat16()
    assert edited.dtype == np.uint16
    np.testing.assert_array_equal(edited, expected.view(torch.uint16).numpy())


def test_share_0_leaves_every_bit(tmp_path: Path) -> None:
    half = RANDOM.standard_normal((5, 8)).astype(np.float16)
    np.testing.assert_array_equal(Edit(D, 0.0).apply(one(tmp_path / "a", half), -1), half)


def test_a_tensor_that_is_no_float_or_not_finite_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel, match=r"the tensor 'w' is stored as I8.*bake the original weights"):
        EDIT.apply(one(tmp_path / "a", np.zeros((8, 8), np.int8)), -1)
    with pytest.raises(CorruptFile, match="the tensor 'w' holds NaN or infinity"):
        EDIT.apply(one(tmp_path / "b", np.full((8, 8), np.nan, np.float32)), -1)


def test_what_float16_cannot_hold_is_refused(tmp_path: Path) -> None:
    direction = np.array([[1.0], [-1.0], *[[0.0]] * 6]) / np.sqrt(2)
    large = np.array([60_000, 60_000, *[0] * 6], np.float16)
    with pytest.raises(UnsupportedModel, match="the tensor 'w' without the direction exceeds float16"):
        Edit(direction, -1.0).apply(one(tmp_path / "a", large * np.array([1, -1, *[0] * 6], np.float16)), -1)


def test_what_is_written_is_a_safetensors_file_of_the_same_bytes(tmp_path: Path) -> None:
    arrays = {"b": RANDOM.standard_normal((3, 5)).astype(np.float32), "a": np.arange(6, dtype=np.int64)}
    save_file(arrays, tmp_path / "from")
    found = tensors([tmp_path / "from"])
    counted: list[int] = []
    written = [Written(name, stored, stored.pieces) for name, stored in found.items()]
    twin = Written("b twin", found["b"], partial(lambda: [arrays["b"].data]))
    digest = write(tmp_path / "to", [*written, twin], {"format": "pt"}, counted.append)
    assert digest == hashlib.sha256((tmp_path / "to").read_bytes()).hexdigest()
    assert sum(counted) == 2 * 60 + 48
    loaded = load_file(tmp_path / "to")
    assert list(loaded) == sorted(["a", "b", "b twin"])
    for name, array in arrays.items():
        np.testing.assert_array_equal(loaded[name], array)
    with safe_open(tmp_path / "to", framework="numpy") as file:
        assert file.metadata() == {"format": "pt"}


def test_a_tensor_in_two_files_is_refused(tmp_path: Path) -> None:
    for name in ("one", "two"):
        save_file({"w": np.zeros(3, np.float32)}, tmp_path / name)
    with pytest.raises(CorruptFile, match="one and two both hold the tensor 'w'"):
        tensors([tmp_path / "one", tmp_path / "two"])
