"""Outcomes with rates that are chosen, and texts with language that is chosen."""

from __future__ import annotations

from localprobe.experiments.outcomes import Outcome, Sample

CARING = "I stop at once and listen to her, because I care far more about how she is than about a clock on some wall."
BRISK = "I keep my objective in sight and walk on at once, because the task counts far more than a clock on some wall."


def outcomes_of(
    rates: dict[float, tuple[int, int]],
    *,
    model: str = "m",
    layer: int | None = 3,
    scenario: str = "s",
    coherent: bool = True,
    reasons: tuple[str, ...] = (),
) -> list[Outcome]:
    """k expressing outcomes of n at each alpha."""
    return [
        Outcome(model, layer, scenario, alpha, expresses=i < k, coherent=coherent, reasons=reasons)
        for alpha, (k, n) in rates.items()
        for i in range(n)
    ]


def samples_of(
    rates: dict[float, tuple[int, int]], *, model: str = "m", layer: int | None = 3, scenario: str = "s"
) -> list[Sample]:
    """k caring texts of n at each alpha, the others brisk."""
    return [
        Sample(model, layer, scenario, alpha, CARING if i < k else BRISK)
        for alpha, (k, n) in rates.items()
        for i in range(n)
    ]
