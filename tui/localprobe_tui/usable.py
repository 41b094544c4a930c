"""The doses that a stored sweep found usable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from localprobe.errors import LocalprobeError

if TYPE_CHECKING:
    from localprobe.model import Model
    from localprobe.store.runs import Runs
    from localprobe.vectors.vector import Vector


def swept(runs: Runs, vector: Vector, model: Model) -> dict[int, tuple[float, float]]:
    """Layer -> (lowest, highest) dose that keeps answers usable, from the newest sweep of this vector on this model.

    Empty without one, and if the store cannot be read.
    """
    found: dict[int, tuple[float, float]] = {}
    try:
        every = runs.all("sweep")
    except LocalprobeError:
        return found
    for run in every:
        for each in run.result.get("models", ()):
            if each["model"] == model.info.model:
                for layer, limits in _ranges(each, vector, model).items():
                    found.setdefault(layer, limits)
    return found


def _ranges(result: dict[str, Any], vector: Vector, model: Model) -> dict[int, tuple[float, float]]:
    """Of one model's part of a sweep's result (`localprobe.experiments.result`)."""
    names = {each["name"] for each in result["vectors"] if _same(each, vector)}
    found = {}
    for series in result["series"]:
        if series["vector"] not in names or series["arm"] != "vector":
            continue
        for at in series["layers"]:
            layer = at["layer"]
            if at["response"] is None or layer not in vector.directions:
                continue
            low, high = at["response"]["usable"] or (0.0, 0.0)
            if result.get("unit", "dose") == "alpha":
                direction, scale = vector.directions[layer], float(model.scale[layer])
                low, high = direction.dose(low, scale), direction.dose(high, scale)
            found[layer] = (low, high)
    return found


def _same(stored: dict[str, Any], vector: Vector) -> bool:
    """Whether a sweep's vector is this one, as far as its result tells: concept, model and method."""
    origin, own = stored.get("origin") or {}, vector.origin
    return (stored["concept"], origin.get("model"), origin.get("method")) == (vector.concept, own.model, own.method)
