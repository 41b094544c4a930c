"""The tint of tokens: scores as strengths of colour, and text as HTML for notebooks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

HIGH, LOW = "#d9822b", "#3f8fd2"
"""Orange for scores above the midpoint, blue below it: distinct for any colour vision, on dark and on light."""
REACH = 3.0
"""Full tint, in distances between the means of the poles' texts: 1.3 standard deviations of the tokens of such texts
(SmolLM2-135M, empathy: one is 1.7 to 2.9 such distances at layers 10 to 29). Tokens scatter far more than means."""
SPREAD = 3.0
"""By how many times more the tokens of a generated answer scatter."""
OPACITY = 0.5
"""Opacity of the strongest tint: text in the page's own colour stays readable, on white and on black."""


def strengths(scores: Sequence[float], midpoint: float = 0.0, reach: float = 0.0) -> list[float]:
    """Scores on a scale from -1 to 1: 0 at `midpoint` and where a score is NaN, full at `reach` from it.

    A `reach` of 0 takes the largest distance among these scores.
    """
    distances = [0.0 if math.isnan(score) else score - midpoint for score in scores]
    reach = reach or max(map(abs, distances), default=0.0) or 1.0
    return [max(-1.0, min(1.0, distance / reach)) for distance in distances]


def html(pieces: Sequence[str], scores: Sequence[float], midpoint: float, reach: float, foot: str) -> str:
    """Pieces of text, each in a span tinted by its score, which is the span's title; a line of small print below."""
    spans = [
        _span(piece, score, strength)
        for piece, score, strength in zip(pieces, scores, strengths(scores, midpoint, reach), strict=True)
    ]
    return (
        f'<div style="white-space: pre-wrap">{"".join(spans)}</div>'
        f'<div style="font-size: smaller; opacity: 0.7">{escape(foot)}</div>'
    )


def _span(piece: str, score: float, strength: float) -> str:
    if math.isnan(score):
        return f"<span>{escape(piece)}</span>"
    colour = f"{HIGH if strength > 0 else LOW}{round(255 * OPACITY * abs(strength)):02x}"
    return f'<span style="background-color: {colour}" title="score {score:+.2f}">{escape(piece)}</span>'
