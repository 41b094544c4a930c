"""Writes a GGUF file of Qwen2.5-7B's exact shape with random Q4_0 weights: 4.3 GB, for measuring, never to be kept.

`python -m benchmarks.big_gguf FILE` writes one. Nothing larger than a tensor is ever in memory.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import gguf
import numpy as np
from numpy.typing import NDArray

LAYERS, WIDTH, INNER, HEADS, KEY_VALUE_HEADS, VOCABULARY = 28, 3584, 18944, 28, 4, 152_064
HEAD = WIDTH // HEADS
SPECIALS = {"<|endoftext|>": 151_643, "<|im_start|>": 151_644, "<|im_end|>": 151_645}
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_BLOCK, _QUANTS = 32, 16  # a block of Q4_0: a float16 scale, then 32 numbers of 4 bits

Shape: TypeAlias = tuple[int, ...]


def write(path: Path) -> Path:
    """Write the file, and return its path."""
    writer = gguf.GGUFWriter(path, "qwen2")
    _write_config(writer)
    _write_tokenizer(writer)
    for name, shape in shapes():
        if len(shape) == 1:
            writer.add_tensor_info(name, shape, np.dtype(np.float32), 4 * shape[0])
            continue
        stored = (shape[0], shape[1] // _BLOCK * (2 + _QUANTS))  # bytes
        kind = gguf.GGMLQuantizationType.Q4_0
        writer.add_tensor_info(name, stored, np.dtype(np.uint8), stored[0] * stored[1], raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    rng = np.random.default_rng(0)
    for name, shape in shapes():
        writer.write_tensor_data(tensor(rng, name, shape))
    writer.close()
    return path


def shapes() -> Iterator[tuple[str, Shape]]:
    """Every tensor's name, and its shape as numpy has it: rows, columns."""
    yield "token_embd.weight", (VOCABULARY, WIDTH)
    for layer in range(LAYERS):
        block = f"blk.{layer}"
        yield f"{block}.attn_norm.weight", (WIDTH,)
        for name, heads in (("attn_q", HEADS), ("attn_k", KEY_VALUE_HEADS), ("attn_v", KEY_VALUE_HEADS)):
            yield f"{block}.{name}.weight", (heads * HEAD, WIDTH)
            yield f"{block}.{name}.bias", (heads * HEAD,)
        yield f"{block}.attn_output.weight", (WIDTH, WIDTH)
        yield f"{block}.ffn_norm.weight", (WIDTH,)
        yield f"{block}.ffn_gate.weight", (INNER, WIDTH)
        yield f"{block}.ffn_up.weight", (INNER, WIDTH)
        yield f"{block}.ffn_down.weight", (WIDTH, INNER)
    yield "output_norm.weight", (WIDTH,)
    yield "output.weight", (VOCABULARY, WIDTH)


def tensor(rng: np.random.Generator, name: str, shape: Shape) -> NDArray[np.generic]:
    """Weights that keep the size of what goes through them, so that a residual of size 1 at first stays near it.

    What a block adds is small beside its residual, as in a trained model: then rounding does not grow into noise.
    """
    if len(shape) == 1:
        return np.full(shape, 1.0 if name.endswith("norm.weight") else 0.0, np.float32)
    rows, columns = shape
    blocks = np.empty((rows, columns // _BLOCK, 2 + _QUANTS), np.uint8)
    # Q4_0 stores scale * (quant - 8); quants that are all alike likely have a mean square of 21.5. Signs that change
    # from block to block take their mean of -0.5 out.
    sign = rng.choice(np.array([-1, 1], np.float16), blocks.shape[:2])
    blocks[..., :2] = (sign * np.float16(_size(name, columns) / 21.5**0.5))[..., None].view(np.uint8)
    blocks[..., 2:] = np.frombuffer(rng.bytes(blocks[..., 2:].size), np.uint8).reshape(blocks[..., 2:].shape)
    return blocks.reshape(rows, -1)


def _size(name: str, columns: int) -> float:
    """The root mean square of a tensor's weights."""
    if name == "token_embd.weight":
        return 1.0
    return float(columns**-0.5) * (0.1 if name.endswith(("attn_output.weight", "ffn_down.weight")) else 1.0)


def _write_config(writer: gguf.GGUFWriter) -> None:
    writer.add_name("random weights in the shape of Qwen2.5-7B")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_0)
    writer.add_context_length(32_768)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_VALUE_HEADS)
    writer.add_rope_freq_base(1e6)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_vocab_size(VOCABULARY)


def _write_tokenizer(writer: gguf.GGUFWriter) -> None:
    """Every byte is a token, so any text can be read; the other tokens only fill the vocabulary."""
    from tokenizers.pre_tokenizers import ByteLevel

    tokens = [*sorted(ByteLevel.alphabet()), *(f"filler{i}" for i in range(256, VOCABULARY))]
    types = [gguf.TokenType.NORMAL] * VOCABULARY
    for text, place in SPECIALS.items():
        tokens[place], types[place] = text, gguf.TokenType.CONTROL
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([f"{tokens[0]} {tokens[1]}"])  # llama.cpp wants one
    writer.add_bos_token_id(SPECIALS["<|endoftext|>"])
    writer.add_eos_token_id(SPECIALS["<|im_end|>"])
    writer.add_pad_token_id(SPECIALS["<|endoftext|>"])
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
