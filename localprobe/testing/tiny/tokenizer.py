"""The tiny models' tokenizer: byte-level BPE, trained on a few sentences, with special tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localprobe.testing.texts import TEXTS

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MERGED = 380
"""Bytes and merges; special tokens follow."""
SPECIALS = {
    text: MERGED + number for number, text in enumerate(("<|bos|>", "<|end|>", "<|im_start|>", "<|im_end|>"))
} | {"<|pad|>": MERGED + 4}
VOCABULARY = 385
BOS_ARCHITECTURES = frozenset({"llama", "mistral", "gemma2", "gemma3_text"})
"""Architectures that put a BOS before plain text."""
QWEN_ARCHITECTURES = frozenset({"qwen2", "qwen3"})
"""Architectures that split text by Qwen's rule, which transformers always uses for them; the others use GPT-2's."""
_QWEN_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

_CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def chat_template(architecture: str) -> str:
    """ChatML, after a BOS if the model has one."""
    return ("{{ bos_token }}" if architecture in BOS_ARCHITECTURES else "") + _CHATML


def tokenizer(architecture: str) -> Tokenizer:
    """The tokenizer, with the architecture's BOS rule as its post-processor."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    bpe = Tokenizer(models.BPE())
    if architecture in QWEN_ARCHITECTURES:
        words = pre_tokenizers.Split(Regex(_QWEN_WORDS), behavior="isolated")
        letters = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        bpe.pre_tokenizer = pre_tokenizers.Sequence([words, letters])
    else:
        bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=MERGED, initial_alphabet=alphabet, show_progress=False)
    bpe.train_from_iterator(TEXTS, trainer)
    bpe.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in SPECIALS])
    assert bpe.get_vocab_size() == VOCABULARY, "too few sentences for this vocabulary size"
    if architecture in BOS_ARCHITECTURES:
        bpe.post_processor = processors.TemplateProcessing(
            single="<|bos|> $A", pair="<|bos|> $A $B", special_tokens=[("<|bos|>", SPECIALS["<|bos|>"])]
        )
    return bpe
