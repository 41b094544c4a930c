"""Capturing many texts a slice at a time, so that whoever watches sees how far it is and can stop between two."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from localprobe.capture.cache import pooled
from localprobe.capture.residuals import Text
from localprobe.chat_template import Exchange
from localprobe.engine import Engine

_AIM = 0.5
"""Seconds that a slice should take: a stop is felt at once, and batches are still worth their while."""
_MOST = 64


@dataclass(frozen=True, slots=True)
class Amount:
    """How far a capture is."""

    texts: int
    """Done, of `total`."""
    total: int
    known: int
    """Of those done, how many were in the store already."""
    tokens: int
    """Run by the model so far."""
    seconds: float
    left: float | None
    """Seconds to go, if the rest goes as fast and none of it is in the store; None before that can be said."""

    @property
    def rate(self) -> float:
        """Tokens a second."""
        return self.tokens / self.seconds if self.seconds else 0.0


class Capture:
    """Pooled residuals of texts. Iterate over it, to the end, then read `residuals`.

    What was captured is in the store at once: a capture that was stopped goes on where it was when it is begun again.
    """

    def __init__(
        self, engine: Engine, texts: Sequence[Text], layers: Sequence[int], pooling: str, *, limit: int | None = None
    ) -> None:
        self._engine, self._texts, self._layers = engine, texts, layers
        self._pooling, self._limit = pooling, limit
        self.residuals = np.empty((len(texts), len(layers), engine.info.width), dtype=np.float32)
        """(texts, layers, width) float32, in the order of the texts."""

    def __iter__(self) -> Iterator[Amount]:
        """Capture, the longest texts first: a lack of memory shows at once.

        Raises what `localprobe.capture.cache.pooled` raises.
        """
        order = sorted(range(len(self._texts)), key=lambda i: -_length(self._texts[i]))
        characters, tokens, seconds, known, count, at = 0, 0, 0.0, 0, 2, 0
        rest = sum(map(_length, self._texts))
        while at < len(order):
            chosen = order[at : at + count]
            ran: list[int] = []
            start = time.perf_counter()
            self.residuals[chosen] = pooled(
                self._engine,
                [self._texts[i] for i in chosen],
                self._layers,
                self._pooling,
                limit=self._limit,
                done=ran.append,
            )
            took = time.perf_counter() - start
            at += len(chosen)
            length = sum(_length(self._texts[i]) for i in chosen)
            rest -= length
            known += ran.count(0)
            if any(ran):
                characters, tokens, seconds = characters + length, tokens + sum(ran), seconds + took
            count = max(1, min(_MOST, 2 * count, round(len(chosen) * _AIM / max(took, 1e-3))))
            left = seconds * rest / characters if characters else None
            yield Amount(at, len(order), known, tokens, seconds, left)


def _length(text: Text) -> int:
    return len(text.prompt) + len(text.answer) if isinstance(text, Exchange) else len(text)
