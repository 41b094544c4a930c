"""Text <-> ids by the model's own Hugging Face tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from localprobe.engine import IntArray
from localprobe.errors import UnsupportedModel
from localprobe.gguf.folder import wrote_tokenizer
from localprobe_mlx.quiet import first_line, quiet


class Tokenizer:
    """The tokenizer in a model folder. Raises UnsupportedModel if there is no readable one."""

    def __init__(self, path: Path, *, trust_remote_code: bool = False) -> None:
        with quiet():
            from transformers import AutoTokenizer, PreTrainedTokenizerFast

            # A folder converted from a GGUF file defines exactly how text is split. AutoTokenizer would replace that by
            # Qwen2's own rule, which normalises first.
            kind = PreTrainedTokenizerFast if wrote_tokenizer(path) else AutoTokenizer
            try:
                self._tokenizer: Any = kind.from_pretrained(
                    path, local_files_only=True, trust_remote_code=trust_remote_code
                )
            except Exception as problem:
                raise UnsupportedModel(f"the tokenizer in {path} cannot be read: {first_line(problem)}") from None
        self._tokenizer.model_max_length = int(1e30)  # the core knows the context; the tokenizer would only warn
        plain, marked = (self._tokenizer.encode("a", add_special_tokens=marks) for marks in (False, True))
        self.bos = int(marked[0]) if marked[:1] != plain[:1] else None
        """The ids that the model puts before plain text."""

    @property
    def eos(self) -> set[int]:
        value: int | None = self._tokenizer.eos_token_id
        return set() if value is None else {value}

    @property
    def special_text(self) -> dict[str, str]:
        named: dict[str, Any] = self._tokenizer.special_tokens_map
        return {name: str(text) for name, text in named.items() if not isinstance(text, list)}

    @property
    def marks(self) -> tuple[str, ...]:
        """Texts of all special tokens, see `localprobe.engine.Info.marks`."""
        added = self._tokenizer.added_tokens_decoder.values()
        named = map(str, self._tokenizer.all_special_tokens)
        return tuple(sorted({*(token.content for token in added if token.special), *named}))

    @property
    def chat_template(self) -> str | None:
        value: str | dict[str, str] | None = self._tokenizer.chat_template
        return value.get("default") if isinstance(value, dict) else value

    def encode(self, text: str, *, template: bool) -> IntArray:
        """See `localprobe.engine.Engine.encode`."""
        ids = self._tokenizer.encode(text, add_special_tokens=False, split_special_tokens=not template)
        if not template and self.bos is not None:
            ids = [self.bos, *ids]
        return np.array(ids, dtype=np.int32)

    def decode(self, ids: Sequence[int] | IntArray) -> str:
        """See `localprobe.engine.Engine.decode`."""
        plain = [int(i) for i in ids]
        text: str = self._tokenizer.decode(plain, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text
