"""What `export` writes steers llama.cpp, used as llama-server uses it, bit for bit as the vector does in localprobe."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np
import pytest

from localprobe.engine import FloatArray, IntArray, Row
from localprobe.sampling import log_softmax
from localprobe.steering.knob import Knob, steering
from localprobe.steering.positions import Place
from localprobe.testing.tiny import tiny_gguf
from localprobe.vectors import files as vector_files
from localprobe.vectors.arithmetic import at_dose, only, scale
from localprobe.vectors.vector import Direction, Origin, Vector

pytest.importorskip("llama_cpp")

import llama_cpp

from localprobe_llama.engine import LlamaEngine
from tests.backends.llama_models import load, row
from tests.bundled import smollm2

FLASH_ATTENTION = 1


@pytest.fixture(scope="module", params=["tiny", pytest.param("real", marks=[pytest.mark.real, pytest.mark.slow])])
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return smollm2() if request.param == "real" else tiny_gguf("llama", tmp_path_factory.mktemp("llama") / "tiny.gguf")


@pytest.fixture(scope="module")
def engine(path: Path) -> Iterator[LlamaEngine]:
    engine = load(path)
    yield engine
    engine.close()


@pytest.fixture
def vector(engine: LlamaEngine) -> Vector:
    """A unit direction at every layer, whose alpha of 7.3 no power of two makes exact."""
    random = np.random.default_rng(0)
    directions = {}
    for layer in range(engine.info.layers):
        v = random.standard_normal(engine.info.width).astype(np.float32)
        directions[layer] = Direction(v / np.linalg.norm(v), scale=3.7 + layer)
    return Vector("x", Origin.of(engine.info, method="mean-difference", pooling="mean"), directions, 1)


def loaded(path: Path, layers: int, width: int) -> FloatArray:
    """Control vectors of a file as llama.cpp's programs load them: one buffer, which begins at block 1."""
    buffer = np.zeros((layers - 1, width), np.float32)
    reader = gguf.GGUFReader(path)
    for tensor in reader.tensors:
        name, _, layer = tensor.name.partition(".")
        assert (name, tensor.tensor_type) == ("direction", gguf.GGMLQuantizationType.F32)
        assert tensor.shape.tolist() == [width]
        buffer[int(layer) - 1] += tensor.data * np.float32(1)
    return buffer


def logits(model: Path, ids: IntArray, control: FloatArray | None) -> FloatArray:
    """Logits (n, vocabulary) of llama.cpp itself, with no part of the engine, under a control vector."""
    params = llama_cpp.llama_model_default_params()
    pointer = llama_cpp.llama_model_load_from_file(str(model).encode(), params)
    params = llama_cpp.llama_context_default_params()
    params.n_ctx, params.n_threads, params.n_threads_batch = 1024, 1, 1
    params.flash_attn_type = FLASH_ATTENTION  # the engine's choice: without it the sums of attention round otherwise
    context = llama_cpp.llama_init_from_model(pointer, params)
    if control is not None:
        data = control.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        layers, width = control.shape
        assert llama_cpp.llama_set_adapter_cvec(context, data, control.size, width, 1, layers + 1) == 0
    batch = llama_cpp.llama_batch_init(len(ids), 0, 1)
    batch.n_tokens = len(ids)
    for i, token in enumerate(ids):
        batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.logits[i] = int(token), i, 1, True
        batch.seq_id[i][0] = 0
    assert llama_cpp.llama_decode(context, batch) == 0
    size = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(pointer))
    found = np.ctypeslib.as_array(llama_cpp.llama_get_logits(context), shape=(len(ids), size)).copy()
    llama_cpp.llama_batch_free(batch)
    llama_cpp.llama_free(context)
    llama_cpp.llama_model_free(pointer)
    return found


def expected(engine: LlamaEngine, vector: Vector, layers: list[int], alphas: list[float]) -> FloatArray:
    """Log-probabilities (n, vocabulary) under the native vector."""
    ids = row(engine).ids
    knobs = [Knob(vector, layer, alpha) for layer, alpha in zip(layers, alphas, strict=True)]
    return engine.forward([Row(ids, steering(knobs, Place(len(ids))), full=tuple(range(len(ids))))])[0].full


@pytest.mark.parametrize("layers", [[1], [1, 2]])
def test_an_exported_vector_steers_bit_for_bit_as_the_native_one(
    engine: LlamaEngine, path: Path, vector: Vector, tmp_path: Path, layers: list[int]
) -> None:
    vector_files.export(scale(only(vector, layers), 7.3), tmp_path / "x.gguf")
    control = loaded(tmp_path / "x.gguf", engine.info.layers, engine.info.width)
    steered = log_softmax(logits(path, row(engine).ids, control))
    np.testing.assert_array_equal(steered, expected(engine, vector, layers, [7.3] * len(layers)))
    assert np.abs(steered - log_softmax(logits(path, row(engine).ids, None))).max() > 0.01


def test_an_export_at_a_dose_steers_as_the_model_does_at_that_dose(
    engine: LlamaEngine, path: Path, vector: Vector, tmp_path: Path
) -> None:
    vector_files.export(at_dose(only(vector, [2]), 0.25), tmp_path / "x.gguf")
    control = loaded(tmp_path / "x.gguf", engine.info.layers, engine.info.width)
    direction = vector.directions[2]
    alpha = 0.25 * direction.scale / direction.length
    steered = log_softmax(logits(path, row(engine).ids, control))
    np.testing.assert_array_equal(steered, expected(engine, vector, [2], [alpha]))


def test_the_file_read_back_steers_the_engine_as_llama_cpp_does(
    engine: LlamaEngine, path: Path, vector: Vector, tmp_path: Path
) -> None:
    vector_files.export(scale(only(vector, [1, 2]), 7.3), tmp_path / "x.gguf")
    control = loaded(tmp_path / "x.gguf", engine.info.layers, engine.info.width)
    again = expected(engine, vector_files.load(tmp_path / "x.gguf"), [1, 2], [1.0, 1.0])
    np.testing.assert_array_equal(log_softmax(logits(path, row(engine).ids, control)), again)
