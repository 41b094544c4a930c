"""The fake engine's tokenizer: one id per byte, and four special tokens."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from localprobe.engine import IntArray

BOS, EOS, TURN_START, TURN_END = 256, 257, 258, 259
SPECIALS = {"<|bos|>": BOS, "<|eos|>": EOS, "<|im_start|>": TURN_START, "<|im_end|>": TURN_END}
VOCABULARY = 260

CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

_SPECIAL = re.compile("(" + "|".join(re.escape(text) for text in SPECIALS) + ")")


def encode(text: str, *, template: bool) -> IntArray:
    """Plain text: BOS, then its bytes. Output of a template: special tokens are recognised, and nothing is added."""
    if not template:
        return np.array([BOS, *text.encode()], dtype=np.int32)
    ids: list[int] = []
    for piece in _SPECIAL.split(text):
        ids += [SPECIALS[piece]] if piece in SPECIALS else piece.encode()
    return np.array(ids, dtype=np.int32)


def decode(ids: Sequence[int] | IntArray) -> str:
    """Text of ids, without special tokens; bytes that are not (yet) UTF-8 give U+FFFD."""
    return bytes(int(i) for i in ids if i < 256).decode(errors="replace")
