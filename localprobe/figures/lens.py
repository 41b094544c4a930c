"""The logit lens as a heat map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from localprobe.engine import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WRITTEN = 24
"""The most tokens across whose cells have room for text."""


def draw(
    axis: Axes, tokens: Sequence[str], layers: Sequence[int], probabilities: FloatArray, best: Sequence[Sequence[str]]
) -> None:
    """Probabilities (layers, n) of the most likely token after each of `tokens`, the first layer at the bottom; `best`
    names it in its cell."""
    image = axis.imshow(probabilities, origin="lower", aspect="auto", cmap="Blues", vmin=0, vmax=1)
    axis.set_xticks(range(len(tokens)), tokens, rotation=90, parse_math=False)
    axis.set_yticks(range(len(layers)), [str(layer) for layer in layers])
    axis.set_xlabel("token")
    axis.set_ylabel("layer")
    axis.figure.colorbar(image, ax=axis, label="probability of the most likely next token")
    if len(tokens) > _WRITTEN:
        return
    for row, names in enumerate(best):
        for column, name in enumerate(names):
            colour = "white" if probabilities[row, column] > 0.5 else "black"
            axis.text(column, row, name[:9], ha="center", va="center", color=colour, size=6, parse_math=False)
