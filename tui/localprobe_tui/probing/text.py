"""Try a text: its score token by token, at every layer of a probe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from typing import Any

import numpy as np
from textual import events, on, work
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.message import Message
from textual.widgets import TextArea

from localprobe.capture.residuals import encode, spans
from localprobe.chat_template import Exchange, Marked
from localprobe.engine import FloatArray, Row
from localprobe.errors import LocalprobeError
from localprobe.generation.detokenizer import Detokenizer
from localprobe.model import Model
from localprobe.vectors.vector import Vector
from localprobe_tui.engine.session import EngineSession
from localprobe_tui.widgets.plain import Static
from localprobe_tui.widgets.plots import gauge
from localprobe_tui.widgets.scores import ruled, strengths

_PAUSE = 0.4
"""Seconds without a key press until a text is scored."""


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """A text under a probe."""

    pieces: list[str]
    """The text of each token."""
    scores: FloatArray
    """(layers, tokens): dot products with the probe's directions."""
    span: tuple[int, int]
    """The tokens that the probe's pooling reads."""

    def mean(self, row: int) -> float:
        """The score of the whole text at a layer, as the probe's test texts are scored."""
        return float(self.scores[row, slice(*self.span)].mean())


def score(model: Model, vector: Vector, layers: Sequence[int], text: str) -> Scored:
    """Score a text at some layers of a probe. Blocks; raises UsageError for a text that is too long."""
    from localprobe.probing.texts import ANY_PROMPT  # imports the statistics, which the first frame does not need

    pooling = vector.origin.pooling
    read = Marked(text) if vector.origin.special_tokens else text
    encoded = encode(model.engine, Exchange(ANY_PROMPT, text) if pooling == "answer" else read)
    residuals = model.engine.forward([Row(encoded.ids)], layers)[0].residuals  # (layers, n, width)
    directions = np.stack([vector.directions[layer].vector for layer in layers])
    start = encoded.answer or 0
    scores = np.einsum("lnw,lw->ln", residuals[:, start:], directions)
    detokenizer = Detokenizer(model.engine.decode)
    pieces = [detokenizer.push(int(token)) for token in encoded.ids[start:]]
    pieces[-1] += detokenizer.flush()
    ((first, last),) = spans(pooling, len(encoded.ids), encoded.answer) or ((start, len(encoded.ids)),)
    return Scored(pieces, scores.astype(np.float32), (first - start, last - start))


class TryText(Vertical):
    """A box to type or paste a text into, and the probe's scores of it."""

    DEFAULT_CSS = """
    TryText {
        border-top: solid $primary 60%; border-title-color: $foreground;
        & > TextArea { height: 5; border: none; padding: 0 1; background: $boost; scrollbar-size-vertical: 1; }
        & > TextArea:focus { border: none; background: $boost; background-tint: $foreground 6%; }
        & > #reading { height: auto; padding: 0 1; text-style: bold; }
        & > VerticalScroll { height: 1fr; padding: 0 1; scrollbar-size-vertical: 1; scrollbar-gutter: stable; }
    }
    """

    @dataclass
    class Failed(Message):
        """A text could not be scored."""

        error: LocalprobeError

    def __init__(self, **about: Any) -> None:
        super().__init__(**about)
        self.border_title = "Try a text"
        self._session: EngineSession | None = None
        self._vector: Vector | None = None
        self._layers: list[int] = []
        self._layer = 0
        self._scored: Scored | None = None

    def compose(self) -> ComposeResult:
        yield TextArea(placeholder="Type or paste a text: its score follows token by token.", tab_behavior="focus")
        yield Static(id="reading")
        with VerticalScroll(can_focus=False):
            yield Static(id="tokens")

    def use(self, session: EngineSession, vector: Vector, layer: int) -> None:
        """Score with another probe."""
        self._session, self._vector = session, vector
        self._layers = sorted(vector.directions)
        self._layer, self._scored = layer, None
        self._score()

    def show_layer(self, layer: int) -> None:
        """Show the scores at another layer."""
        self._layer = layer
        self._show()

    @on(TextArea.Changed)
    def _score(self) -> None:
        text = self.query_one(TextArea).text
        if self._vector is None or not text.strip():
            self._scored = None
            self._show()
            return
        self._run(text)

    @work(exclusive=True, group="score")
    async def _run(self, text: str) -> None:
        from asyncio import sleep

        await sleep(_PAUSE)
        session, vector = self._session, self._vector
        if session is None or vector is None or session.model is None:
            return
        if session.busy:
            self.query_one("#reading", Static).update(f"The model is busy {session.busy}: type again afterwards.")
            return
        try:
            self._scored = await session.call(score, session.model, vector, self._layers, text)
        except LocalprobeError as error:
            self.post_message(self.Failed(error))
            return
        self._show()

    def on_resize(self, event: events.Resize) -> None:
        self._show()

    def _show(self) -> None:
        reading, tokens = self.query_one("#reading", Static), self.query_one("#tokens", Static)
        if self._scored is None or self._vector is None:
            reading.update("")
            tokens.update("")
            return
        row = self._layers.index(self._layer)
        direction = self._vector.directions[self._layer]
        mean = self._scored.mean(row)
        position = (mean - direction.threshold) / (direction.norm or 1.0) + 0.5
        pole = "high" if mean > direction.threshold else "low"
        width = max(8, self.size.width - 3)
        reading.update(f"Reads as {pole}: {mean:+.3g}\nlow {gauge(position, width - 10)} high")
        first, last = self._scored.span
        scores = [float(s) if first <= i < last else nan for i, s in enumerate(self._scored.scores[row])]
        tokens.update(
            ruled(self._scored.pieces, strengths(scores, threshold=direction.threshold, norm=direction.norm), width)
        )
