"""The vocabulary of a GGUF: its tokens, their kinds, and the ids with special roles."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from localprobe.errors import CorruptFile, UnsupportedModel
from localprobe.gguf.header import Header
from localprobe.gguf.words import Words, words
from localprobe.suggest import shown

_LONGEST = 1024  # characters; the longest real tokens are runs of spaces


class Kind(IntEnum):
    """`tokenizer.ggml.token_type`."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


# llama.cpp treats tokens with these texts as control tokens, regardless of the file.
_ENDS = """
    <|eot_id|> <|im_end|> <|end|> <end_of_turn> <|endoftext|> </s> <|eom_id|> <EOT> _<EOT> [EOT] [EOS]
    <|end_of_text|> <end_of_utterance> <eos> <\uff5cend▁of▁sentence\uff5c>
"""
_FILLS = """
    <|fim_prefix|> <fim-prefix> <fim_prefix> <\uff5cfim▁begin\uff5c> <PRE> ▁<PRE> <|code_prefix|> <|prefix|>
    <|fim_suffix|> <fim-suffix> <fim_suffix> <\uff5cfim▁hole\uff5c> <SUF> ▁<SUF> <|code_suffix|> <|suffix|>
    <|fim_middle|> <fim-middle> <fim_middle> <\uff5cfim▁end\uff5c> <MID> ▁<MID> <|code_middle|> <|middle|>
    <|fim_pad|> <fim-pad> <fim_pad> <PAD> [PAD] <|fim_repo|> <|repo_name|> <fim-repo> <REPO> <reponame> <|file_sep|>
"""
END_TEXTS = frozenset(_ENDS.split())
"""Texts of tokens that end a text or a turn."""
CONTROL_TEXTS = END_TEXTS | frozenset(_FILLS.split())


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Tokens and their roles. The ids of absent roles are None."""

    tokens: list[str]
    kinds: NDArray[np.int32]
    """(tokens,), of `Kind`."""
    scores: NDArray[np.float32]
    """(tokens,): SentencePiece's scores, zeros for BPE."""
    words: Words | None
    """How BPE splits words; None for SentencePiece."""
    bos: int | None
    eos: int | None
    unknown: int | None
    padding: int | None
    ends: tuple[int, ...]
    """Every id that ends a text or a turn, `eos` first."""
    add_bos: bool
    """Whether plain text starts with BOS."""
    space_prefix: bool
    """Whether SentencePiece puts a space before text."""

    def text(self, token: int | None) -> str | None:
        """The text of an id."""
        return None if token is None else self.tokens[token]

    def added(self) -> list[int]:
        """Ids of tokens that are matched in text before any merge."""
        return [int(i) for i in np.flatnonzero(np.isin(self.kinds, (Kind.CONTROL, Kind.USER_DEFINED, Kind.UNKNOWN)))]


def vocabulary(header: Header) -> Vocabulary:
    """Read a GGUF's vocabulary. Raises CorruptFile, or UnsupportedModel for an unknown kind of tokenizer."""
    model = header.required("tokenizer.ggml.model", str)
    if model not in ("gpt2", "llama"):
        raise UnsupportedModel(
            f"{header.path}: tokenizers of the kind {shown(model)} are not known here, only BPE (gpt2) and "
            "SentencePiece (llama): use the llama engine, which reads the GGUF itself"
        )
    sentencepiece = model == "llama"
    cut = None if sentencepiece else words(header.value("tokenizer.ggml.pre", str) or "default")
    tokens = _tokens(header)
    kinds = _kinds(header, tokens)
    default = {"bos": 1, "eos": 2, "unknown": 0} if sentencepiece else {}
    roles = {role: _id(header, role, len(tokens), default.get(role)) for role in ("bos", "eos", "unknown", "padding")}
    named = [_id(header, role, len(tokens), None) for role in ("eot", "eom")]
    listed = [i for i, token in enumerate(tokens) if token in END_TEXTS and token != "</s>"]  # Gemma: an HTML tag
    add_bos = header.value("tokenizer.ggml.add_bos_token", bool)
    return Vocabulary(
        tokens=tokens,
        kinds=kinds,
        scores=np.nan_to_num(_numbers(header, "scores", len(tokens), 0.0), posinf=0, neginf=0).astype(np.float32),
        words=cut,
        bos=roles["bos"],
        eos=roles["eos"],
        unknown=roles["unknown"],
        padding=roles["padding"],
        ends=tuple(dict.fromkeys(int(i) for i in [roles["eos"], *named, *listed] if i is not None)),
        add_bos=(cut is None or cut.add_bos) if add_bos is None else add_bos,
        space_prefix=sentencepiece and header.value("tokenizer.ggml.add_space_prefix", bool) is not False,
    )


def _tokens(header: Header) -> list[str]:
    tokens = header.texts("tokenizer.ggml.tokens")
    if not tokens:
        raise CorruptFile(f"{header.path}: tokenizer.ggml.tokens is missing from its metadata")
    tokens = [token or f"[EMPTY_{i}]" for i, token in enumerate(tokens)]
    if len(set(tokens)) < len(tokens):
        twice = Counter(tokens).most_common(1)[0][0]
        raise CorruptFile(f"{header.path}: its vocabulary holds the token {shown(twice)} twice")
    if max(map(len, tokens)) > _LONGEST:
        raise CorruptFile(f"{header.path}: its vocabulary holds a token of more than {_LONGEST:,} characters")
    return tokens


def _kinds(header: Header, tokens: list[str]) -> NDArray[np.int32]:
    kinds = _numbers(header, "token_type", len(tokens), int(Kind.NORMAL))
    if kinds.dtype.kind not in "iu":
        raise CorruptFile(f"{header.path}: tokenizer.ggml.token_type holds {kinds.dtype}, not integers")
    kinds = kinds.astype(np.int32)
    for i, token in enumerate(tokens):
        if token in CONTROL_TEXTS:
            kinds[i] = Kind.CONTROL
    return kinds


def _numbers(header: Header, key: str, count: int, default: float) -> NDArray[Any]:
    """One number per token; all `default` if the file has none."""
    numbers = header.numbers(f"tokenizer.ggml.{key}")
    if numbers is None:
        return np.full(count, default)
    if len(numbers) < count:
        raise CorruptFile(f"{header.path}: tokenizer.ggml.{key} has {len(numbers)} numbers for {count} tokens")
    return numbers[:count]


def _id(header: Header, role: str, count: int, default: int | None) -> int | None:
    token = header.value(f"tokenizer.ggml.{role}_token_id", int)
    if token is None or not 0 <= token < count:  # llama.cpp uses its default too
        token = default
    return token if token is not None and token < count else None
