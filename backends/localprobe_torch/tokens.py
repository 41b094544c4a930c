"""Text and ids, by the model's own tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from localprobe.engine import IntArray
from localprobe.errors import CorruptFile, UnsupportedModel
from localprobe_torch.quiet import first_line

_SPECIAL = ("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token")


class Vocabulary:
    """A Hugging Face tokenizer with the contract's rules for special tokens."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.bos = self._find_bos()
        """The id before plain text; None if the model's rule is to put none."""

    def encode(self, text: str, *, template: bool = False) -> IntArray:
        """Ids of plain text, with the model's BOS; or of the output of a chat template, as it stands."""
        ids = self._tokenizer.encode(text, add_special_tokens=False, split_special_tokens=not template)
        if not template and self.bos is not None:
            ids = [self.bos, *ids]
        return np.array(ids, dtype=np.int32)

    def decode(self, ids: Sequence[int] | IntArray) -> str:
        """Text of ids, special tokens left out, as are ids beyond the vocabulary: logits may be wider than it."""
        ids = [int(token) for token in ids]
        return str(self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def eos(self, configs: Sequence[Any]) -> tuple[int, ...]:
        """Ids that end an answer: what each of the configs says, one id or several, and the tokenizer's own."""
        found: list[int] = []
        for named in [*(getattr(config, "eos_token_id", None) for config in configs), self._tokenizer.eos_token_id]:
            found += named if isinstance(named, (list, tuple)) else [named]
        return tuple(sorted({int(token) for token in found if token is not None}))

    @property
    def chat_template(self) -> str | None:
        """The model's own Jinja template; where there are several, the one named `default`."""
        template = self._tokenizer.chat_template
        return template.get("default") if isinstance(template, dict) else template

    @property
    def special_text(self) -> dict[str, str]:
        """Texts that templates name: `bos_token`, `eos_token`, ..."""
        return {name: str(text) for name in _SPECIAL if (text := getattr(self._tokenizer, name, None))}

    @property
    def longest(self) -> int | None:
        """The tokens that the tokenizer says a model takes, if it says so."""
        longest = int(self._tokenizer.model_max_length)
        return longest if 0 < longest < 10**8 else None  # absent, it is 1e30

    def _find_bos(self) -> int | None:
        plain = self._tokenizer.encode("a", add_special_tokens=False)
        marked = self._tokenizer.encode("a", add_special_tokens=True)
        return int(marked[0]) if marked[:1] != plain[:1] else None


def load_vocabulary(folder: Path, trust_remote_code: bool) -> Vocabulary:
    """The tokenizer of a folder. Raises CorruptFile if it cannot be read, UnsupportedModel if there is none."""
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    # A folder made from a GGUF says exactly how its file splits text. AutoTokenizer would put Qwen2's own rule, which
    # normalises first, in the place of that.
    kind = PreTrainedTokenizerFast if (folder / "localprobe.json").exists() else AutoTokenizer
    try:
        tokenizer = kind.from_pretrained(folder, local_files_only=True, trust_remote_code=trust_remote_code)
        return Vocabulary(tokenizer)
    except (OSError, ImportError) as error:
        raise UnsupportedModel(f"{folder} has no tokenizer that can be loaded: {first_line(error)}") from None
    except Exception as error:  # the Rust library raises bare Exception for a torn tokenizer.json
        raise CorruptFile(f"the tokenizer of {folder} cannot be read: {first_line(error)}") from None
