"""Sample texts at each strength of every series."""

from __future__ import annotations

from collections.abc import Iterator

from localprobe.experiments.points import Measures, SampleText
from localprobe.experiments.result import ModelResult, Series
from localprobe.report.section import AnswerSample
from localprobe.report.steering_arms import Arms

_PROMPTS = {"vector": 3}
"""Prompts with sample texts; 1 for other arms. They are the same at every strength, for comparison."""


def samples(arms: Arms) -> tuple[AnswerSample, ...]:
    """One text of each strength, prompt after prompt, at the layer whose strict success is highest; then those of other
    arms, of ablations, and of the system prompts alone."""
    own = (sample for series in arms.all_series for sample in _of(arms, series))
    return (*own, *_ablated(arms), *_system(arms))


def expression_samples(model: ModelResult, concept: str) -> tuple[AnswerSample, ...]:
    """One text of each expression, on its first prompt."""
    return tuple(
        sample
        for each in model.expressed
        for sample in _sample(concept, each.points[0].steered, f"{each.points[0].title} · {each.expression}")
    )


def _of(arms: Arms, series: Series) -> Iterator[AnswerSample]:
    layer = _layer(arms, series)
    words = {"random": "a random direction", "both": f"with the {series.pole} system prompt"}
    curves = [curve for curve in series.at(layer) if curve.key in arms.main]
    for curve in curves[: _PROMPTS.get(series.arm, 1)]:
        for point in curve.points:
            if not point.alpha and series.arm != "vector":
                continue  # the vector's series shows the unsteered text, and system prompts come at the end
            strength = f"dose {point.dose:+.2f} (alpha {point.alpha:+.3g})" if point.alpha else "unsteered"
            parts = (arms.titles[curve.key], f"layer {layer}", strength, words.get(series.arm, ""))
            yield from _sample(arms.concept, point, " · ".join(filter(None, parts)))


def _ablated(arms: Arms) -> Iterator[AnswerSample]:
    """One text of each share, on the first prompt at the first layer."""
    words = {"ablate": "", "random-ablate": "a random direction"}
    for arm, whose in words.items():
        series = arms.ablation(arm)
        curves = [curve for curve in series.curves if curve.key in arms.main] if series else []
        for point in curves[0].points[1:] if curves else ():
            where = f"direction of layer {curves[0].layer} ablated, share {point.share:g}"
            under = " · ".join(filter(None, (arms.titles[curves[0].key], where, whose)))
            yield from _sample(arms.concept, point, under)


def _layer(arms: Arms, series: Series) -> int:
    """The layer of the vector's own series, if this series has it too."""
    own = arms.series("vector") or series
    numbers = {at.layer for at in series.layers}
    shared = [at for at in own.layers if at.layer in numbers] or series.layers
    return max(shared, key=lambda at: at.success.strict.share).layer


def _system(arms: Arms) -> Iterator[AnswerSample]:
    for pole in ("negative", "positive"):
        for key, prompt in arms.prompts.items():
            if point := prompt.under(pole):
                yield from _sample(arms.concept, point, f"{arms.titles[key]} · {pole} system prompt, no vector")
                break


def _sample(concept: str, point: Measures, under: str) -> Iterator[AnswerSample]:
    for text in point.texts[:1]:
        yield AnswerSample(under, text.text, _remark(concept, text))


def _remark(concept: str, text: SampleText) -> str:
    language = f"{concept} language" if text.expresses else ""
    if not text.reasons:
        return " · ".join(filter(None, (language, "" if text.coherent else "incoherent by the paper's rule")))
    fooled = ", though coherent by the paper's rule" if text.coherent else ""
    return " · ".join(filter(None, (language, f"degenerate: {', '.join(text.reasons)}{fooled}")))
