"""The cost of a vector, and success by the paper's rule and by the strict one, as sentences."""

from __future__ import annotations

from collections.abc import Iterator

from localprobe.experiments.findings import on_success
from localprobe.experiments.pooling import average, perplexity_ratio, pooled
from localprobe.experiments.result import Series
from localprobe.report.steering_arms import BASELINE, DOWN, UP, Arms, steered
from localprobe.report.steering_resistance import resistance

FLUENT = 2.0
"""The unsteered model would hardly write an answer of this perplexity ratio."""


def cost(arms: Arms, own: Series) -> Iterator[str]:
    """Degeneration, perplexity and KL, in the usable range and over all strengths."""
    at, plain = [*arms.points(UP), *arms.points(DOWN)], arms.points(BASELINE)
    if at and plain and (arms.usable(1) or arms.usable(-1)):
        yield (
            f"At the ends of the usable range {pooled(at, 'degenerate')} of the answers are degenerate "
            f"(unsteered: {pooled(plain, 'degenerate').share:.0%}), and {pooled(at, 'coherent').share:.0%} coherent by "
            f"the paper's rule (unsteered: {pooled(plain, 'coherent').share:.0%})."
        )
    everywhere = list(steered(own))
    random = arms.series("random")
    beside = f"; with random directions of the same dose {pooled(steered(random), 'degenerate')}" if random else ""
    yield f"Over all strengths {pooled(everywhere, 'degenerate')} of the answers are degenerate{beside}."
    for end, words in ((UP, "largest usable strength up"), (DOWN, "largest usable strength down")):
        ratio, kl = perplexity_ratio(arms.points(end)), average(arms.points(end), "kl")
        if ratio is not None and arms.usable(end[1]):
            less = "" if ratio < FLUENT else ", so the model would hardly have written them"
            moved = "" if kl is None else f" The first token's distribution moves by {kl:.2f} nats (KL)."
            yield (
                f"At the {words}, answers are {ratio:.1f} times as perplexing to the unsteered model as its own{less}."
                f"{moved}"
            )
    if fooled := sum(point.fooled for _, point in everywhere):
        degenerate = sum(point.degenerate.count for _, point in everywhere)
        yield f"The paper's rule is fooled: it calls {fooled} of the {degenerate} degenerate answers coherent."
    if not any(point.perplexity_ratio for _, point in everywhere):
        yield "Perplexity and KL were not measured."


def rules(arms: Arms, own: Series) -> Iterator[str]:
    """Success by the paper's rule and by the strict one, and why they differ."""
    yield from on_success(own.success)
    if random := arms.series("random"):
        yield (
            f"Random directions of the same dose reach {random.success.paper} by the paper's rule and "
            f"{random.success.strict} strictly."
        )
    yield from _room(arms)
    for prompt in arms.titles:
        seeming = resistance(own, prompt)
        if seeming and seeming.seems_to and not seeming.resists:
            room = f"{seeming.own} against {seeming.others or 'unknown'}" if seeming.own else "there was none"
            yield (
                f"{arms.titles[prompt]!r} is not shown to resist (the paper's Figure 8): by the paper's rule it has "
                f"{seeming.paper:.0%} against {seeming.others_paper:.0%} for the others, but strictly, where there was "
                f"room to move, {room}."
            )


def _room(arms: Arms) -> Iterator[str]:
    """Prompts that start at an end of the scale, where one direction can have no effect."""
    rates = {key: prompt.baseline.rate.share for key, prompt in arms.prompts.items() if prompt.baseline}
    if full := [arms.titles[prompt] for prompt, rate in rates.items() if rate == 1]:
        yield (
            f"{'; '.join(full)}: every unsteered answer has the language already (baseline 1.0), so by the paper's "
            "rule each scores exactly the share of negative strengths, 50 % of a symmetric grid, whatever the model "
            "does."
        )
    if none := [arms.titles[prompt] for prompt, rate in rates.items() if rate == 0]:
        yield (
            f"{'; '.join(none)}: no unsteered answer has the language (baseline 0.0), so every negative strength "
            "counts as a success by the paper's rule, and none can be one strictly."
        )
