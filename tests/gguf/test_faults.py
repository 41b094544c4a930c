"""Faults of a GGUF file that are found in its header."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gguf
import pytest

from localprobe.errors import CorruptFile, UnsupportedModel
from localprobe.gguf import read_header
from localprobe.gguf.faults import refuse_faults
from localprobe.gguf.header import Header, Value
from localprobe.testing.tiny import GGUF_ARCHITECTURES, tiny_gguf


def check(path: Path, change: Callable[[gguf.GGUFWriter], None], tokens: list[str] | None = None) -> None:
    """Write a header of a Llama with `tokens` and a change, and check it."""
    writer = gguf.GGUFWriter(path / "m.gguf", "llama")
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(["a", "b", "c"] if tokens is None else tokens)
    change(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    refuse_faults(read_header(path / "m.gguf"))


def nothing(writer: gguf.GGUFWriter) -> None:
    """No change."""


@pytest.mark.parametrize("architecture", GGUF_ARCHITECTURES)
def test_a_sound_file_has_none(architecture: str, tmp_path: Path) -> None:
    refuse_faults(read_header(tiny_gguf(architecture, tmp_path / "m.gguf")))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda w: w.add_block_count(0), r"llama\.block_count is 0, a model has at least 1"),
        (lambda w: w.add_embedding_length(0), r"llama\.embedding_length is 0"),
        (lambda w: w.add_context_length(0), r"llama\.context_length is 0"),
        (lambda w: w.add_layer_norm_rms_eps(float("nan")), r"llama\.attention\.layer_norm_rms_epsilon is nan"),
        (lambda w: w.add_layer_norm_rms_eps(-1e-5), r"llama\.attention\.layer_norm_rms_epsilon is -"),
        (lambda w: w.add_layer_norm_eps(float("inf")), r"llama\.attention\.layer_norm_epsilon is inf"),
        (lambda w: w.add_token_types([1, 1]), r"token_type has 2 numbers of type int32 for 3 tokens"),
        (lambda w: w.add_array("tokenizer.ggml.token_type", [1.0] * 3), r"token_type has 3 numbers of type float32"),
        (lambda w: w.add_token_scores([0.0]), r"scores has 1 numbers of type float32 for 3 tokens"),
        (lambda w: w.add_array("tokenizer.ggml.scores", [1] * 3), r"scores has 3 numbers of type int32 for 3 tokens"),
        (lambda w: (w.add_expert_count(8), w.add_expert_used_count(9)), "it claims to use 9 of 8 experts"),
    ],
)
def test_a_number_that_cannot_be(change: Callable[[gguf.GGUFWriter], None], complaint: str, tmp_path: Path) -> None:
    with pytest.raises(CorruptFile, match=rf"m\.gguf: .*{complaint}.*; fetch it again$"):
        check(tmp_path, change)


def test_a_token_that_comes_twice(tmp_path: Path) -> None:
    with pytest.raises(CorruptFile, match="its vocabulary holds the token 'b' 2 times"):
        check(tmp_path, nothing, ["a", "b", "b"])


def test_empty_tokens_and_bytes_that_are_no_text_may_repeat(tmp_path: Path) -> None:
    """llama.cpp numbers the empty ones, and bytes that differ look alike once they are read as text."""
    check(tmp_path, nothing, ["", "", "a"])
    writer = gguf.GGUFWriter(tmp_path / "bytes.gguf", "llama")
    writer.add_token_list([b"\xff", b"\xfe"])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    refuse_faults(read_header(tmp_path / "bytes.gguf"))


def test_an_empty_vocabulary(tmp_path: Path) -> None:
    metadata: dict[str, Value] = {"general.architecture": "llama", "tokenizer.ggml.tokens": []}
    with pytest.raises(CorruptFile, match=r"m\.gguf: its vocabulary is empty"):
        refuse_faults(Header(tmp_path / "m.gguf", 0, 3, metadata, {}))


@pytest.mark.parametrize("kind", ["no_vocab", "none"])
def test_no_vocabulary(kind: str, tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama")
    writer.add_tokenizer_model(kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    with pytest.raises(UnsupportedModel, match=r"m\.gguf has no vocabulary to read text with: convert it again"):
        refuse_faults(read_header(tmp_path / "m.gguf"))


def test_more_blocks_than_tensors(tmp_path: Path) -> None:
    blocks = tiny_gguf("llama", tmp_path / "m.gguf").read_bytes()
    key = b"llama.block_count" + (4).to_bytes(4, "little")  # the key, and the type of its value
    at = blocks.index(key) + len(key)
    (tmp_path / "m.gguf").write_bytes(blocks[:at] + (1000).to_bytes(4, "little") + blocks[at + 4 :])
    with pytest.raises(CorruptFile, match="it claims 1,000 blocks and holds 39 tensors; fetch it again"):
        refuse_faults(read_header(tmp_path / "m.gguf"))


def test_what_a_file_does_not_state_is_left_to_the_engine(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "mamba")
    writer.add_head_count(0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    refuse_faults(read_header(tmp_path / "m.gguf"))
