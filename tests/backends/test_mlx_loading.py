"""Loading: what is chosen, what is refused, and that each refusal is one clear line."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

if os.environ.get("LOCALPROBE_TEST_MLX") != "1":
    pytest.skip("needs a process of its own: LOCALPROBE_TEST_MLX=1", allow_module_level=True)
pytest.importorskip("mlx.core")
pytest.importorskip("mlx_lm")

import mlx.core as mx
import mlx.nn as nn

from localprobe.engine import Engine, LoadOptions, Prompt, Row, Sampler, Weights
from localprobe.errors import CorruptFile, ModelError, OutOfMemory, UnsupportedModel, UsageError
from localprobe.testing.tiny import tiny_folder
from localprobe_mlx import backend
from localprobe_mlx.loading import find_device
from localprobe_mlx.memory import Memory, memory_errors

pytestmark = pytest.mark.mlx


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_folder("llama", tmp_path / "model")


def load(folder: Path, **options: Any) -> Engine:
    return backend.load(Weights("tiny", folder, "folder", "abc123"), LoadOptions(**options))


def change(folder: Path, **config: Any) -> None:
    """Change the folder's config.json."""
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | config))


def refusal(folder: Path, kind: type[Exception], **options: Any) -> str:
    """The one line that refuses a load."""
    with pytest.raises(kind) as refused:
        load(folder, **options)
    line = str(refused.value)
    assert "\n" not in line
    assert len(line) < 300
    return line


def test_info_says_what_was_loaded(folder: Path) -> None:
    engine = load(folder)
    info = engine.info
    assert info.engine == "mlx"
    assert info.version.startswith("mlx 0.")
    assert (info.model, info.architecture, info.weights) == ("tiny", "llama", "abc123")
    assert (info.layers, info.width, info.vocabulary, info.context) == (4, 64, 385, 256)
    assert info.quantisation is None
    assert (info.bos, info.eos) == (380, (381, 383))
    assert info.special_text["eos_token"] == "<|end|>"
    assert info.chat_template is not None
    assert "<|im_start|>" in info.chat_template
    engine.close()


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"quantise": "4bit"}, "does not quantise"),
        ({"gpu_layers": 3}, "gpu_layers"),
        ({"low_memory": True}, "low_memory"),
        ({"threads": 2}, "threads"),
        ({"dtype": "float64"}, "'float64' is none of"),
        ({"device": "cuda:1"}, "no device 'cuda:1'"),
        ({"context": 0}, "at least 1"),
        ({"context": 10_000}, "more than the 256"),
    ],
)
def test_options_that_do_not_apply_are_refused(folder: Path, options: dict[str, Any], line: str) -> None:
    assert line in refusal(folder, UsageError, **options)


def test_context_dtype_and_device_are_honoured(folder: Path) -> None:
    engine = load(folder, context=100, dtype="bfloat16", device="cpu")
    assert (engine.info.context, engine.info.dtype, engine.info.device) == (100, "bfloat16", "cpu")
    assert engine.forward([Row(np.arange(5, dtype=np.int32))], [3])[0].residuals.dtype == np.float32
    engine.close()


@pytest.mark.skipif(mx.is_available(mx.gpu), reason="this machine has a GPU")
def test_without_a_gpu_the_cpu_is_taken_and_the_gpu_refused(folder: Path) -> None:
    assert find_device(None) == mx.Device(mx.cpu)
    assert "finds no GPU" in refusal(folder, UsageError, device="gpu")


def test_gemma_is_never_float16(tmp_path: Path) -> None:
    assert "overflow in float16" in refusal(tiny_folder("gemma3_text", tmp_path), UsageError, dtype="float16")


def test_an_unknown_architecture_is_named(folder: Path) -> None:
    change(folder, model_type="perceptron")
    assert "perceptron not supported" in refusal(folder, UnsupportedModel)


def test_weights_of_another_shape_are_refused(folder: Path) -> None:
    change(folder, hidden_size=32)
    assert "cannot load" in refusal(folder, UnsupportedModel)


def test_a_folder_that_is_no_model(tmp_path: Path) -> None:
    assert "is not a model folder" in refusal(tmp_path, ModelError)


