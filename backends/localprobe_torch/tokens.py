"""The tokenizer of a model folder."""

from __future__ import annotations

from pathlib import Path

from localprobe.errors import CorruptFile, UnsupportedModel, first_line
from localprobe.gguf.folder import wrote_tokenizer
from localprobe.models.tokens import Vocabulary


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
