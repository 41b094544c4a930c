"""Faults of a GGUF file on which llama.cpp would abort or compute nothing, found in its header before it is loaded.

Only what no engine could run is refused, and only what the file states: a key that is missing is left to the engine,
which knows whether the architecture needs it.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from localprobe.errors import CorruptFile, UnsupportedModel
from localprobe.gguf.header import Header, Value
from localprobe.suggest import shown

_TOKENIZER = "tokenizer.ggml"
_NO_VOCABULARY = ("no_vocab", "none")
_UNDECODABLE = "\ufffd"
_SIZES = ("block_count", "embedding_length", "context_length")
_PER_TOKEN = {"scores": "f", "token_type": "iu"}
"""Key -> kinds of numpy's types of four bytes, which llama.cpp reads without looking at the file's type."""


def refuse_faults(header: Header) -> None:
    """Raise CorruptFile for a header that contradicts itself, UnsupportedModel for a model without a vocabulary."""
    family = header.value("general.architecture", str)
    if family is None:
        return  # a further part of a split file
    blocks, held = header.metadata.get(f"{family}.block_count"), len(header.tensors)
    if isinstance(blocks, int) and blocks > held > 0 and "split.count" not in header.metadata:
        raise CorruptFile(f"{header.path}: it claims {blocks:,} blocks and holds {held} tensors; fetch it again")
    experts, used = (header.metadata.get(f"{family}.expert{name}_count") for name in ("", "_used"))
    if isinstance(experts, int) and isinstance(used, int) and used > experts:
        raise CorruptFile(f"{header.path}: it claims to use {used:,} of {experts:,} experts; fetch it again")
    for key, value in header.metadata.items():
        if key.startswith(f"{family}."):
            _check_number(header, key.removeprefix(f"{family}."), key, value)
    _check_vocabulary(header)


def _check_number(header: Header, name: str, key: str, value: Value) -> None:
    if name in _SIZES and isinstance(value, int) and value < 1:
        raise CorruptFile(f"{header.path}: {key} is {shown(value)}, a model has at least 1; fetch it again")
    if name.endswith("_epsilon") and isinstance(value, float) and not 0 <= value < np.inf:
        raise CorruptFile(f"{header.path}: {key} is {value}, not a small positive number; fetch it again")


def _check_vocabulary(header: Header) -> None:
    if header.value(f"{_TOKENIZER}.model", str) in _NO_VOCABULARY:
        raise UnsupportedModel(f"{header.path} has no vocabulary to read text with: convert it again")
    tokens = header.texts(f"{_TOKENIZER}.tokens")
    if tokens is None:
        return
    if not tokens:
        raise CorruptFile(f"{header.path}: its vocabulary is empty; fetch it again")
    if len(set(tokens)) < len(tokens):
        _check_duplicates(header, tokens)
    for name, kinds in _PER_TOKEN.items():
        numbers = header.numbers(f"{_TOKENIZER}.{name}")
        if numbers is None:
            continue
        if numbers.dtype.kind not in kinds or numbers.dtype.itemsize != 4 or len(numbers) < len(tokens):
            raise CorruptFile(
                f"{header.path}: {_TOKENIZER}.{name} has {len(numbers):,} numbers of type {numbers.dtype.name} for "
                f"{len(tokens):,} tokens; fetch it again"
            )


def _check_duplicates(header: Header, tokens: list[str]) -> None:
    """Refuse a token that comes twice. Tokens of bytes that are no UTF-8 may look alike here without being the same,
    and llama.cpp numbers empty ones itself."""
    counts = Counter(token for token in tokens if token and _UNDECODABLE not in token)
    token, count = counts.most_common(1)[0] if counts else ("", 0)
    if count > 1:
        raise CorruptFile(
            f"{header.path}: its vocabulary holds the token {shown(token)} {count} times; take another conversion of it"
        )
