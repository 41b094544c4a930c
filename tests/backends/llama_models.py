"""The GGUF files that tests of the llama.cpp engine load, how they load them, and how near two passes must be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

from localprobe.engine import FloatArray, LoadOptions, Output, Row, Weights
from localprobe.testing import EngineContract, Tolerance
from localprobe.testing.tiny.gguf import _write_tokenizer
from localprobe.testing.tiny.tokenizer import VOCABULARY
from localprobe_llama import backend
from localprobe_llama.engine import LlamaEngine

FLOAT16_CACHE = Tolerance(residual=5e-4, logprob=5e-3, uniform=2e-3)
"""How far two passes of other shapes may lie apart on a tiny model, whose weights are float32.

Kernels for other numbers of rows add up in another order. The sums differ by 1e-7, but keys and values are kept in
float16, so now and then one of them changes in its last bit, by a thousandth. Of 5,120 distributions of four
architectures the furthest two lay 1.2e-3 nats apart with AVX2, and as much with AVX-512; of scores, 1e-4 of a residual.
"""
SUMS_IN_FLOAT16 = Tolerance(residual=1e-2, logprob=5e-2, uniform=5e-3)
"""How far a pass of 64 tokens or more may lie from a shorter one on a tiny model, whatever is done to its rows.

Attention sums values in float16 over the cells of the cache, except in passes of 64 tokens or more, where llama.cpp
takes other kernels that sum in float32. Unsteered rows of nine tokens lay up to 2.4e-3 of a residual and 1.3e-2 nats
apart on four architectures; up to 63 tokens they were the same bits.
"""
OF_MANY = {"test_rows_of_a_batch_have_their_own_operators"}
"""Tests that compare a row of a pass of more than a hundred tokens with the same row alone, which llama.cpp computes by
other kernels (see `SUMS_IN_FLOAT16`); batches of one size are compared bit for bit in test_llama_operators.py."""


def summed_otherwise(test: Callable[..., object]) -> bool:
    """Whether a test of the contract is held to `SUMS_IN_FLOAT16`.

    So are those of rows that join: a row's cells lie between those of others, and may be ones that another left.
    Attention sums over the cells in their order, in float16. Against sums in float32, log-probabilities of rows in and
    out of order lay equally far off: a median of 4.6e-3 nats either way in 2,400 tokens of a tiny Llama.
    """
    return test.__name__ in OF_MANY or test.__qualname__.startswith("JoinContract.")


TEXT = "The river rose over the fields in the night, and in the morning the road to the village was gone."


def load(path: Path, **options: object) -> LlamaEngine:
    """One thread, unless asked: tiny models gain nothing by a second, and two wait for each other on a busy machine."""
    engine = backend.load(Weights(path.stem, path, "gguf", "hash"), LoadOptions(**{"threads": 1, **options}))  # type: ignore[arg-type]
    assert isinstance(engine, LlamaEngine)
    return engine


class _Close(EngineContract):
    tolerance = FLOAT16_CACHE


def close(engine: LlamaEngine, one: Output, other: Output) -> None:
    """Assert that two passes over the same row gave the same, as nearly as a cache in float16 lets them."""
    _Close().close_residuals(engine, one.residuals, other.residuals)
    _Close().close_logprobs(engine, one.targets, other.targets)
    _Close().close_logprobs(engine, one.full, other.full)


def tiny_mamba(path: Path, layers: int = 3, width: int = 32) -> Path:
    """A random Mamba, whose rows are a state rather than a cache of positions, with the tokenizer of the tiny Llama."""
    rng = np.random.default_rng(0)
    inner, state, rank, kernel = 2 * width, 8, 4, 4
    writer = gguf.GGUFWriter(path, "mamba")
    writer.add_context_length(256)
    writer.add_embedding_length(width)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(0)
    writer.add_head_count(0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_ssm_conv_kernel(kernel)
    writer.add_ssm_inner_size(inner)
    writer.add_ssm_state_size(state)
    writer.add_ssm_time_step_rank(rank)
    _write_tokenizer(writer, "llama")
    shapes = {
        "ssm_in.weight": (2 * inner, width),
        "ssm_conv1d.weight": (inner, kernel),
        "ssm_conv1d.bias": (inner,),
        "ssm_x.weight": (rank + 2 * state, inner),
        "ssm_dt.weight": (inner, rank),
        "ssm_dt.bias": (inner,),
        "ssm_d": (inner,),
        "ssm_out.weight": (width, inner),
    }
    for layer in range(layers):
        for name, shape in shapes.items():
            writer.add_tensor(f"blk.{layer}.{name}", _normal(rng, shape))
        writer.add_tensor(f"blk.{layer}.ssm_a", -np.exp(_normal(rng, (inner, state))))
        writer.add_tensor(f"blk.{layer}.attn_norm.weight", np.ones(width, np.float32))
    writer.add_tensor("token_embd.weight", 4 * _normal(rng, (VOCABULARY, width)))
    writer.add_tensor("output_norm.weight", np.ones(width, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def changed(
    source: Path, target: Path, metadata: Mapping[str, object], tensors: Mapping[str, NDArray[Any] | None] | None = None
) -> Path:
    """A copy of a GGUF file with other values of some metadata, and other tensors; None leaves one out.

    A value has the type that it has in the source; a pair (value, GGUFValueType) has its own.
    """
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, str(reader.fields["general.architecture"].contents()))
    for key, field in reader.fields.items():
        kind, inner = field.types[0], field.types[-1] if len(field.types) > 1 else None
        value = metadata.get(key, field.contents())
        if isinstance(value, tuple):
            value, kind, inner = *value, None
        if key != "general.architecture" and not key.startswith("GGUF.") and value is not None:
            writer.add_key_value(key, value, kind, inner)
    for tensor in reader.tensors:
        data = (tensors or {}).get(tensor.name, tensor.data)
        if data is not None:
            writer.add_tensor(tensor.name, data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


def tensor(path: Path, name: str) -> NDArray[Any]:
    """A tensor of a GGUF file."""
    return next(tensor.data for tensor in gguf.GGUFReader(path).tensors if tensor.name == name)


def _normal(rng: np.random.Generator, shape: tuple[int, ...]) -> FloatArray:
    return np.asarray(rng.normal(size=shape) / np.sqrt(shape[-1]), np.float32)


def row(engine: LlamaEngine, length: int | None = None) -> Row:
    """A row of ids of a text."""
    return Row(engine.encode(TEXT)[:length])
