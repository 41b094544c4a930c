"""Capturing many texts in slices, so that a caller can show progress and stop between two slices."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from localprobe.capture.cache import cached_residuals
from localprobe.capture.residuals import Text, words_of
from localprobe.chat_template import Exchange
from localprobe.engine import Engine

_AIM = 0.5
"""Target duration of a slice in seconds: short enough to stop promptly, long enough for efficient batches."""
_MOST = 64  # texts per slice


@dataclass(frozen=True, slots=True)
class Amount:
    """Progress of a capture."""

    texts: int
    """Texts done, of `total`."""
    total: int
    tokens: int
    """Tokens run by the model so far."""
    seconds: float
    left: float | None
    """Estimated seconds left, assuming that no further text is cached; None while there is no estimate."""

    @property
    def rate(self) -> float:
        """Tokens per second."""
        return self.tokens / self.seconds if self.seconds else 0.0


class Capture:
    """Pooled residuals of texts. Iterate over it to the end, then read `residuals`.

    Each text is cached as soon as it is captured: a stopped capture resumes when it is started again.
    """

    def __init__(
        self, engine: Engine, texts: Sequence[Text], layers: Sequence[int], pooling: str, *, limit: int | None = None
    ) -> None:
        self._engine, self._texts, self._layers = engine, texts, layers
        self._pooling, self._limit = pooling, limit
        self.residuals = np.empty((len(texts), len(layers), engine.info.width), dtype=np.float32)
        """(texts, layers, width) float32, in the order of the texts."""

    def __iter__(self) -> Iterator[Amount]:
        """Capture, the longest texts first, so that OutOfMemory comes at once. Raises as `cached_residuals` does."""
        order = sorted(range(len(self._texts)), key=lambda i: -_length(self._texts[i]))
        characters, tokens, seconds, count, position = 0, 0, 0.0, 2, 0
        rest = sum(map(_length, self._texts))
        while position < len(order):
            batch = order[position : position + count]
            ran_tokens: list[int] = []
            start = time.perf_counter()
            self.residuals[batch] = cached_residuals(
                self._engine,
                [self._texts[i] for i in batch],
                self._layers,
                self._pooling,
                limit=self._limit,
                done=ran_tokens.append,
            )
            took = time.perf_counter() - start
            position += len(batch)
            length = sum(_length(self._texts[i]) for i in batch)
            rest -= length
            if any(ran_tokens):
                characters, tokens, seconds = characters + length, tokens + sum(ran_tokens), seconds + took
            count = max(1, min(_MOST, 2 * count, round(len(batch) * _AIM / max(took, 1e-3))))
            left = seconds * rest / characters if characters else None
            yield Amount(position, len(order), tokens, seconds, left)


def _length(text: Text) -> int:
    return len(words_of(text)) + (len(text.prompt) if isinstance(text, Exchange) else 0)