def test_torn_weights(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    assert "bytes long and is" in refusal(folder, CorruptFile)


def test_a_folder_without_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    assert "tokenizer" in refusal(folder, UnsupportedModel)


def test_code_that_came_with_the_weights_needs_the_users_word(folder: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    (folder / "own.py").write_text(
        f"open({str(ran)!r}, 'w').close()\nfrom mlx_lm.models.llama import Model, ModelArgs\n"
    )
    change(folder, model_file="own.py")
    assert "trust_remote_code" in refusal(folder, UsageError)
    assert not ran.exists()
    load(folder, trust_remote_code=True).close()
    assert ran.exists()


def test_a_gguf_file_is_not_for_this_engine(folder: Path) -> None:
    weights = Weights("tiny", folder / "tiny.gguf", "gguf", "abc123")
    with pytest.raises(UnsupportedModel, match="not gguf files"):
        backend.load(weights, LoadOptions())


@pytest.mark.parametrize("bits", [4, 8])
def test_quantised_folders_load_as_they_are(folder: Path, bits: int) -> None:
    from mlx.utils import tree_flatten
    from mlx_lm.utils import load_model

    exact = load(folder)
    model, _ = load_model(folder)
    nn.quantize(model, group_size=32, bits=bits)
    mx.save_safetensors(str(folder / "model.safetensors"), dict(tree_flatten(model.parameters())))
    change(folder, quantization={"group_size": 32, "bits": bits})
    quantised = load(folder)
    assert quantised.info.quantisation == f"{bits}bit"
    row = Row(np.arange(5, 25, dtype=np.int32))
    a, b = (engine.forward([row], [3])[0].residuals.ravel() for engine in (exact, quantised))
    cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    assert {4: 0.7, 8: 0.99}[bits] < cosine < 1 - 1e-6
    exact.close()
    quantised.close()


@pytest.mark.parametrize("prefix", ["", "transformer."])
def test_gpt2_loads_under_both_namings(tmp_path: Path, prefix: str) -> None:
    from safetensors.numpy import load_file, save_file

    weights = tiny_folder("gpt2", tmp_path) / "model.safetensors"
    plain = {name.removeprefix("transformer."): tensor for name, tensor in load_file(weights).items()}
    save_file({prefix + name: tensor for name, tensor in plain.items()}, weights)
    load(tmp_path).close()


def test_greedy_answers_are_those_of_mlx_lm(folder: Path) -> None:
    from mlx_lm.generate import generate_step
    from mlx_lm.utils import load_model

    ids = np.arange(20, 30, dtype=np.int32)
    model, _ = load_model(folder)
    expected = [int(token) for token, _ in generate_step(mx.array(ids), model, max_tokens=20)]
    engine = load(folder)
    stream = engine.open([Prompt(ids, sampler=Sampler(0))], room=20)
    assert [int(stream.step(np.zeros(1)).ids[0]) for _ in range(20)] == expected
    with pytest.raises(UsageError, match="no room"):
        stream.step(np.zeros(1))
    engine.close()


def test_out_of_memory_is_an_error_and_the_engine_stays_usable(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = load(folder)
    row, prompt = Row(np.arange(9, dtype=np.int32)), Prompt(np.arange(9, dtype=np.int32))
    with monkeypatch.context() as patch:
        patch.setattr(Memory, "free", property(lambda self: 1000))
        with pytest.raises(OutOfMemory, match=r"a batch of 1 rows of 9 tokens needs about .* are free"):
            engine.forward([row], [0])
        with pytest.raises(OutOfMemory, match="a cache of 3 rows of 109 tokens"):
            engine.open([replace(prompt, copies=3)], room=100)
    assert engine.forward([row], [0])[0].residuals.shape == (1, 9, 64)
    engine.open([prompt], room=1).close()
    engine.close()


def test_a_model_larger_than_the_machine_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Memory, "total", property(lambda self: 1000))
    assert "the model takes 0.0 GB" in refusal(folder, OutOfMemory)


@pytest.mark.parametrize(
    "complaint",
    [
        "[metal::malloc] Attempting to allocate 30000000000 bytes, which is greater than the maximum allowed size",
        "[METAL] Command buffer execution failed: Insufficient Memory (00000008:kIOGPUCommandBufferCallbackError)",
        "[malloc_or_wait] Unable to allocate 12345 bytes.",
    ],
)
def test_failed_allocations_of_mlx_are_out_of_memory(complaint: str) -> None:
    with pytest.raises(OutOfMemory, match="the batch does not fit"), memory_errors("the batch", "run fewer rows"):
        raise RuntimeError(complaint)
    with pytest.raises(RuntimeError, match="shapes"), memory_errors("the batch", "run fewer rows"):
        raise RuntimeError("[matmul] shapes do not fit")


def test_a_closed_engine_refuses(folder: Path) -> None:
    engine = load(folder)
    stream = engine.open([Prompt(np.arange(3, dtype=np.int32))], room=2)
    engine.close()
    with pytest.raises(UsageError, match="closed"):
        engine.forward([Row(np.arange(3, dtype=np.int32))], [0])
    with pytest.raises(UsageError, match="closed"):
        stream.step(np.zeros(1))
    stream.close()
