"""The sceptic's question: what a vector does that a system prompt does not."""

from __future__ import annotations

from localprobe.report.steering_arms import BASELINE, Arms, End
from localprobe.report.steering_words import above, below, points
from localprobe.stats.estimates import Estimate


def beyond_prompts(arms: Arms) -> tuple[str, ...]:
    """What the vector does beyond a prompt; then, for both directions, the rates unsteered, under the system prompt,
    with the vector, and with both."""
    poles = {1: ("positive", f"towards {arms.concept}"), -1: ("negative", f"away from {arms.concept}")}
    directions = {way: words for way, words in poles.items() if arms.rate(("prompt", way))}
    if not directions:
        return ("System prompts were not measured: add the arm `system` (and `both`).",)
    more, lines = [], []
    for way, (pole, words) in directions.items():
        prompt: End = ("prompt", way)
        lead = arms.difference((way, ("vector", way)), (-way, prompt))
        gain = arms.difference((way, ("both", way)), (-way, prompt)) if arms.series("both", pole) else None
        plain, alone, both = arms.rate(BASELINE), arms.rate(("vector", way)), arms.rate(("both", way))
        sentence = f"{words.capitalize()}: unsteered {plain or 'unknown'}, {pole} system prompt {arms.rate(prompt)}"
        if not arms.usable(way):
            sentence += ", vector: no usable strength"
        elif lead is not None:
            comparison = _says(lead, "the vector goes further", "the prompt goes further", "no difference is shown")
            sentence += f", vector {alone}; {comparison} ({points(lead, way)})"
        if gain is not None and arms.usable(way):
            adds = _says(gain, "adds to the prompt", "takes from the prompt", "adds nothing measurable")
            sentence += f". Both together {both or 'unknown'}: the vector {adds} ({points(gain, way)})"
        lines.append(f"{sentence}.")
        more += [f"goes further {words}"] if above(lead) else []
        more += [f"adds to the prompt {words}"] if above(gain) else []
    does = f"The vector does more than a system prompt: it {'; it '.join(more)}."
    return (does if more else "Nothing is shown that a system prompt does not do as well.", *lines)


def _says(difference: Estimate, more: str, less: str, neither: str) -> str:
    return more if above(difference) else less if below(difference) else neither
