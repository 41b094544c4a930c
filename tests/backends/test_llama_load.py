"""Loading a GGUF file: what is said of it, options that do not apply, and files that are no good."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gguf
import numpy as np
import pytest

from localprobe.engine import LoadOptions, Weights
from localprobe.errors import CorruptFile, EngineNotInstalled, ModelError, OutOfMemory, UnsupportedModel, UsageError
from localprobe.testing.tiny import tiny_gguf
from localprobe_llama import backend

pytest.importorskip("llama_cpp")

import llama_cpp

from localprobe_llama import device, library
from tests.backends import llama_models
from tests.backends.llama_models import row
from tests.bundled import smollm2
from tests.gguf.split import split_gguf


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_gguf("llama", tmp_path_factory.mktemp("llama") / "tiny.gguf")


@pytest.mark.real
def test_info_of_a_real_file() -> None:
    engine = llama_models.load(smollm2())
    info = engine.info
    assert (info.engine, info.architecture, info.device, info.dtype) == ("llama", "llama", "cpu", "float32")
    assert (info.layers, info.width, info.vocabulary, info.context) == (30, 576, 49152, 8192)
    assert info.quantisation == "Q4_1"
    assert info.version.startswith("llama-cpp-python 0.3.")
    assert info.weights == "hash"
    assert info.chat_template is not None
    assert "<|im_start|>" in info.chat_template
    assert info.special_text["eos_token"] == "<|im_end|>"
    assert info.bos is None
    assert set(info.eos) == {0, 2}  # <|endoftext|>, <|im_end|>; llama.cpp would end at <repo_name> too
    engine.close()


def test_plain_floats_have_no_quantisation(tiny: Path) -> None:
    engine = llama_models.load(tiny)
    assert engine.info.quantisation is None
    engine.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (LoadOptions(dtype="float16"), "leave out dtype 'float16'"),
        (LoadOptions(quantise="4bit"), "cannot quantise while loading"),
        (LoadOptions(trust_remote_code=True), "no code to trust"),
        (LoadOptions(threads=0), "0 threads"),
        (LoadOptions(context=0), "a context of 0 tokens"),
        (LoadOptions(context=1000), "at most 256 tokens, not 1000"),
        (LoadOptions(gpu_layers=-1), "-1 GPU layers"),
        (LoadOptions(device="cpu", gpu_layers=3), "3 GPU layers on device 'cpu'"),
        (LoadOptions(device="tpu"), "knows no device 'tpu'"),
        (LoadOptions(device="cuda:x"), "knows no device 'cuda:x'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_options_that_do_not_apply_are_refused(tiny: Path, options: LoadOptions, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        backend.load(Weights("tiny", tiny, "gguf", "hash"), options)


@pytest.mark.skipif(llama_cpp.llama_supports_gpu_offload(), reason="this build has GPU support")
def test_a_gpu_that_this_build_cannot_use(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="no GPU"):
        llama_models.load(tiny, device="mps" if sys.platform == "darwin" else "cuda")
    engine = llama_models.load(tiny, gpu_layers=2)
    assert engine.info.device == "cpu"
    assert "2 GPU layers were asked for" in engine.info.notes[0]
    engine.close()

    monkeypatch.setattr(device, "has_gpu_driver", lambda: True)
    assert "no GPU support" in backend.available().notes[0]
    engine = llama_models.load(tiny)
    assert "no GPU support, so the model runs on the CPU" in engine.info.notes[0]
    engine.close()
    engine = llama_models.load(tiny, device="cpu")
    assert engine.info.notes == ()
    engine.close()


def test_a_shorter_context_and_threads(tiny: Path) -> None:
    engine = llama_models.load(tiny, context=100, threads=2)
    assert engine.info.context == 100
    assert engine._model.threads == 2
    assert engine.info.place == "cpu, 2 threads"
    engine.close()
    engine = llama_models.load(tiny, threads=None)
    assert engine._model.threads == device.threads() >= 1
    engine.close()


def test_threads_are_the_fast_cores_of_apple_silicon(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sysctl = tmp_path / "sysctl"
    sysctl.write_text("#!/bin/sh\necho 6\n")
    sysctl.chmod(0o755)
    monkeypatch.setattr(device, "is_apple_silicon", lambda: True)
    monkeypatch.setattr(device.psutil, "cpu_count", lambda logical=True: 8)
    monkeypatch.setattr(device.psutil.Process, "cpu_affinity", lambda self: list(range(8)))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert device.threads() == 6
    sysctl.unlink()
    assert device.threads() == 8


def truncated(path: Path, tiny: Path) -> None:
    content = tiny.read_bytes()
    path.write_bytes(content[: len(content) - 5000])


def header_only(path: Path, tiny: Path) -> None:
    path.write_bytes(tiny.read_bytes()[:300])


def noise(path: Path, _tiny: Path) -> None:
    path.write_bytes(np.random.default_rng(0).bytes(4096))


def empty(path: Path, _tiny: Path) -> None:
    path.write_bytes(b"")


def no_tensors(path: Path, tiny: Path) -> None:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(2)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


@pytest.mark.parametrize("spoil", [truncated, header_only, noise, empty, no_tensors])
def test_a_file_that_is_no_good_is_one_line_and_nothing_is_printed(
    spoil: Callable[[Path, Path], None], tiny: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.gguf"
    spoil(path, tiny)
    with pytest.raises(CorruptFile, match=r"^bad.gguf cannot be loaded: \w.*; delete it and fetch it again$") as caught:
        llama_models.load(path)
    assert "\n" not in str(caught.value)
    assert "gave no reason" not in str(caught.value)
    assert capfd.readouterr() == ("", "")
    engine = llama_models.load(tiny)  # a bad file spoils nothing for the next
    engine.close()


def test_an_unknown_architecture(tmp_path: Path) -> None:
    path = tmp_path / "new.gguf"
    writer = gguf.GGUFWriter(path, "zebra")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    with pytest.raises(UnsupportedModel, match=r"cannot run new.gguf: unknown model architecture: 'zebra'; try pip"):
        llama_models.load(path)


def test_a_path_that_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is not a file"):
        llama_models.load(tmp_path)


def test_a_model_larger_than_the_machine(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(total=1000, available=1000))
    with pytest.raises(OutOfMemory, match="use a smaller quantisation"):
        llama_models.load(tiny)


def test_what_llama_cpp_says_of_memory_is_out_of_memory(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llama_cpp, "llama_model_load_from_file", lambda *_: None)
    monkeypatch.setattr(library, "errors", lambda: ["unable to allocate CUDA0 buffer", "failed to load model"])
    with pytest.raises(OutOfMemory, match="does not fit into memory: unable to allocate CUDA0 buffer"):
        llama_models.load(tiny)


def test_a_batch_that_does_not_fit_leaves_the_engine_usable(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = llama_models.load(tiny)
    before = engine.forward([row(engine)], [1])
    engine._pool.close()
    with monkeypatch.context() as patch:
        patch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=1000))
        with pytest.raises(OutOfMemory, match=r"a cache of 256 tokens, and a pass over it, take .* use fewer rows"):
            engine.forward([row(engine)], [1])
    with monkeypatch.context() as patch:
        patch.setattr(llama_cpp, "llama_init_from_model", lambda *_: None)
        with pytest.raises(OutOfMemory, match=r"which llama\.cpp could not get"):
            engine.forward([row(engine)], [1])
    np.testing.assert_array_equal(engine.forward([row(engine)], [1])[0].residuals, before[0].residuals)
    engine.close()


@pytest.mark.usefixtures("signals_heard")
def test_ctrl_c_while_loading(tiny: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    real = llama_cpp.llama_model_load_from_file

    def interrupted(path: bytes, params: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        return real(path, params)

    monkeypatch.setattr(llama_cpp, "llama_model_load_from_file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        llama_models.load(tiny)
    assert capfd.readouterr() == ("", "")


def test_nothing_is_printed_by_a_load_and_a_pass(tiny: Path, capfd: pytest.CaptureFixture[str]) -> None:
    engine = llama_models.load(tiny)
    engine.forward([row(engine)], [1])
    engine.close()
    assert capfd.readouterr() == ("", "")


def test_a_closed_engine_refuses(tiny: Path) -> None:
    engine = llama_models.load(tiny)
    engine.close()
    with pytest.raises(UsageError, match="is closed"):
        engine.encode("a")
    with pytest.raises(UsageError, match="is closed"):
        engine.decode([1])


def test_importing_the_backend_imports_no_llama_cpp() -> None:
    code = "import sys, localprobe_llama; assert 'llama_cpp' not in sys.modules and 'numpy' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_available_says_what_there_is_or_how_to_get_it(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = backend.available()
    assert found.installed
    assert found.version.startswith("llama-cpp-python ")
    assert found.device == ("cpu" if not found.gpu else found.device)
    monkeypatch.setattr("localprobe_llama.util.find_spec", lambda _: None)
    missing = backend.available()
    assert not missing.installed
    assert "pip install 'localprobe[llama]'" in missing.reason
    with pytest.raises(EngineNotInstalled, match=r"pip install 'localprobe\[llama\]'"):
        llama_models.load(tiny)


def test_a_file_in_parts_gives_what_the_whole_one_gives(tiny: Path, tmp_path: Path) -> None:
    first = split_gguf(tiny, tmp_path)[0]
    whole, parts = llama_models.load(tiny), llama_models.load(first)
    one, other = (engine.forward([row(engine)], [0, whole.info.layers - 1])[0] for engine in (whole, parts))
    np.testing.assert_array_equal(other.residuals, one.residuals)
    assert np.abs(one.residuals).max() > 0
    whole.close()
    parts.close()


def test_the_memory_that_a_file_in_parts_needs_is_that_of_all(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = split_gguf(tiny, tmp_path)
    total = sum(file.stat().st_size for file in files)
    monkeypatch.setattr(
        "psutil.virtual_memory", lambda: SimpleNamespace(total=total + (1 << 28) - 1, available=1 << 40)
    )
    with pytest.raises(OutOfMemory, match=r"tiny-00001-of-00003\.gguf takes 0\.0 GB and this machine has 0\.3"):
        llama_models.load(files[0])


def test_layers_that_are_shared_between_gpu_and_cpu_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """They round otherwise than those of one device, so the device's name keeps their residuals apart."""
    monkeypatch.setattr(device, "gpus", lambda: ["Card A", "Card B"])
    assert device.describe(LoadOptions()) == "Card A, Card B"
    assert device.describe(LoadOptions(gpu_layers=10)) == "Card A, Card B, 10 layers"
