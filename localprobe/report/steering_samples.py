"""What was written at each strength: a few texts of every series."""

from __future__ import annotations

from collections.abc import Iterator

from localprobe.report.section import Sample
from localprobe.report.steering_arms import Arms, Result

_PROMPTS = {"vector": 3}
"""Prompts that texts are shown of; 1 for other arms. Always the same ones, so that strengths can be compared."""


def samples(arms: Arms) -> tuple[Sample, ...]:
    """One text of each strength, prompt after prompt, at the layer whose strict success is highest; then those of other
    arms, and of the system prompts alone."""
    found = [each for series in arms.all_series for each in _of(arms, series)]
    return (*found, *_system(arms))


def _of(arms: Arms, series: Result) -> Iterator[Sample]:
    if not series["curves"]:
        return
    layer = _layer(arms, series)
    asked = [(curve, (curve["scenario"], curve["pressure"])) for curve in series["curves"] if curve["layer"] == layer]
    curves = [curve for curve, prompt in asked if prompt in arms.main]
    for curve in curves[: _PROMPTS.get(series["arm"], 1)]:
        for point in curve["points"]:
            if not point["alpha"] and series["arm"] != "vector":
                continue  # the unsteered one is the vector's, that of a system prompt comes at the end
            strength = f"dose {point['dose']:+.2f} (alpha {point['alpha']:+.3g})" if point["alpha"] else "unsteered"
            words = {"random": "a random direction", "both": f"with the {series['pole']} system prompt"}
            parts = (
                arms.titles[curve["scenario"], curve["pressure"]],
                f"layer {layer}",
                strength,
                words.get(series["arm"], ""),
            )
            yield from _sample(arms, point, " · ".join(filter(None, parts)))


def _layer(arms: Arms, series: Result) -> int:
    """That of the vector's own series, where it is in this one too."""
    own = arms.series("vector") or series
    layers = {each["layer"] for each in series["layers"]}
    known = [each for each in own["layers"] if each["layer"] in layers] or series["layers"]
    return int(max(known, key=lambda each: float(each["success"]["strict"]["share"]))["layer"])


def _system(arms: Arms) -> Iterator[Sample]:
    for pole in ("negative", "positive"):
        for each in arms.model["prompts"]:
            if each[pole]:
                title = arms.titles[each["scenario"], each["pressure"]]
                yield from _sample(arms, each[pole], f"{title} · {pole} system prompt, no vector")
                break


def _sample(arms: Arms, point: Result, under: str) -> Iterator[Sample]:
    for text in point["texts"][:1]:
        yield Sample(under, text["text"], _remark(arms, text))


def _remark(arms: Arms, text: Result) -> str:
    language = f"{arms.concept} language" if text["expresses"] else ""
    if not text["reasons"]:
        return " · ".join(filter(None, (language, "" if text["coherent"] else "incoherent by the paper's rule")))
    fooled = ", though coherent by the paper's rule" if text["coherent"] else ""
    return " · ".join(filter(None, (language, f"degenerate: {', '.join(text['reasons'])}{fooled}")))
