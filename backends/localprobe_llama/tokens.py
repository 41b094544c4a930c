"""Text and ids, by the tokenizer inside the GGUF file."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import llama_cpp
import numpy as np

from localprobe.engine import IntArray
from localprobe.errors import UsageError
from localprobe.gguf.vocabulary import END_TEXTS

_NO_TOKEN = -1  # LLAMA_TOKEN_NULL
_SPACE = "\u2581"  # how SentencePiece writes a space


class Vocabulary:
    """The vocabulary of a loaded model; `pointer` is its llama_vocab, which lives as long as the model."""

    def __init__(self, pointer: Any) -> None:
        self._pointer = pointer
        self.size: int = llama_cpp.llama_vocab_n_tokens(pointer)
        self._pieces: list[bytes | None] = [None] * self.size

    def encode(self, text: str, *, template: bool) -> IntArray:
        """See `localprobe.engine.Engine.encode`."""
        # add_special=False: llama.cpp would also add an EOS where the model asks for one.
        ids = self._tokenize(text.encode("utf-8", "replace"), special=template)
        if template or self.bos is None:
            return ids
        return np.concatenate([np.array([self.bos], np.int32), ids])

    def decode(self, ids: Sequence[int] | IntArray) -> str:
        """See `localprobe.engine.Engine.decode`."""
        text = b"".join(map(self._piece, np.asarray(ids, np.int32).tolist()))
        # SentencePiece puts a space before a text. llama_detokenize would remove it too, but would also clean up spaces
        # in the middle.
        if self._space_prefix:
            text = text.removeprefix(b" ")
        return text.decode("utf-8", "replace")

    @cached_property
    def bos(self) -> int | None:
        """The id that goes before plain text, if the model uses one."""
        token: int = llama_cpp.llama_vocab_bos(self._pointer)
        return token if token != _NO_TOKEN and llama_cpp.llama_vocab_get_add_bos(self._pointer) else None

    @cached_property
    def eos(self) -> tuple[int, ...]:
        """Ids that end a text or a turn. llama.cpp would also end an answer at fill-in-the-middle tokens, and at
        any `</s>`, which other engines do not."""
        named = (llama_cpp.llama_vocab_eos(self._pointer), llama_cpp.llama_vocab_eot(self._pointer))
        return tuple(
            token
            for token in range(self.size)
            if llama_cpp.llama_vocab_is_eog(self._pointer, token) and (token in named or self._ends(token))
        )

    def _ends(self, token: int) -> bool:
        text = llama_cpp.llama_vocab_get_text(self._pointer, token).decode("utf-8", "replace")
        return text in END_TEXTS and text != "</s>"

    @cached_property
    def special_text(self) -> dict[str, str]:
        """Texts of the special tokens that chat templates use."""
        tokens = {
            "bos_token": llama_cpp.llama_vocab_bos(self._pointer),
            "eos_token": llama_cpp.llama_vocab_eos(self._pointer),
            "pad_token": llama_cpp.llama_vocab_pad(self._pointer),
            "sep_token": llama_cpp.llama_vocab_sep(self._pointer),
        }
        return {
            name: llama_cpp.llama_vocab_get_text(self._pointer, token).decode("utf-8", "replace")
            for name, token in tokens.items()
            if token != _NO_TOKEN
        }

    @cached_property
    def marks(self) -> tuple[str, ...]:
        """Texts of all special tokens, see `localprobe.engine.Info.marks`."""
        special = llama_cpp.LLAMA_TOKEN_ATTR_CONTROL | llama_cpp.LLAMA_TOKEN_ATTR_UNKNOWN
        texts = (
            llama_cpp.llama_vocab_get_text(self._pointer, token).decode("utf-8", "replace")
            for token in range(self.size)
            if llama_cpp.llama_vocab_get_attr(self._pointer, token) & special
        )
        return tuple(sorted({text for text in texts if text}))

    @cached_property
    def _space_prefix(self) -> bool:
        """Whether this tokenizer puts a space before a text."""
        ids = self._tokenize(b"a", special=False)
        return b"".join(map(self._piece, ids.tolist())).startswith(b" ")

    def _refuse_unwritable(self, text: str) -> None:
        """UsageError for a character that llama.cpp would abort on, as no token stands for it or for its bytes."""
        texts, lost = self._unwritable
        for char in {_SPACE, *text.replace(" ", _SPACE)}:
            if char not in texts and lost.intersection(char.encode("utf-8", "replace")):
                raise UsageError(f"this model has no token for {char!r} nor for its bytes: leave it out of the text")

    @cached_property
    def _unwritable(self) -> tuple[frozenset[str], frozenset[int]]:
        """The texts of a SentencePiece vocabulary that lacks tokens of single bytes, and these bytes; else nothing."""
        if llama_cpp.llama_vocab_type(self._pointer) != llama_cpp.LLAMA_VOCAB_TYPE_SPM:
            return frozenset(), frozenset()
        texts, bytes_left = set(), {f"<0x{byte:02X}>": byte for byte in range(256)}
        for token in range(self.size):
            text = llama_cpp.llama_vocab_get_text(self._pointer, token).decode("utf-8", "replace")
            texts.add(text)
            bytes_left.pop(text, None)
            if not bytes_left:  # after a few hundred tokens, as a rule
                break
        return frozenset(texts), frozenset(byte for byte in bytes_left.values() if byte > 127 or chr(byte) not in texts)

    def _tokenize(self, text: bytes, *, special: bool) -> IntArray:
        if self._unwritable[1]:
            self._refuse_unwritable(text.decode("utf-8", "replace"))
        room = len(text) + 8  # a text has at most one token per byte, plus a leading space
        while True:
            ids = np.empty(room, np.int32)
            pointer = ids.ctypes.data_as(ctypes.POINTER(ctypes.c_int32))
            count: int = llama_cpp.llama_tokenize(self._pointer, text, len(text), pointer, room, False, special)
            if count >= 0:
                return ids[:count].copy()
            if -count <= room:
                raise UsageError(f"a text of {len(text)} bytes is too long to tokenize: cut it in pieces")
            room = -count

    def _piece(self, token: int) -> bytes:
        """The text of an id, empty for a special token. Cached, because texts are decoded repeatedly."""
        if not 0 <= token < self.size:  # llama.cpp would abort
            raise UsageError(f"token id {token} is out of range: this model has ids 0 to {self.size - 1}")
        piece = self._pieces[token]
        if piece is None:
            piece = self._pieces[token] = self._piece_of_library(token)
        return piece

    def _piece_of_library(self, token: int) -> bytes:
        room = 64
        while True:
            buffer = ctypes.create_string_buffer(room)
            count: int = llama_cpp.llama_token_to_piece(self._pointer, token, buffer, room, 0, False)
            if count >= 0:
                return buffer.raw[:count]
            room = -count
