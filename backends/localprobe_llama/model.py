"""A loaded llama_model and its metadata."""

from __future__ import annotations

import ctypes
import weakref
from functools import cached_property
from typing import Any

import llama_cpp

from localprobe_llama.tokens import Vocabulary

_PAGE = 256  # llama.cpp rounds caches up to it
_OUTPUTS = 1 << 26  # logits (float32) of one pass: 256 MB
_YARN = ("yarn_ext_factor", "yarn_attn_factor", "yarn_beta_fast", "yarn_beta_slow")
_BATCH, _SMALL_BATCH = 512, 128  # tokens of a pass


class LlamaModel:
    """Weights in memory. `threads` is the number of CPU threads; `gpu` is whether any block is on a GPU.

    With `low_memory`, passes and caches are smaller too.
    """

    def __init__(self, pointer: Any, *, threads: int, gpu: bool, low_memory: bool = False) -> None:
        self.pointer = pointer
        self.threads = threads
        self.gpu = gpu
        self.low_memory = low_memory
        self.close = weakref.finalize(self, llama_cpp.llama_model_free, pointer)
        self.vocabulary = Vocabulary(llama_cpp.llama_model_get_vocab(pointer))
        self.layers: int = llama_cpp.llama_model_n_layer(pointer)
        self.width: int = llama_cpp.llama_model_n_embd(pointer)
        self.context: int = llama_cpp.llama_model_n_ctx_train(pointer)
        self.rewinds = not (llama_cpp.llama_model_is_recurrent(pointer) or llama_cpp.llama_model_is_hybrid(pointer))
        """Whether a row's last tokens can be forgotten, which a recurrent state does not allow."""
        self.window: int = llama_cpp.llama_model_n_swa(pointer)
        """Tokens that blocks with a sliding window look back on; 0 if there are none."""
        self.controls = self.layers > 1
        """Whether control vectors work; set by `load`."""
        self.long_factors = False
        """Whether the file holds RoPE factors for long rows; set by `load`."""

    @property
    def batch(self) -> int:
        """Tokens per pass; fewer if the logits of a large vocabulary would take gigabytes."""
        most = _SMALL_BATCH if self.low_memory else _BATCH
        return max(64, min(most, _OUTPUTS // self.vocabulary.size // 64 * 64))

    @property
    def architecture(self) -> str:
        return self.text("general.architecture") or "unknown"

    @property
    def cell_bytes(self) -> int:
        """Approximate bytes of KV cache per token: keys and values of every block in float16."""
        heads: int = llama_cpp.llama_model_n_head_kv(self.pointer)
        usual = self.width // max(1, llama_cpp.llama_model_n_head(self.pointer))
        lengths = [self.number(f"attention.{kind}_length") or usual for kind in ("key", "value")]
        return 2 * self.layers * heads * sum(lengths)

    def context_bytes(self, cells: int, batch: int, outputs: int) -> int:
        """Bytes of a context: its cache, the buffers of a pass of `batch` tokens, and the logits of `outputs`.

        A pass holds about three vectors of the feed-forward width and four of the model's width per token (measured).
        Logits are stored twice.
        """
        inner = self.number("feed_forward_length") or 4 * self.width
        computing = batch * 4 * (3 * inner + 4 * self.width)
        return cells * self.cell_bytes + computing + 2 * 4 * outputs * self.vocabulary.size

    @cached_property
    def short_context(self) -> int | None:
        """Cells beyond which llama.cpp uses other RoPE factors (Phi-3 with a long context); None if it never does.

        The choice depends on the size of the cache, not on the length of a row.
        """
        return self.trained_context // _PAGE * _PAGE if self.long_factors else None

    @cached_property
    def yarn(self) -> dict[str, float]:
        """YaRN's parameters that the file names. llama.cpp itself reads them for some architectures only."""
        named = {name: self.text(self._key(f"rope.scaling.{name}")) for name in _YARN}
        return {name: float(value) for name, value in named.items() if value is not None}

    @property
    def trained_context(self) -> int:
        """Context length before it was extended."""
        return self.number("rope.scaling.original_context_length") or self.context

    def number(self, name: str) -> int | None:
        """An integer from the metadata of the architecture."""
        value = self.text(self._key(name))
        return int(value) if value is not None and value.isdecimal() else None

    def text(self, key: str) -> str | None:
        """A value of the metadata as text; None if the file has no such key."""
        room = 1 << 10
        while True:
            buffer = ctypes.create_string_buffer(room)
            length: int = llama_cpp.llama_model_meta_val_str(self.pointer, key.encode(), buffer, room)
            if length < 0:
                return None
            if length < room:
                return buffer.raw[:length].decode("utf-8", "replace")
            room = length + 1

    def _key(self, name: str) -> str:
        return f"{self.architecture}.{name}"
