"""Special tokens of models, such as `<|im_start|>`, that are written out in texts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from localprobe.chat_ids import alternatives

_COMMON = re.compile(
    r"<\|[^|<>\s]{1,40}\|>|<\uff5c[^\uff5c<>\s]{1,40}\uff5c>|</?(?:start|end)_of_turn>|<end_of_utterance>|</?s>|<(?:bos|eos|pad|unk)>"
    r"|\[/?INST\]|<</?SYS>>"
)
"""Those of the usual chat templates."""


@dataclass(frozen=True, slots=True)
class Written:
    """Where special tokens are written in texts."""

    lines: tuple[int, ...]
    """Lines of the file, ascending."""
    tokens: tuple[str, ...]
    """The tokens found, in order of appearance."""

    @property
    def examples(self) -> str:
        """The first of them, for a message."""
        return ", ".join(self.tokens[:3]) + (", ..." if len(self.tokens) > 3 else "")


def written(texts: Iterable[tuple[int, str]], tokens: Sequence[str] | None = None) -> Written | None:
    """Special tokens in texts, given with their lines: those of a model, or, if None, those that are common in chat
    templates. None if there are none."""
    pattern = _COMMON if tokens is None else _any_of(tuple(tokens))
    lines: set[int] = set()
    found: dict[str, None] = {}
    for line, text in texts:
        if here := pattern.findall(text) if pattern else []:
            lines.add(line)
            found.update(dict.fromkeys(here))
    return Written(tuple(sorted(lines)), tuple(found)) if lines else None


@lru_cache(maxsize=8)
def _any_of(tokens: tuple[str, ...]) -> re.Pattern[str] | None:
    any_token = alternatives(tokens)
    return re.compile(any_token) if any_token else None
