"""Tokens as people read them: a word with its space, a special token by its name, a part of a character by its id."""

from __future__ import annotations

from functools import cached_property

from localprobe.engine import Engine
from localprobe.terminal_text import one_line

_BEFORE = "a"
"""Decoded before a token: some tokenizers drop the space of the first word of a text."""
_PART = "\ufffd"
_SPACE = "\u2423"  # open box


class TokenTexts:
    """The texts of one model's tokens, each looked up once."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._before = [int(engine.encode(_BEFORE)[-1])]
        self._known: dict[int, str] = {}

    def __getitem__(self, token: int) -> str:
        """What a token adds to a text, its spaces included; a special token's name; `<id:7>` for one that adds nothing,
        or only a part of a character."""
        if token not in self._known:
            added = self._added(token)
            whole = added if added.strip(_PART) else ""
            self._known[token] = whole or self._specials.get(token) or f"<id:{token}>"
        return self._known[token]

    def _added(self, token: int) -> str:
        text, before = self._engine.decode([*self._before, token]), self._engine.decode(self._before)
        return text[len(before) :] if text.startswith(before) else self._engine.decode([token])

    @cached_property
    def _specials(self) -> dict[int, str]:
        encoded = {mark: self._engine.encode(mark, template=True) for mark in self._engine.info.marks}
        return {int(ids[0]): mark for mark, ids in encoded.items() if len(ids) == 1}


def shown(text: str) -> str:
    """A token's text in one line for a terminal or a page: `␣` for a space, `␊` for a new line, `<U+200B>` for what
    has no picture."""
    spaced = one_line(text.replace(" ", _SPACE))
    return "".join(c if c.isprintable() else f"<U+{ord(c):04X}>" for c in spaced)
