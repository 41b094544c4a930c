"""Kinds of RoPE that one GGUF file can hold, on llama.cpp against transformers. For long RoPE see
`test_llama_long_context.py`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from localprobe.testing.tiny import tiny_gguf
from localprobe.testing.tiny.configs import HEAD

pytest.importorskip("llama_cpp")
pytest.importorskip("torch")
pytest.importorskip("transformers")

from tests.backends import rope_checks
from tests.backends.llama_models import load
from tests.backends.rope_models import ORIGINAL, transformers_states, write


def linear(writer: gguf.GGUFWriter) -> None:
    writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
    writer.add_rope_scaling_factor(4.0)


def yarn(writer: gguf.GGUFWriter) -> None:
    writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
    writer.add_rope_scaling_factor(4.0)
    writer.add_rope_scaling_orig_ctx_len(ORIGINAL)


def yarn_betas(writer: gguf.GGUFWriter) -> None:
    yarn(writer)
    writer.add_rope_scaling_yarn_beta_fast(8.0)
    writer.add_rope_scaling_yarn_beta_slow(2.0)


def llama3(writer: gguf.GGUFWriter) -> None:
    turns = ORIGINAL / (2 * np.pi * 10_000.0 ** (np.arange(0, HEAD, 2) / HEAD))
    kept = np.clip((turns - 1) / 3, 0, 1)
    writer.add_tensor("rope_freqs.weight", (1 / ((1 - kept) / 8 + kept)).astype(np.float32))


@pytest.mark.parametrize(
    ("name", "scale"), [("linear", linear), ("yarn", yarn), ("yarn, betas", yarn_betas), ("llama3", llama3)]
)
def test_rows_and_answers_are_as_if_alone(
    name: str, scale: Callable[[gguf.GGUFWriter], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from localprobe.testing.tiny import gguf as maker

    plain = maker._write_config

    def with_scaling(writer: gguf.GGUFWriter, model: dict[str, Any]) -> None:
        plain(writer, model)
        scale(writer)

    monkeypatch.setattr(maker, "_write_config", with_scaling)
    engine = load(tiny_gguf("llama", tmp_path / "scaled.gguf"))
    assert engine.info.rope_length is None
    rope_checks.check_rows(engine, transformers_states(write(name, tmp_path / "folder")), 5e-3)
    rope_checks.check_decoding(engine, 5e-3)
    engine.close()
