"""How each BPE tokenizer splits text into words before merging, by the GGUF file's `tokenizer.ggml.pre`.

The expressions are those of llama.cpp, so that ids agree between engines; for a few tokenizers (tekken, gpt-4o) they
differ slightly from the model's own. Each is applied to the pieces that the previous one left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from localprobe.errors import UnsupportedModel
from localprobe.suggest import shown

if TYPE_CHECKING:
    from tokenizers.pre_tokenizers import PreTokenizer

_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_CONTRACTION = r"'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]"
_WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_MARKS = r" ?[^\s\p{L}\p{N}]+[\r\n]*"
_SPACE = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_LLAMA3 = rf"{_CONTRACTION}|{_WORD}|\p{{N}}{{1,3}}|{_MARKS}|{_SPACE}"
_QWEN2 = rf"{_CONTRACTION}|{_WORD}|\p{{N}}|{_MARKS}|{_SPACE}"
_SEED = rf"{_CONTRACTION}|{_WORD}|\p{{N}}| ?[^\s\p{{L}}\p{{N}}\r\n]+|{_SPACE}"
_UPPER, _LOWER = r"(?:(?=\p{L})[^a-z])", r"(?:(?=\p{L})[^A-Z])"  # letters outside ASCII count as both
_START = r"[^\r\n\p{L}\p{N}]?"
_SLASH = rf" ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_SPACE}"
_TEKKEN = rf"{_START}{_UPPER}*{_LOWER}+|{_START}{_UPPER}+{_LOWER}*|\p{{N}}|{_SLASH}"
_GPT4O = (
    rf"{_START}{_UPPER}*{_LOWER}+(?:{_CONTRACTION})?|{_START}{_UPPER}+{_LOWER}*(?:{_CONTRACTION})?"
    rf"|\p{{N}}{{1,3}}|{_SLASH}"
)
_DEEPSEEK_CODER = (r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+", r"\p{N}")
_DEFAULT = (r"[\p{P}\$\+<=>\^~\|]+", _GPT2, r"\p{N}+", "[0-9][0-9][0-9]")


@dataclass(frozen=True, slots=True)
class Words:
    """How text is split into words, and two related rules of llama.cpp."""

    patterns: tuple[str, ...]
    ignore_merges: bool = False
    """A word that is a token is never split, regardless of the merges."""
    add_bos: bool = False
    """Plain text starts with BOS unless the file states otherwise."""


_KINDS = {
    Words((_LLAMA3,), ignore_merges=True, add_bos=True): "llama-bpe llama3 llama-v3 falcon3 pixtral midm-2.0",
    Words((_LLAMA3,)): "dbrx smaug-bpe",  # dbrx is Phi-4's
    Words((_QWEN2,)): "qwen2 deepseek-r1-qwen megrez kormo f2llmv2",
    Words((_GPT2,)): "gpt-2 a.x-4.0 mellum trillion",
    Words((r"\p{N}", _GPT2)): "smollm starcoder refact minerva-7b",
    Words((_TEKKEN,), ignore_merges=True, add_bos=True): "tekken",
    Words((_GPT4O,)): "gpt-4o",  # Phi-4-mini's
    Words((_SEED,)): "seed-coder",
    Words(_DEEPSEEK_CODER): "deepseek-coder",
    Words(_DEFAULT): "default",
}
_BY_NAME = {name: words for words, names in _KINDS.items() for name in names.split()}


def words(pre: str) -> Words:
    """The rules of a `tokenizer.ggml.pre`. Raises UnsupportedModel if it is not known."""
    if pre not in _BY_NAME:
        raise UnsupportedModel(
            f"its tokenizer cuts words by the rule {shown(pre)}, which is not known here: "
            "use the llama engine, which reads the GGUF itself"
        )
    return _BY_NAME[pre]


def pre_tokenizer(patterns: tuple[str, ...]) -> PreTokenizer:
    """The `tokenizers` pre-tokenizer of these patterns, which also maps bytes to GPT-2's printable characters."""
    from tokenizers import Regex
    from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split

    splits = [Split(Regex(pattern), "isolated") for pattern in patterns]
    return Sequence([*splits, ByteLevel(add_prefix_space=False, use_regex=False)])
