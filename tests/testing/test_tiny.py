"""The tiny models load everywhere, and are the same model everywhere."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from localprobe.testing.texts import TEXTS
from localprobe.testing.tiny import ARCHITECTURES, GGUF_ARCHITECTURES, tiny_folder, tiny_gguf
from localprobe.testing.tiny.configs import WINDOW

Expected = Mapping[str, Mapping[str, Any]]
BLIND = {"mistral", "gemma2"}
"""Architectures whose sliding window mlx-lm does not know."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("tiny")
    return {architecture: tiny_folder(architecture, root / architecture) for architecture in ARCHITECTURES}


@pytest.fixture(scope="module")
def expected(folders: dict[str, Path]) -> Expected:
    """What transformers makes of each folder: ids and logits of a text."""
    script = Path(__file__).with_name("tiny_logits.py")
    subprocess.run([sys.executable, script, *folders.values()], check=True, capture_output=True, text=True)
    return {architecture: np.load(folder / "logits.npz") for architecture, folder in folders.items()}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_seed_names_a_model(architecture: str, tmp_path: Path) -> None:
    first, same, other = (tiny_folder(architecture, tmp_path / str(n), seed) for n, seed in enumerate([0, 0, 1]))
    for name in ("model.safetensors", "tokenizer.json", "config.json"):
        assert (first / name).read_bytes() == (same / name).read_bytes()
    ours, others = load_file(first / "model.safetensors"), load_file(other / "model.safetensors")
    assert ours.keys() == others.keys()
    assert not any(np.array_equal(ours[name], others[name]) for name in ours)
    assert json.loads((first / "config.json").read_text())["model_type"] == architecture


@pytest.mark.slow
def test_transformers_loads_every_tensor_and_residuals_are_of_order_one(expected: Expected) -> None:
    for architecture in ARCHITECTURES:
        assert 1 < min(expected[architecture]["sizes"]) <= max(expected[architecture]["sizes"]) < 6
        logits = expected[architecture]["logits"]
        assert 1 < logits.std() < 3
        assert len(set(logits.argmax(axis=-1))) > 10, "the greedy choice depends on the text"


@pytest.mark.slow
@pytest.mark.parametrize("architecture", GGUF_ARCHITECTURES)
def test_llama_cpp_gives_the_same_ids_and_logits(architecture: str, expected: Expected, tmp_path: Path) -> None:
    llama_cpp = pytest.importorskip("llama_cpp")
    path = tiny_gguf(architecture, tmp_path / "tiny.gguf")
    # Keys, values and queries in F32: by default llama.cpp rounds them to 16 bits.
    exact: dict[str, Any] = {"type_k": 0, "type_v": 0, "flash_attn": False}
    llama = llama_cpp.Llama(str(path), n_ctx=256, n_threads=1, logits_all=True, verbose=False, **exact)
    ids = llama.tokenize(TEXTS[2].encode(), special=False)
    assert ids == expected[architecture]["ids"].tolist()
    llama.eval(ids)
    largest = np.abs(llama.scores[: len(ids)] - expected[architecture]["logits"]).max()
    assert largest < (0.02 if architecture == "gemma3_text" else 1e-4)  # its GELU is a table of 16 bits in llama.cpp
    llama.close()


@pytest.mark.mlx
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_mlx_gives_the_same_ids_and_logits(architecture: str, expected: Expected, folders: dict[str, Path]) -> None:
    mlx_lm = pytest.importorskip("mlx_lm")
    mx = pytest.importorskip("mlx.core")
    model, tokenizer = mlx_lm.load(str(folders[architecture]))
    ids = tokenizer.encode(TEXTS[2])
    assert ids == expected[architecture]["ids"].tolist()
    if architecture in BLIND:
        ids = ids[:WINDOW]
    logits = np.array(model(mx.array([ids])))[0]
    assert np.abs(logits - expected[architecture]["logits"][: len(ids)]).max() < 1e-4
