"""The doses at which a stored sweep's answers stayed usable."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from localprobe.errors import LocalprobeError

if TYPE_CHECKING:
    from localprobe.experiments.result import ModelResult, SweepResult, VectorFacts
    from localprobe.model import Model
    from localprobe.vectors.vector import Vector
    from localprobe_tui.talk.controller import ChatController


async def look_up(talk: ChatController) -> None:
    """Look up the doses that stored sweeps found usable for the knobs of a chat. A thread reads the store."""
    results = await asyncio.to_thread(_sweeps)
    if talk.model is not None:
        for knob in talk.knobs:
            knob.swept = swept(results, knob.vector, talk.model)
    talk.changed()


def swept(sweeps: Iterable[SweepResult], vector: Vector, model: Model) -> dict[int, tuple[float, float]]:
    """Layer -> (lowest, highest) dose that keeps answers usable, from the first sweep of this vector on this model."""
    usable: dict[int, tuple[float, float]] = {}
    for sweep in sweeps:
        for part in sweep.models:
            if part.model == model.info.model:
                usable = {**_ranges(part, vector, model), **usable}
    return usable


def _sweeps() -> list[SweepResult]:
    """The results of all stored sweeps, the newest first, without those that cannot be read."""
    from localprobe.experiments.result import SweepResult
    from localprobe.store.json_values import from_json
    from localprobe.store.runs import Runs

    sweeps = []
    with suppress(LocalprobeError):
        for run in Runs().all("sweep"):
            with suppress(LocalprobeError):
                sweeps.append(from_json(SweepResult, run.result))
    return sweeps


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
    """Whether a sweep's vector seems to be this one, by concept, model and method."""
    return (facts.concept, facts.origin.model, facts.origin.method) == (
        vector.concept,
        vector.origin.model,
        vector.origin.method,
    )
