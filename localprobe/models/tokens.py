"""Text and ids, by a model's own Hugging Face tokenizer: the engines that read folders share it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from localprobe.engine import IntArray


class Vocabulary:
    """A Hugging Face tokenizer with the contract's rules for special tokens."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.bos = self._find_bos()
        """The id before plain text; None if the model uses none."""

    def encode(self, text: str, *, template: bool = False) -> IntArray:
        """Ids of plain text, with the model's BOS; or of the output of a chat template, unchanged."""
        # Not verbose: it would warn on stderr of a long text, and the core checks lengths.
        ids = self._tokenizer.encode(text, add_special_tokens=False, split_special_tokens=not template, verbose=False)
        if not template and self.bos is not None:
            ids = [self.bos, *ids]
        return np.array(ids, dtype=np.int32)

    def decode(self, ids: Sequence[int] | IntArray) -> str:
        """Text of ids without special tokens and without ids beyond the vocabulary, which logits may exceed."""
        ids = [int(token) for token in ids]
        return str(self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    @property
    def eos(self) -> set[int]:
        """Ids that end an answer, by the tokenizer."""
        return end_ids(self._tokenizer)

    @property
    def marks(self) -> tuple[str, ...]:
        """Texts of all special tokens, see `localprobe.engine.Info.marks`."""
        added = self._tokenizer.added_tokens_decoder.values()
        named = map(str, self._tokenizer.all_special_tokens)
        return tuple(sorted({*(token.content for token in added if token.special), *named}))

    @property
    def chat_template(self) -> str | None:
        """The model's own Jinja template; if there are several, the one named `default`."""
        template = self._tokenizer.chat_template
        return template.get("default") if isinstance(template, dict) else template

    @property
    def special_text(self) -> dict[str, str]:
        """Special tokens by the names that templates use: `bos_token`, `eos_token`, ..."""
        named = self._tokenizer.special_tokens_map.items()
        return {name: str(text) for name, text in named if text and not isinstance(text, list)}

    @property
    def longest(self) -> int | None:
        """The model's maximum number of tokens by the tokenizer, if it has one."""
        longest = int(self._tokenizer.model_max_length)
        return longest if 0 < longest < 10**8 else None  # 1e30 if absent

    def _find_bos(self) -> int | None:
        plain = self._tokenizer.encode("a", add_special_tokens=False)
        marked = self._tokenizer.encode("a", add_special_tokens=True)
        return int(marked[0]) if marked[:1] != plain[:1] else None


def end_ids(*declaring: Any) -> set[int]:
    """Ids that end an answer: `eos_token_id` of a tokenizer or of configs, each with one, several or none."""
    declared = [getattr(source, "eos_token_id", None) for source in declaring]
    listed = [ids if isinstance(ids, list | tuple) else [ids] for ids in declared]
    return {int(token) for ids in listed for token in ids if token is not None}
