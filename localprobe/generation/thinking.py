"""Where a model thinks before it answers: between marks that its chat template, or its habit, puts around a thought."""

from __future__ import annotations

import re
from collections import deque
from functools import lru_cache
from typing import TypeAlias

from localprobe.engine import Engine, IntArray, Span
from localprobe.generation.detokenizer import Detokenizer

Pair: TypeAlias = tuple[str, str]
KNOWN: tuple[Pair, ...] = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("[THINK]", "[/THINK]"),
    ("<seed:think>", "</seed:think>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|channel|>analysis<|message|>", "<|end|>"),
    ("<|channel>thought", "<channel|>"),
)
"""Marks of the models that publish theirs; a channel ends with its message."""
_IN_TEMPLATE = re.compile(r"<(\|?)(\w*(?:think|thought|reason)\w*)(\|?)>", re.IGNORECASE)
_TEXT = 64  # characters of context in which a mark is looked for


class Thinking:
    """Follows the tokens of a row, and says after which the model is inside a thought.

    The token that completes the opening mark is inside, since it predicts the first token of the thought; the one that
    completes the closing mark is outside. Marks that are special tokens are found by their ids, others in the text.
    """

    def __init__(self, engine: Engine) -> None:
        self.inside = False
        self._pairs = marks(engine.info.chat_template or "")
        self._special = {mark: _ids(engine, mark) for pair in self._pairs for mark in pair if _is_special(engine, mark)}
        self._ids: deque[int] = deque(maxlen=max(map(len, self._special.values()), default=1))
        self._text = ""
        self._detokenizer = Detokenizer(engine.decode)
        self._close = ""

    def push(self, token: int) -> bool:
        """Whether the model is inside a thought after this token."""
        self._ids.append(token)
        new = self._detokenizer.push(token)
        self._text = (self._text + new)[-_TEXT - len(new) :]
        if self.inside:
            self.inside = not self._ends(self._close, len(new))
        else:
            opened = next((pair for pair in self._pairs if self._ends(pair[0], len(new))), None)
            if opened is not None:
                self.inside, self._close = True, opened[1]
        return self.inside

    def _ends(self, mark: str, new: int) -> bool:
        """Whether the last token completes a mark."""
        ids = self._special.get(mark)
        if ids is not None:
            return list(self._ids)[-len(ids) :] == ids
        return new > 0 and mark in self._text[-(len(mark) + new - 1) :]


def thoughts(engine: Engine, ids: IntArray) -> tuple[Span, ...]:
    """The spans of a row that are inside thoughts; an open one ends at the row's end."""
    tracker, spans, begin = Thinking(engine), [], None
    for position, token in enumerate(ids.tolist()):
        inside = tracker.push(token)
        if inside and begin is None:
            begin = position
        elif not inside and begin is not None:
            spans.append((begin, position))
            begin = None
    return (*spans, *(((begin, len(ids)),) if begin is not None else ()))


@lru_cache(maxsize=8)
def marks(template: str) -> tuple[Pair, ...]:
    """The pairs of marks to look for: the known ones, and those that a chat template names."""
    own = {
        (f"<{a}{word}{b}>", f"</{word}>" if not a else f"<{a}/{word}{b}>")
        for a, word, b in _IN_TEMPLATE.findall(template)
    }
    return tuple(dict.fromkeys([*KNOWN, *sorted(pair for pair in own if pair[1] in template)]))


def _is_special(engine: Engine, mark: str) -> bool:
    return any(special in mark for special in engine.info.marks)


def _ids(engine: Engine, mark: str) -> list[int]:
    return [int(token) for token in engine.encode(mark, template=True)]
