"""A `tokenizers` tokenizer that gives the same ids as llama.cpp for the same GGUF file, and its config.

BPE (`gpt2`) has a vocabulary, ranked merges and a rule that splits words. SentencePiece (`llama`) has one score per
token instead of merges: any two neighbours that form a token may merge, the best score first, ties from the left. As
ranked merges, that is every split of every token into two tokens, ranked by the token's score.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from localprobe.errors import CorruptFile
from localprobe.gguf.header import Header
from localprobe.gguf.vocabulary import Kind, Vocabulary
from localprobe.gguf.words import pre_tokenizer
from localprobe.suggest import shown

if TYPE_CHECKING:
    from tokenizers import AddedToken, Tokenizer

SPACE = "▁"  # how SentencePiece writes a space
_KEEP_SPACE_AFTER = ("<unk>", "<s>", "<|endoftext|>")  # Phi-3 strips spaces after all other special tokens


def tokenizer(header: Header, vocabulary: Vocabulary) -> Tokenizer:
    """Build the tokenizer, in 0.1 s for SmolLM2 and 1.5 s for Gemma. Raises CorruptFile."""
    model = _sentencepiece(vocabulary) if vocabulary.words is None else _bpe(header, vocabulary)
    added = [_added(header, vocabulary, token) for token in vocabulary.added()]
    model.add_special_tokens([token for token in added if token.special])
    model.add_tokens([token for token in added if not token.special])
    model.post_processor = _bos_rule(vocabulary)
    return model


def tokenizer_config(header: Header, vocabulary: Vocabulary, context: int) -> dict[str, Any]:
    """`tokenizer_config.json`: the chat template and its special tokens, and nothing that would rebuild the
    tokenizer."""
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": vocabulary.text(vocabulary.bos),
        "eos_token": vocabulary.text(vocabulary.eos),
        "unk_token": vocabulary.text(vocabulary.unknown),
        "pad_token": vocabulary.text(vocabulary.padding),
        "chat_template": header.value("tokenizer.chat_template", str),
    }
    present = {key: value for key, value in config.items() if value is not None}
    return present | {"model_max_length": context, "clean_up_tokenization_spaces": False}


def _bpe(header: Header, vocabulary: Vocabulary) -> Tokenizer:
    from tokenizers import Tokenizer, decoders, models

    assert vocabulary.words is not None
    ids = {token: i for i, token in enumerate(vocabulary.tokens)}
    pairs = _listed_merges(header, ids)
    model = Tokenizer(models.BPE(ids, pairs, ignore_merges=vocabulary.words.ignore_merges))
    model.pre_tokenizer = pre_tokenizer(vocabulary.words.patterns)
    model.decoder = decoders.ByteLevel()
    return model


def _listed_merges(header: Header, ids: dict[str, int]) -> list[tuple[str, str]]:
    merges = header.texts("tokenizer.ggml.merges")
    if merges is None:
        raise CorruptFile(f"{header.path}: tokenizer.ggml.merges is missing from its metadata")
    pairs = []
    for merge in dict.fromkeys(merges):  # of duplicates, the first one counts
        left, _, right = merge[1:].partition(" ")
        pair = (merge[:1] + left, right)
        if not (pair[0] in ids and right in ids and pair[0] + right in ids):
            raise CorruptFile(f"{header.path}: its tokenizer merges {shown(merge)}, of which not all are tokens")
        pairs.append(pair)
    return pairs


def _sentencepiece(vocabulary: Vocabulary) -> Tokenizer:
    from tokenizers import Tokenizer, decoders, models, normalizers

    ids = {token: i for i, token in enumerate(vocabulary.tokens)}
    unknown = vocabulary.text(vocabulary.unknown)
    model = Tokenizer(
        models.BPE(ids, _scored_merges(vocabulary, ids), unk_token=unknown, fuse_unk=True, byte_fallback=True)
    )
    escape = normalizers.Replace(" ", SPACE)
    prefix = [normalizers.Prepend(SPACE)] if vocabulary.space_prefix else []
    model.normalizer = normalizers.Sequence([*prefix, escape])
    strip = [decoders.Strip(" ", 1, 0)] if vocabulary.space_prefix else []
    model.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), *strip])
    return model


def _scored_merges(vocabulary: Vocabulary, ids: dict[str, int]) -> list[tuple[str, str]]:
    """Every split of every token into two tokens, in the order that merges must be tried.

    Unlike ranks, scores can tie (in Llama 2 all runs of spaces have the same score). Among equals the longest token
    comes first, which extends runs from the left, as the leftmost-first rule does.
    """
    order = np.lexsort((-np.array([len(token) for token in vocabulary.tokens]), -vocabulary.scores))
    pairs = []
    for token in (vocabulary.tokens[i] for i in order):
        for cut in range(1, len(token)):
            left, right = token[:cut], token[cut:]
            if left in ids and right in ids:
                pairs.append((left, right))
    return pairs


def _added(header: Header, vocabulary: Vocabulary, token: int) -> AddedToken:
    from tokenizers import AddedToken

    text = vocabulary.tokens[token]
    name = (header.value("general.name", str) or "").lower()
    drop_space = ("phi-3" in name or "phi3" in name) and text not in _KEEP_SPACE_AFTER
    special = vocabulary.kinds[token] != Kind.USER_DEFINED
    return AddedToken(text, special=bool(special), normalized=False, rstrip=drop_space)


def _bos_rule(vocabulary: Vocabulary) -> Any:
    """The post-processor of plain text: BOS if the model uses one, never EOS. It is always written, because
    transformers invents one if it is absent."""
    from tokenizers.processors import TemplateProcessing

    if not vocabulary.add_bos or vocabulary.bos is None:
        return TemplateProcessing(single="$A", pair="$A $B", special_tokens=[])
    bos = {"id": "bos", "ids": [vocabulary.bos], "tokens": [vocabulary.tokens[vocabulary.bos]]}
    return TemplateProcessing(single="bos $A", pair="bos $A $B", special_tokens=[bos])
