"""What was written at each strength: a few texts of every series."""

from __future__ import annotations

from collections.abc import Iterator

from localprobe.experiments.result import Point, SampleText, Series
from localprobe.report.section import AnswerSample
from localprobe.report.steering_arms import Arms

_PROMPTS = {"vector": 3}
"""Prompts that texts are shown of; 1 for other arms. Always the same ones, so that strengths can be compared."""


def samples(arms: Arms) -> tuple[AnswerSample, ...]:
    """One text of each strength, prompt after prompt, at the layer whose strict success is highest; then those of other
    arms, and of the system prompts alone."""
    return (*(sample for series in arms.all_series for sample in _of(arms, series)), *_system(arms))


def _of(arms: Arms, series: Series) -> Iterator[AnswerSample]:
    layer = _layer(arms, series)
    words = {"random": "a random direction", "both": f"with the {series.pole} system prompt"}
    curves = [curve for curve in series.at(layer) if curve.key in arms.main]
    for curve in curves[: _PROMPTS.get(series.arm, 1)]:
        for point in curve.points:
            if not point.alpha and series.arm != "vector":
                continue  # the unsteered one is the vector's, that of a system prompt comes at the end
            strength = f"dose {point.dose:+.2f} (alpha {point.alpha:+.3g})" if point.alpha else "unsteered"
            parts = (arms.titles[curve.key], f"layer {layer}", strength, words.get(series.arm, ""))
            yield from _sample(arms, point, " · ".join(filter(None, parts)))


def _layer(arms: Arms, series: Series) -> int:
    """That of the vector's own series, where it is in this one too."""
    own = arms.series("vector") or series
    there = {at.layer for at in series.layers}
    layers = [at for at in own.layers if at.layer in there] or series.layers
    return max(layers, key=lambda at: at.success.strict.share).layer


def _system(arms: Arms) -> Iterator[AnswerSample]:
    for pole in ("negative", "positive"):
        for key, prompt in arms.prompts.items():
            if point := prompt.under(pole):
                yield from _sample(arms, point, f"{arms.titles[key]} · {pole} system prompt, no vector")
                break


def _sample(arms: Arms, point: Point, under: str) -> Iterator[AnswerSample]:
    for text in point.texts[:1]:
        yield AnswerSample(under, text.text, _remark(arms, text))


def _remark(arms: Arms, text: SampleText) -> str:
    language = f"{arms.concept} language" if text.expresses else ""
    if not text.reasons:
        return " · ".join(filter(None, (language, "" if text.coherent else "incoherent by the paper's rule")))
    fooled = ", though coherent by the paper's rule" if text.coherent else ""
    return " · ".join(filter(None, (language, f"degenerate: {', '.join(text.reasons)}{fooled}")))
