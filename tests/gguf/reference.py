"""llama.cpp as the tests' reference: ids of a text, logits of a row."""

from __future__ import annotations

import ctypes
from pathlib import Path

import llama_cpp
import numpy as np
from numpy.typing import NDArray

_SPARE = 16


@llama_cpp.llama_log_callback  # type: ignore[untyped-decorator]
def _silent(level: int, text: bytes, data: ctypes.c_void_p) -> None:
    return None


class Reference:
    """A GGUF in llama.cpp; `vocab_only` loads no weights."""

    def __init__(self, path: Path, *, vocab_only: bool = False) -> None:
        llama_cpp.llama_log_set(_silent, ctypes.c_void_p(0))
        parameters = llama_cpp.llama_model_default_params()
        parameters.vocab_only = vocab_only
        parameters.n_gpu_layers = 0
        self.model = llama_cpp.llama_model_load_from_file(str(path).encode(), parameters)
        assert self.model, f"llama.cpp refuses {path}"
        self.vocab = llama_cpp.llama_model_get_vocab(self.model)

    def ids(self, text: str, *, special: bool = False, bos: bool = True) -> list[int]:
        data = text.encode()
        room = len(data) + _SPARE
        buffer = (llama_cpp.llama_token * room)()
        count = llama_cpp.llama_tokenize(self.vocab, data, len(data), buffer, room, bos, special)
        assert count >= 0
        return list(buffer[:count])

    def text(self, ids: list[int]) -> str:
        room = 64 * len(ids) + _SPARE
        buffer = ctypes.create_string_buffer(room)
        array = (llama_cpp.llama_token * len(ids))(*ids)
        count = llama_cpp.llama_detokenize(self.vocab, array, len(ids), buffer, room, True, False)
        return buffer.raw[:count].decode("utf-8", "replace")

    def logits(self, ids: list[int], context: int = 0) -> NDArray[np.float32]:
        """(len(ids), vocabulary), in float32 throughout. `context` is the length that the cache is made for."""
        parameters = llama_cpp.llama_context_default_params()
        parameters.n_ctx = context or len(ids)
        parameters.n_batch = parameters.n_ubatch = len(ids)
        parameters.n_threads = parameters.n_threads_batch = 1
        parameters.type_k = parameters.type_v = 0  # F32
        parameters.flash_attn_type = 0
        opened = llama_cpp.llama_init_from_model(self.model, parameters)
        batch = llama_cpp.llama_batch_init(len(ids), 0, 1)
        batch.n_tokens = len(ids)
        for i, token in enumerate(ids):
            batch.token[i], batch.pos[i], batch.n_seq_id[i] = token, i, 1
            batch.seq_id[i][0], batch.logits[i] = 0, True
        try:
            assert llama_cpp.llama_decode(opened, batch) == 0
            width = llama_cpp.llama_vocab_n_tokens(self.vocab)
            flat = np.ctypeslib.as_array(llama_cpp.llama_get_logits(opened), (len(ids) * width,))
            return flat.reshape(len(ids), width).copy()
        finally:
            llama_cpp.llama_batch_free(batch)
            llama_cpp.llama_free(opened)

    def close(self) -> None:
        llama_cpp.llama_model_free(self.model)
