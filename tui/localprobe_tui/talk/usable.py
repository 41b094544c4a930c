"""The doses at which a stored sweep's answers stayed usable."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localprobe.errors import LocalprobeError

if TYPE_CHECKING:
    from localprobe.experiments.result import ModelResult, VectorFacts
    from localprobe.model import Model
    from localprobe.store.runs import Runs
    from localprobe.vectors.vector import Vector


def swept(runs: Runs, vector: Vector, model: Model) -> dict[int, tuple[float, float]]:
    """Layer -> (lowest, highest) dose that keeps answers usable, from the newest sweep of this vector on this model.

    Empty without one, and if the store cannot be read.
    """
    from localprobe.experiments.result import SweepResult
    from localprobe.store.json_values import from_json

    usable: dict[int, tuple[float, float]] = {}
    try:
        results = [from_json(SweepResult, run.result) for run in runs.all("sweep")]
    except LocalprobeError:
        return usable
    for result in results:
        for part in result.models:
            if part.model == model.info.model:
                usable = {**_ranges(part, vector, model), **usable}
    return usable


def _ranges(result: ModelResult, vector: Vector, model: Model) -> dict[int, tuple[float, float]]:
    names = {facts.name for facts in result.vectors if _same(facts, vector)}
    ranges = {}
    for series in result.series:
        for at in series.layers if series.vector in names and series.arm == "vector" else ():
            if at.layer in vector.directions:
                low, high = at.response.usable or (0.0, 0.0)
                if result.unit == "alpha":
                    direction, scale = vector.directions[at.layer], float(model.scale[at.layer])
                    low, high = direction.dose(low, scale), direction.dose(high, scale)
                ranges[at.layer] = (low, high)
    return ranges


def _same(facts: VectorFacts, vector: Vector) -> bool:
    """Whether a sweep's vector is this one, as far as its result tells: concept, model and method."""
    return (facts.concept, facts.origin.model, facts.origin.method) == (
        vector.concept,
        vector.origin.model,
        vector.origin.method,
    )
