"""Text and ids, by the model's own tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from localprobe.engine import IntArray
from localprobe.errors import CorruptFile, UnsupportedModel
from localprobe.gguf.folder import wrote_tokenizer
from localprobe_torch.quiet import first_line

_SPECIAL = ("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token")


class Vocabulary:
    """A Hugging Face tokenizer with the contract's rules for special tokens."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.bos = self._find_bos()
        """The id before plain text; None if the model uses none."""

    def encode(self, text: str, *, template: bool = False) -> IntArray:
        """Ids of plain text, with the model's BOS; or of the output of a chat template, unchanged."""
        ids = self._tokenizer.encode(text, add_special_tokens=False, split_special_tokens=not template)
        if not template and self.bos is not None:
            ids = [self.bos, *ids]
        return np.array(ids, dtype=np.int32)

    def decode(self, ids: Sequence[int] | IntArray) -> str:
        """Text of ids without special tokens and without ids beyond the vocabulary, which logits may exceed."""
        ids = [int(token) for token in ids]
        return str(self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def eos(self, configs: Sequence[Any]) -> tuple[int, ...]:
        """Ids that end an answer: those of the configs, and the tokenizer's own."""
        ids: list[int] = []
        for named in [*(getattr(config, "eos_token_id", None) for config in configs), self._tokenizer.eos_token_id]:
            ids += named if isinstance(named, (list, tuple)) else [named]
        return tuple(sorted({int(token) for token in ids if token is not None}))

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
        return {name: str(text) for name in _SPECIAL if (text := getattr(self._tokenizer, name, None))}

    @property
    def longest(self) -> int | None:
        """The model's maximum number of tokens by the tokenizer, if it has one."""
        longest = int(self._tokenizer.model_max_length)
        return longest if 0 < longest < 10**8 else None  # 1e30 if absent

    def _find_bos(self) -> int | None:
        plain = self._tokenizer.encode("a", add_special_tokens=False)
        marked = self._tokenizer.encode("a", add_special_tokens=True)
        return int(marked[0]) if marked[:1] != plain[:1] else None


def load_vocabulary(folder: Path, trust_remote_code: bool) -> Vocabulary:
    """The tokenizer of a folder. Raises CorruptFile if it cannot be read, UnsupportedModel if there is none."""
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    # A folder converted from a GGUF file defines exactly how text is split. AutoTokenizer would replace that by Qwen2's
    # own rule, which normalises first.
    kind = PreTrainedTokenizerFast if wrote_tokenizer(folder) else AutoTokenizer
    try:
        tokenizer = kind.from_pretrained(folder, local_files_only=True, trust_remote_code=trust_remote_code)
        return Vocabulary(tokenizer)
    except (OSError, ImportError) as error:
        raise UnsupportedModel(f"{folder} has no tokenizer that can be loaded: {first_line(error)}") from None
    except Exception as error:  # the Rust library raises bare Exception for a damaged tokenizer.json
        raise CorruptFile(f"the tokenizer of {folder} cannot be read: {first_line(error)}") from None
