"""Files on which llama.cpp ends its process are one line here, and the process that loads them lives on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("llama_cpp")

import localprobe as lp
from localprobe.engine import LoadOptions
from localprobe.errors import EngineCrashed, ModelError
from localprobe.gguf import read_header
from localprobe.gguf.faults import refuse_faults
from localprobe.testing.tiny import tiny_gguf
from localprobe_llama.engine import LlamaEngine
from tests.backends.llama_models import changed, tensor
from tests.children import children

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_gguf("llama", tmp_path_factory.mktemp("llama") / "tiny.gguf")


@pytest.mark.parametrize(
    ("name", "kind", "death"),
    [
        ("blk.0.attn_q.weight", np.int8, r"died in load \(SIGSEGV, Segmentation fault\)"),
        ("blk.1.attn_norm.weight", np.float16, r"died in load \(SIGABRT, Aborted\): .*unsupported types"),
        ("output_norm.weight", np.float16, r"died in forward \(SIGABRT, Aborted\): .*unsupported types"),
    ],
)
def test_a_tensor_of_a_type_that_llama_cpp_cannot_compute_with(
    name: str, kind: type, death: str, tiny: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = changed(tiny, tmp_path / "bad.gguf", {}, {name: tensor(tiny, name).astype(kind)})
    refuse_faults(read_header(path))  # its header is in order
    with pytest.raises(EngineCrashed, match=rf"bad\.gguf cannot be run: the engine {death}") as caught:
        lp.load(str(path), "llama", LoadOptions(threads=1))
    assert "\n" not in str(caught.value)
    assert not children()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("metadata", "complaint"),
    [
        ({"llama.block_count": 0}, "block_count is 0"),
        ({"llama.attention.layer_norm_rms_epsilon": float("nan")}, "layer_norm_rms_epsilon is nan"),
        ({"tokenizer.ggml.model": "no_vocab"}, "has no vocabulary"),
        ({"tokenizer.ggml.tokens": ["a"] * 385}, "its vocabulary holds the token 'a' 385 times"),
    ],
)
def test_a_fault_of_the_header_is_found_without_llama_cpp(
    metadata: dict[str, object], complaint: str, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("localprobe.remote.Loading", lambda *_: pytest.fail("it was tried"))
    with pytest.raises(ModelError, match=rf"bad\.gguf.*{complaint}"):
        lp.load(str(changed(tiny, tmp_path / "bad.gguf", metadata)), "llama")


def test_a_sound_file_runs_in_this_process_after_one_trial(tiny: Path) -> None:
    for _ in range(2):
        with lp.load(str(tiny), "llama", LoadOptions(threads=1)) as model:
            assert isinstance(model.engine, LlamaEngine)
            assert model.pooled(["a"], [1]).shape == (1, 1, 64)
            assert not children()
