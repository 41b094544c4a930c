"""A prompt's tokens as the place where knobs act: texts in it, thoughts in it, and the score of its message."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from localprobe.capture.residuals import encode
from localprobe.checks import check_rows
from localprobe.engine import Engine, IntArray, Row, Span, Watch
from localprobe.errors import UsageError
from localprobe.generation.detokenizer import Detokenizer
from localprobe.generation.thinking import thoughts
from localprobe.steering.positions import Place
from localprobe.suggest import shown


@dataclass(frozen=True, eq=False)  # without slots: what knobs ask for again is kept
class PromptPlace(Place):
    """A prompt of a model."""

    engine: Engine = field(kw_only=True)
    ids: IntArray = field(kw_only=True)
    """(length,) int32."""
    message: str = field(default="", kw_only=True)
    """The user's own words, without the template; empty if only the ids are known."""
    _scores: dict[Hashable, tuple[float, int]] = field(default_factory=dict, kw_only=True)

    @classmethod
    def of(
        cls, engine: Engine, ids: IntArray, start: int = 0, message: str = "", *, continued: bool = False
    ) -> PromptPlace:
        """The place of a prompt (n,) int32, whose positions from `start` on are new."""
        return cls(len(ids), start, engine=engine, ids=ids, message=message, continued=continued)

    def find(self, text: str) -> Sequence[Span]:
        whole, ends = self._text
        found, at = [], whole.find(text)
        while at >= 0:
            first, last = np.searchsorted(ends, [at, at + len(text) - 1], side="right").tolist()
            found.append((self.start + first, min(self.start + last + 1, self.length)))
            at = whole.find(text, at + len(text))
        if not found and not self.continued:  # the message that may hold it was steered when it was answered
            raise UsageError(f"the prompt does not contain {shown(text)}, where the steering is to act")
        return found

    @cached_property
    def _text(self) -> tuple[str, IntArray]:
        """The text of the new positions, and where in it each of their tokens ends."""
        detokenizer, ids = Detokenizer(self.engine.decode), self.ids[self.start :]
        ends = np.cumsum([len(detokenizer.push(token)) for token in ids.tolist()], dtype=np.int32)
        return self.engine.decode(ids), ends

    def thoughts(self) -> Sequence[Span]:
        return self._thoughts

    @cached_property
    def _thoughts(self) -> tuple[Span, ...]:
        return thoughts(self.engine, self.ids)

    def score(self, watch: Watch) -> tuple[float, int]:
        """See `Place.score`: the message is run on its own, as the texts are that probes are calibrated on, and the
        first token, an attention sink, does not count. Without a message, the new part of the prompt is run."""
        key = watch.content
        if key not in self._scores:
            engine = self.engine
            ids = (
                encode(engine, self.message, limit=engine.info.context).ids if self.message else self.ids[self.start :]
            )
            row = Row(ids, spans=((min(1, len(ids) - 1), len(ids)),))
            check_rows(engine.info, [row], [watch.layer])
            mean = engine.forward([row], [watch.layer])[0].residuals[0, 0]  # (width,)
            self._scores[key] = (float(mean @ watch.vector), max(1, len(ids) - 1))
        return self._scores[key]
