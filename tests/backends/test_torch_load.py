"""Loading: options, each way to fail as one clear line, and silence on the terminal."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from localprobe.capture.cache import ResidualCache, cached_residuals
from localprobe.capture.residuals import pooled
from localprobe.engine import FloatArray, LoadOptions, Prompt, Weights
from localprobe.errors import (
    EngineNotInstalled,
    LocalprobeError,
    OutOfMemory,
    UnsupportedModel,
    UsageError,
)
from localprobe.gguf import to_folder
from localprobe.models.weights import fingerprint
from localprobe.testing.tiny import tiny_folder, tiny_gguf
from localprobe_torch import backend
from localprobe_torch.config import context_of
from localprobe_torch.device import choose_dtype
from tests.backends.torch_models import load, random_ids


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_folder("llama", tmp_path / "tiny-llama")


def refused(folder: Path, **options: Any) -> str:
    """The one line of the error that a load gives."""
    with pytest.raises(LocalprobeError) as caught:
        load(folder, **options)
    message = str(caught.value)
    assert "\n" not in message
    return f"{type(caught.value).__name__}: {message}"


def edit(path: Path, **changes: Any) -> None:
    content = json.loads(path.read_text())
    path.write_text(json.dumps({name: v for name, v in (content | changes).items() if v is not None}))


def test_info_says_what_was_loaded(folder: Path) -> None:
    info = load(folder).info
    assert info.engine == "torch"
    assert info.version.startswith("torch 2.")
    assert ", transformers 5." in info.version
    assert (info.model, info.architecture, info.weights) == ("tiny-llama", "llama", "a hash")
    assert (info.layers, info.width, info.vocabulary, info.context) == (4, 64, 385, 256)
    assert (info.device, info.dtype, info.quantisation) == ("cpu", "float32", None)
    assert (info.bos, info.eos) == (380, (381, 383))
    assert info.special_text == {"bos_token": "<|bos|>", "eos_token": "<|end|>", "pad_token": "<|pad|>"}
    assert info.chat_template is not None
    assert info.chat_template.startswith("{{ bos_token }}")


def test_a_pad_token_is_only_named_if_the_model_has_one(folder: Path) -> None:
    edit(folder / "tokenizer_config.json", pad_token=None, bos_token=None)
    assert load(folder).info.special_text == {"eos_token": "<|end|>"}


def test_ids_beyond_the_vocabulary_have_no_text(folder: Path) -> None:
    engine = load(folder)
    assert engine.decode([*engine.encode("soup"), 384, 385, 99_999]) == "soup"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "int3"}, "UsageError: unknown dtype 'int3': use float32, bfloat16, float16"),
        ({"device": "tpu"}, "UsageError: unknown device 'tpu': use cpu, cuda, cuda:1, mps or auto"),
        ({"device": "meta"}, "UsageError: device 'meta' is not supported: use cpu, cuda, cuda:1, mps or auto"),
        ({"device": "cuda:7"}, "UsageError: device 'cuda:7' is not here"),
        ({"gpu_layers": 3}, "UsageError: gpu_layers=3 is an option of the llama engine"),
        ({"low_memory": True}, "UsageError: low_memory is an option of the llama engine"),
        ({"threads": 0}, "UsageError: threads=0 is out of range"),
        ({"context": 0}, "UsageError: a context of 0 tokens is out of range: this model takes 1 to 256"),
        ({"context": 257}, "UsageError: a context of 257 tokens is out of range: this model takes 1 to 256"),
    ],
)
def test_an_option_that_does_not_apply_is_refused(folder: Path, options: dict[str, Any], message: str) -> None:
    assert refused(folder, **options).startswith(message)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card")
def test_quantising_without_a_card_is_refused(folder: Path) -> None:
    assert refused(folder, quantise="4bit").startswith("UsageError: quantise=4bit needs a CUDA card, this is cpu")


def test_quantising_without_bitsandbytes_gives_the_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from localprobe_torch import quantise

    monkeypatch.setattr(quantise, "find_spec", lambda _name: None)
    with pytest.raises(EngineNotInstalled, match="pip install bitsandbytes"):
        quantise.quantising("8bit", torch.bfloat16, torch.device("cuda"))


def test_context_dtype_threads_and_auto_are_honoured(folder: Path) -> None:
    threads = torch.get_num_threads()
    engine = load(folder, context=12, dtype="bfloat16", threads=1, device="auto")
    assert torch.get_num_threads() == 1
    assert engine.info.place == "cpu, 1 thread"
    torch.set_num_threads(threads)
    assert (engine.info.context, engine.info.dtype, engine.info.device) == (12, "bfloat16", "cpu")
    with pytest.raises(UsageError, match="context of 12"):
        engine.open([Prompt(random_ids(8)[0])], room=5)


def test_gemma_is_never_run_in_float16(tmp_path: Path) -> None:
    folder = tiny_folder("gemma3_text", tmp_path)
    assert refused(folder, dtype="float16").startswith("UsageError: dtype float16 overflows on Gemma")
    cuda = torch.device("cuda")
    assert choose_dtype(None, torch.float16, cuda, "gemma2") == torch.bfloat16
    assert choose_dtype(None, torch.float16, cuda, "llama") == torch.float16
    assert choose_dtype(None, torch.bfloat16, cuda, "gemma2") == torch.bfloat16
    assert choose_dtype(None, torch.int8, cuda, "llama") == torch.bfloat16
    assert choose_dtype(None, torch.bfloat16, torch.device("cpu"), "llama") == torch.float32


@pytest.mark.parametrize(
    ("config", "longest", "context"),
    [
        ({"max_position_embeddings": 4096}, 8192, 4096),
        ({}, 8192, 8192),
        ({}, None, 2048),
        ({"max_position_embeddings": -1}, None, 2048),
        (  # Qwen2.5 stretched as its card says: the config counts positions before stretching
            {
                "max_position_embeddings": 32768,
                "rope_parameters": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768},
            },
            None,
            131072,
        ),
        (  # Llama 3.1: the config counts positions after stretching
            {
                "max_position_embeddings": 131072,
                "rope_parameters": {"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 8192},
            },
            None,
            131072,
        ),
        (  # Gemma 3 has parameters for each kind of layer
            {"max_position_embeddings": 131072, "rope_parameters": {"full_attention": {"rope_type": "linear"}}},
            None,
            131072,
        ),
    ],
)
def test_the_context_is_what_the_config_says(config: dict[str, Any], longest: int | None, context: int) -> None:
    class Config:
        def __init__(self) -> None:
            self.__dict__.update(config)

    assert context_of(Config(), longest, None) == context


def test_a_path_that_is_no_model_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    assert refused(tmp_path).startswith(f"UnknownModel: {tmp_path} holds no config.json")
    assert refused(tmp_path / "nowhere").startswith("UnknownModel")
    with pytest.raises(UnsupportedModel, match="loads Hugging Face folders, not gguf files"):
        backend.load(Weights("x", folder, "gguf", ""), LoadOptions())


def test_broken_weights_are_refused(folder: Path) -> None:
    file = folder / "model.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:-100])
    assert refused(folder).startswith("CorruptFile")
    file.write_bytes(b"hello" * 100)
    assert refused(folder).startswith("CorruptFile")
    file.unlink()
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04")
    assert "pickled weights, which localprobe never loads" in refused(folder)


def test_weights_that_are_not_those_of_the_config_are_refused(folder: Path) -> None:
    edit(folder / "config.json", num_hidden_layers=5)
    message = refused(folder)
    assert message.startswith(f"CorruptFile: the weights in {folder} lack model.layers.4.input_layernorm.weight, ")
    assert "and 6 more: download them again" in message
    edit(folder / "config.json", num_hidden_layers=4, intermediate_size=97)
    assert refused(folder).startswith(f"CorruptFile: the weights in {folder} are not those of its config: ")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "megallama"}, "UnsupportedModel: architecture 'megallama' is not known to transformers 5"),
        ({"model_type": None}, "names no model_type"),
        ({"hidden_size": "wide"}, "hidden_size is 'wide', which cannot be"),
        ({"layer_types": "wide"}, "does not describe a model"),
        (
            {"model_type": "megallama", "auto_map": {"AutoModelForCausalLM": "x.Y", "AutoConfig": "x.Z"}},
            "UnsupportedModel: architecture 'megallama' is Python code in",
        ),
    ],
)
def test_a_config_that_cannot_be_run_is_refused(folder: Path, changes: dict[str, Any], message: str) -> None:
    edit(folder / "config.json", **changes)
    assert message in refused(folder)


def test_a_torn_tokenizer_is_refused(folder: Path) -> None:
    (folder / "tokenizer.json").write_text('{"version": "1.0", "model": ')
    assert refused(folder).startswith(f"CorruptFile: the tokenizer of {folder} cannot be read: ")


def test_a_card_that_is_too_small_is_said_before_loading(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from localprobe_torch import memory, weights

    monkeypatch.setattr(memory, "free_bytes", lambda _device: 1000)
    for quantise, needed in ((None, "0.0 GB"), ("4bit", "0.0 GB")):
        placement = weights.Placement(torch.device("cuda"), torch.bfloat16, quantise=quantise)
        with pytest.raises(OutOfMemory, match=f"needs {needed}"):
            weights._check_card(folder, placement)


CODE = """
import localprobe_torch, sys
assert not {"torch", "transformers"} & set(sys.modules), "importing the package imports no library"
import socket
def refuse(*_): raise OSError("the network was asked")
socket.socket.connect = socket.getaddrinfo = refuse
from pathlib import Path
from localprobe.engine import *
engine = localprobe_torch.backend.load(Weights("x", Path(sys.argv[1]), "folder", ""), LoadOptions(threads=1))
ids = engine.encode("Silence")
assert len(engine.encode("word " * 600)) > 600, "longer than the tokenizer expects"
engine.forward([Row(ids, full=(1,)), Row(ids[:1])], [1])
stream = engine.open([Prompt(ids), Prompt(ids[:1])], room=2)
stream.step([0.5, 0.5]); stream.step([0.5, 0.5]); stream.close(); engine.close()
"""


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["gpt2", "gemma2"])
def test_nothing_is_printed_and_the_network_is_not_asked(architecture: str, tmp_path: Path) -> None:
    folder = tiny_folder(architecture, tmp_path)
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", CODE, folder], check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_availability_names_versions_and_device() -> None:
    found = backend.available()
    assert found.installed
    assert found.version.startswith("torch ")
    assert found.device.startswith("cuda" if torch.cuda.is_available() else "")


def test_a_missing_library_is_said_with_the_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import PackageNotFoundError

    from localprobe_torch import plugin

    def missing(name: str) -> str:
        if name == "accelerate":
            raise PackageNotFoundError(name)
        return "5.1.0"

    monkeypatch.setattr(plugin, "version", missing)
    found = backend.available()
    assert not found.installed
    assert found.reason == "accelerate is not installed. Install it: pip install 'localprobe[torch]'"
    monkeypatch.setattr(plugin, "version", lambda _name: "4.57.1")
    assert backend.available().reason.startswith("transformers 4.57.1 is too old")
    with pytest.raises(EngineNotInstalled, match="too old"):
        backend.load(Weights("x", Path("/nowhere"), "folder", ""), LoadOptions())


def test_a_folder_made_from_a_gguf_keeps_the_files_own_tokenizer(tmp_path: Path) -> None:
    """transformers would give Qwen2 a rule of its own, which composes accents before it splits."""
    folder = to_folder(tiny_gguf("qwen2", tmp_path / "tiny.gguf"), "f", tmp_path / "cache")
    engine = backend.load(Weights("tiny", folder, "folder", "f"), LoadOptions())
    assert engine.decode(engine.encode("cafe\u0301")) == "cafe\u0301"


def test_a_tokenizer_that_was_replaced_is_loaded_as_transformers_would(tmp_path: Path) -> None:
    """The mark that a converted folder carries speaks of the tokenizer that was written, and of no other."""
    folder = to_folder(tiny_gguf("qwen2", tmp_path / "tiny.gguf"), "f", tmp_path / "cache")
    copied = Path(shutil.copytree(folder, tmp_path / "copied"))
    assert load(copied).decode(load(copied).encode("cafe\u0301")) == "cafe\u0301"
    (copied / "tokenizer.json").write_text((copied / "tokenizer.json").read_text() + "\n")
    assert load(copied).decode(load(copied).encode("cafe\u0301")) == "caf\u00e9"


def test_the_weights_that_are_loaded_are_those_that_were_hashed(tmp_path: Path) -> None:
    """transformers loads a model.safetensors rather than the files of the index beside it. Residuals are kept by the
    fingerprint, so those of the shards must not be served for it."""
    sharded, whole = tiny_folder("llama", tmp_path / "a"), tiny_folder("llama", tmp_path / "b", seed=1)
    shard = "model-00001-of-00001.safetensors"
    (sharded / "model.safetensors").rename(sharded / shard)
    names = dict.fromkeys(load_file(sharded / shard), shard)
    (sharded / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": names}))

    def residual() -> FloatArray:
        weights = Weights("tiny", sharded, "folder", fingerprint(sharded))
        engine = backend.load(weights, LoadOptions(threads=1))
        cache = ResidualCache(engine.info, "mean", tmp_path / "cache")
        return cached_residuals(engine, ["A short text."], [2], cache=cache)

    before = residual()
    shutil.copy(whole / "model.safetensors", sharded)
    np.testing.assert_array_equal(residual(), pooled(load(whole), ["A short text."], [2]))
    (sharded / "model.safetensors").unlink()
    np.testing.assert_array_equal(residual(), before)


def test_a_lower_precision_of_products_is_in_the_version(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results kept under the usual version are not those of TF32."""
    usual = load(folder).info.version
    torch.set_float32_matmul_precision("high")
    try:
        assert load(folder).info.version == f"{usual}, high precision"
        assert load(folder, dtype="bfloat16").info.version == usual
    finally:
        torch.set_float32_matmul_precision("highest")

    def refuse() -> str:
        """As torch does once a precision was set for one library, `torch.backends.cuda.matmul.fp32_precision`."""
        raise RuntimeError("PyTorch is checking the matmul precision without a specific backend name")

    monkeypatch.setattr(torch, "get_float32_matmul_precision", refuse)
    assert load(folder).info.version == f"{usual}, other precision"


def test_the_library_of_quantised_weights_is_in_the_version(monkeypatch: pytest.MonkeyPatch) -> None:
    from localprobe_torch import versions

    monkeypatch.setattr(versions, "version", lambda name: {"bitsandbytes": "0.49"}.get(name, "1.0+cpu"))
    assert versions.versions() == "torch 1.0, transformers 1.0"
    assert versions.versions("4bit") == versions.versions("bitsandbytes") == f"{versions.versions()}, bitsandbytes 0.49"
    assert versions.versions("unheard-of") == versions.versions()
