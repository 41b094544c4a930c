"""The result of a logit lens, with views for notebooks, pages and programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from localprobe.engine import FloatArray, IntArray
from localprobe.lens.page import Cell, TokenRow, page, table
from localprobe.lens.tokens import shown
from localprobe.steering.tint import strengths
from localprobe.terminal_text import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, slots=True, eq=False)
class TokenScores:
    """A probe's scores along a text."""

    concept: str
    layer: int
    values: FloatArray
    """(n,) float32: projection of each token's own residual at `layer`, in residual units."""
    midpoint: float
    """The score halfway between the poles, or above which a feature is active; 0 if unknown."""
    reach: float
    """Distance from `midpoint` of a clearly positive or negative token; 0 if unknown."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Lens:
    """The most likely next tokens after every layer and token of a text. A notebook shows it as a table."""

    model: str
    engine: str
    ids: IntArray
    """(n,) int32: the text's tokens, a first BOS included."""
    tokens: tuple[str, ...]
    """Their texts, spaces included; special tokens by name."""
    layers: tuple[int, ...]
    top: IntArray
    """(layers, n, k) int32: the k most likely tokens after each token, the most likely first."""
    logprobs: FloatArray
    """(layers, n, k) float32: their log-probabilities, natural log, temperature 1."""
    following: FloatArray
    """(layers, n) float32: log-probability of the token that follows in the text; NaN for the last one."""
    texts: dict[int, str]
    """Text of every id in `top`."""
    scores: TokenScores | None = None
    cut: bool = False
    """Whether the text was longer than the limit."""

    def to_frame(self) -> Any:
        """A pandas DataFrame of one row per layer, position and rank (from 1), with the token's `score` if there is a
        probe."""
        import pandas as pd

        layers, positions, ranks = np.indices(self.top.shape)
        columns = {
            "layer": np.array(self.layers)[layers.ravel()],
            "position": positions.ravel(),
            "token": [self.tokens[i] for i in positions.ravel()],
            "rank": ranks.ravel() + 1,
            "id": self.top.ravel(),
            "next": [self.texts[int(i)] for i in self.top.ravel()],
            "logprob": self.logprobs.ravel(),
        }
        if self.scores is not None:
            columns["score"] = self.scores.values[positions.ravel()]
        return pd.DataFrame(columns)

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON values: one entry per token, in it one per layer."""
        return {
            "model": self.model,
            "engine": self.engine,
            "cut": self.cut,
            "layers": list(self.layers),
            "tokens": [self._token(i) for i in range(len(self.ids))],
            **({} if self.scores is None else {"probe": {"concept": self.scores.concept, "layer": self.scores.layer}}),
        }

    def _token(self, i: int) -> dict[str, Any]:
        last = i == len(self.ids) - 1
        rows = [
            {
                "layer": layer,
                "following": None if last else float(self.following[at, i]),
                "next": [
                    {"id": int(token), "text": self.texts[int(token)], "logprob": float(value)}
                    for token, value in zip(self.top[at, i], self.logprobs[at, i], strict=True)
                ],
            }
            for at, layer in enumerate(self.layers)
        ]
        score = {} if self.scores is None else {"score": float(self.scores.values[i])}
        return {"id": int(self.ids[i]), "text": self.tokens[i], **score, "lens": rows}

    def plot(self, axis: Axes | None = None) -> Axes:
        """Draw the probability of the most likely token after each token (across) and layer (up); returns Axes."""
        from localprobe.figures.lens import draw

        if axis is None:
            from matplotlib import pyplot as plt

            axis = plt.subplots(figsize=(max(4.0, 0.75 * len(self.ids)), 0.28 * len(self.layers) + 1.2))[1]
        best = [[shown(self.texts[int(token)]) for token in row] for row in self.top[:, :, 0]]
        draw(axis, [shown(token) for token in self.tokens], self.layers, np.exp(self.logprobs[:, :, 0]), best)
        return axis

    def __repr__(self) -> str:
        probe = "" if self.scores is None else f", scored by {self.scores.concept!r} at layer {self.scores.layer}"
        return f"<Lens of {self.model}: {len(self.ids)} tokens, {len(self.layers)} layers{probe}>"

    def _repr_html_(self) -> str:
        return table(self._columns, self._rows())

    def page(self) -> str:
        """A page of HTML that needs no network: each cell is the most likely next token, and lists the others when
        pointed at; the text's own tokens are tinted by the probe's scores."""
        return page(f"Logit lens of {one_line(self.model)}", self._legend, self._columns, self._rows())

    @property
    def _columns(self) -> list[str]:
        return ["token", *([] if self.scores is None else [one_line(self.scores.concept)]), *map(str, self.layers)]

    @property
    def _legend(self) -> str:
        words = (
            f"On {self.engine}. Down: the text's tokens. Across: the most likely next token if the model ended after "
            "that layer (its residual through the final norm and the head); the darker, the more likely; point at a "
            "cell for the others."
        )
        if self.scores is not None:
            words += (
                f" {one_line(self.scores.concept)}: projection of the token's residual at layer {self.scores.layer} "
                "on the probe."
            )
        return words + (f" The text was cut to {len(self.ids)} tokens." if self.cut else "")

    def _rows(self) -> list[TokenRow]:
        values = [None] * len(self.ids) if self.scores is None else self.scores.values.tolist()
        return [
            TokenRow(shown(token), tint, score, tuple(self._cell(at, i) for at in range(len(self.layers))))
            for i, (token, tint, score) in enumerate(zip(self.tokens, self._tints(), values, strict=True))
        ]

    def _tints(self) -> list[float]:
        if self.scores is None:
            return [0.0] * len(self.ids)
        # The first token, an attention sink, scores far from all others and would leave them without a tint.
        return [0.0, *strengths(self.scores.values[1:].tolist(), self.scores.midpoint, self.scores.reach)]

    def _cell(self, at: int, i: int) -> Cell:
        probabilities = np.exp(self.logprobs[at, i]).tolist()
        names = [shown(self.texts[int(token)]) for token in self.top[at, i]]
        listed = [f"{p:.1%} {name}" for p, name in zip(probabilities, names, strict=True)]
        title = "\n".join([f"layer {self.layers[at]} after {shown(self.tokens[i])}", *listed])
        return Cell(names[0], probabilities[0], title)
