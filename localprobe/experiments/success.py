"""How often steering succeeded: by the paper's rule, and by one that a null effect does not pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from localprobe.experiments.curves import Curve, CurveCell
from localprobe.stats.rates import Rate, grouped_rate


@dataclass(frozen=True, slots=True)
class Success:
    """Counts over cells: the combinations of model, layer, scenario and alpha other than 0.

    The intervals treat all cells of a model and scenario as one group, because they are correlated. In the simulations
    of `dose_response` they cover in 92 to 99 %.
    """

    paper: Rate
    """Cells where (alpha > 0) == (effect > 0): the paper's success."""
    strict: Rate
    """Cells where effect * alpha > 0."""
    raised: Rate | None
    """Strict success where alpha > 0; None if there is no such cell."""
    lowered: Rate | None
    """Strict success where alpha < 0; None if there is no such cell."""
    null_effects: int
    """Successes by the paper's rule that are a negative alpha with no effect at all."""
    unchanged: int
    """Cells of either sign with no effect at all."""
    broken: int
    """Strict successes where half of the samples or more are incoherent or degenerate."""
    cells: int


def success(curves: Sequence[Curve]) -> Success:
    """Count the successes of at least one curve."""
    prompts: dict[tuple[str, str], list[CurveCell]] = {}
    for curve in curves:
        prompts.setdefault((curve.model, curve.scenario), []).extend(curve.cells)
    groups = list(prompts.values())
    cells = [cell for group in groups for cell in group]
    return Success(
        paper=_rate(groups, lambda cell: cell.success),
        strict=_rate(groups, lambda cell: cell.strict),
        raised=_one_way(groups, lambda cell: cell.alpha > 0),
        lowered=_one_way(groups, lambda cell: cell.alpha < 0),
        null_effects=sum(cell.null for cell in cells),
        unchanged=sum(cell.effect == 0 for cell in cells),
        broken=sum(cell.strict and cell.condition.broken for cell in cells),
        cells=len(cells),
    )


def _one_way(groups: Sequence[Sequence[CurveCell]], belongs: Callable[[CurveCell], bool]) -> Rate | None:
    steered = [list(filter(belongs, cells)) for cells in groups]
    return _rate(steered, lambda cell: cell.strict) if any(steered) else None


def _rate(groups: Sequence[Sequence[CurveCell]], succeeds: Callable[[CurveCell], bool]) -> Rate:
    return grouped_rate([(sum(map(succeeds, cells)), len(cells)) for cells in groups if cells])
