"""The tokenizer of a model folder."""

from __future__ import annotations

from pathlib import Path

from localprobe.errors import UnsupportedModel, first_line
from localprobe.gguf.folder import wrote_tokenizer
from localprobe.models.tokens import Vocabulary
from localprobe_mlx.quiet import quiet


class Tokenizer(Vocabulary):
    """The tokenizer in a model folder. Raises UnsupportedModel if there is no readable one."""

    def __init__(self, path: Path, *, trust_remote_code: bool = False) -> None:
        with quiet():
            from transformers import AutoTokenizer, PreTrainedTokenizerFast

            # A folder converted from a GGUF file defines exactly how text is split. AutoTokenizer would replace that by
            # Qwen2's own rule, which normalises first.
            kind = PreTrainedTokenizerFast if wrote_tokenizer(path) else AutoTokenizer
            try:
                tokenizer = kind.from_pretrained(path, local_files_only=True, trust_remote_code=trust_remote_code)
            except Exception as problem:
                raise UnsupportedModel(f"the tokenizer in {path} cannot be read: {first_line(problem)}") from None
        tokenizer.model_max_length = int(1e30)  # the core knows the context; the tokenizer would only warn
        super().__init__(tokenizer)
