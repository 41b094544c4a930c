"""What a run records of vectors and steering expressions on a model, for its result."""

from __future__ import annotations

from typing import Any

from localprobe.experiments.grid import Grid


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
        }
        for item in grid.expressions
    ]
