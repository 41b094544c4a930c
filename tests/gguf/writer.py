"""Writes GGUF files for the tests: torch models as llama.cpp's converter would store them, and bare vocabularies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np

FAMILIES = {"llama": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "phi3": "phi3", "gemma3_text": "gemma3"}
SPECIALS = ["<|bos|>", "<|im_end|>", "<|pad|>"]
MERGES = ["t h", "th e", "Ġ the", "i n", "Ġ Ġ"]


def byte_letters() -> list[str]:
    """The 256 letters that byte-level BPE writes bytes as."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]


def tokens() -> list[str]:
    return [*byte_letters(), *(merge.replace(" ", "") for merge in MERGES), *SPECIALS]


def write_model(model: Any, path: Path, metadata: dict[str, Any] | None = None, **extra: Any) -> Path:
    """A transformers model (vocabulary `len(tokens())`), its config and `metadata` as GGUF key-values.

    `extra` are tensors under their GGUF names.
    """
    config = model.config
    family = FAMILIES[config.model_type]
    writer = gguf.GGUFWriter(path, family)
    _write_sizes(writer, family, config)
    write_bpe(writer, tokens(), MERGES, "gpt-2", specials=len(SPECIALS))
    for key, value in (metadata or {}).items():
        _write(writer, f"{family}.{key}", value)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH[family.upper()], config.num_hidden_layers)
    state = {name: value.float().numpy() for name, value in model.state_dict().items()}
    if config.tie_word_embeddings:
        state.pop("lm_head.weight")
    for name, tensor in state.items():
        writer.add_tensor(names.get_name(name, (".weight", ".bias")), _stored(family, name, tensor, config))
    for name, tensor in extra.items():
        writer.add_tensor(f"{name}.weight", np.asarray(tensor, np.float32))
    return _finish(writer, path)


def write_bpe(
    writer: gguf.GGUFWriter, texts: list[str], merges: list[str], pre: str, specials: int = 0, add_bos: bool = True
) -> None:
    kinds = [gguf.TokenType.NORMAL] * (len(texts) - specials) + [gguf.TokenType.CONTROL] * specials
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(texts)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(len(texts) - specials)
    writer.add_eos_token_id(len(texts) - specials + 1)
    writer.add_add_bos_token(add_bos)


def write_vocabulary(path: Path, pre: str, texts: list[str], merges: list[str]) -> Path:
    """A GGUF with a BPE vocabulary and no weights."""
    writer = gguf.GGUFWriter(path, "llama")
    write_bpe(writer, texts, merges, pre, specials=len(SPECIALS), add_bos=False)
    return _finish(writer, path)


def write_sentencepiece(path: Path, pieces: dict[str, float], name: str = "tiny", prefix: bool = True) -> Path:
    """A GGUF with a SentencePiece vocabulary: <unk>, <s>, </s>, 256 bytes, then `pieces` with their scores; <|x|> is a
    control token."""
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    kinds = {"<unk>": gguf.TokenType.UNKNOWN, "<s>": gguf.TokenType.CONTROL, "</s>": gguf.TokenType.CONTROL}
    kinds |= dict.fromkeys(bytes_, gguf.TokenType.BYTE)
    kinds |= {piece: gguf.TokenType.CONTROL if "|" in piece else gguf.TokenType.NORMAL for piece in pieces}
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(name)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(list(kinds))
    writer.add_token_scores([0.0] * 259 + list(pieces.values()))
    writer.add_token_types(list(kinds.values()))
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_space_prefix(prefix)
    return _finish(writer, path)


def _write_sizes(writer: gguf.GGUFWriter, family: str, config: Any) -> None:
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(width)
    writer.add_value_length(width)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    parameters = config.rope_parameters.get("full_attention", config.rope_parameters)
    writer.add_rope_freq_base(parameters["rope_theta"])
    if family != "gemma3":
        writer.add_rope_dimension_count(round(width * parameters.get("partial_rotary_factor", 1.0)))


def _stored(family: str, name: str, tensor: Any, config: Any) -> Any:
    """As llama.cpp wants it: rotary halves of Llama's q and k interleaved, 1 added to Gemma's norms."""
    if family == "gemma3" and name.endswith("norm.weight"):
        return tensor + 1
    if family == "llama" and (".q_proj." in name or ".k_proj." in name):
        heads = config.num_attention_heads if ".q_proj." in name else config.num_key_value_heads
        halves = tensor.reshape(heads, 2, len(tensor) // heads // 2, *tensor.shape[1:])
        return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(tensor.shape))
    return tensor


def _write(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    kinds = {str: writer.add_string, bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32}
    kinds.get(type(value), writer.add_array)(key, value)


def _finish(writer: gguf.GGUFWriter, path: Path) -> Path:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
