"""What a run records of vectors and steering expressions on a model, for its result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from localprobe.errors import UsageError
from localprobe.experiments.grid import Grid

_SAME = 1e-2
"""Two machines calibrate or measure the same threshold to about this share of it."""


def vector_facts(grid: Grid) -> list[dict[str, Any]]:
    """Facts about each vector and the layers that it steers."""
    return [
        {
            "name": item.name,
            "identity": item.identity,
            "concept": item.vector.concept,
            "origin": {"model": item.vector.origin.model, "method": item.vector.origin.method},
            "best": item.vector.best,
            "layers": [
                {"layer": layer, "above": grid.above(layer), **item.vector.directions[layer].measures}
                for layer in grid.layers(item)
            ],
        }
        for item in grid.vectors
    ]


def expression_facts(grid: Grid) -> list[dict[str, Any]]:
    """Facts about each steering expression, and where its answers are read."""
    return [
        {
            "text": item.text,
            "operator": item.operator,
            "vector": item.vector,
            "layer": item.layer,
            "above": grid.above(item.layer),
            "identities": dict(item.identities),
            "thresholds": item.thresholds,
        }
        for item in grid.expressions
    ]


def check_thresholds(before: Mapping[str, Any], now: Mapping[str, Any], run: str) -> None:
    """UsageError if a vector was calibrated anew since a run began: an expression is named by its words, `fpr 0.01`, so
    the run would mix answers under two thresholds."""
    old = {each["text"]: each["thresholds"] for each in before.get("expressions", ())}
    for each in now.get("expressions", ()):
        text, bounds = each["text"], each["thresholds"]
        if text in old and not (len(old[text]) == len(bounds) and np.allclose(old[text], bounds, rtol=_SAME)):
            raise UsageError(
                f"the thresholds of {text!r} have changed since the sweep began, from {_listed(old[text])} to "
                f"{_listed(bounds)}: begin it again after `localprobe runs delete {run}`"
            )


def _listed(numbers: list[float]) -> str:
    return ", ".join(f"{number:.4g}" for number in numbers)
