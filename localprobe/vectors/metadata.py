"""The metadata of a vector file as JSON: the same in safetensors, npz and our own GGUF files."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from localprobe.engine import FloatArray
from localprobe.errors import VectorError
from localprobe.vectors.vector import Direction, Origin, Vector, steering

FORMAT = 1
KEY = "localprobe"
"""Key under which a file holds the metadata."""
_TENSOR = "direction."


def tensors_of(vector: Vector) -> dict[str, FloatArray]:
    """`direction.<layer>` -> (width,) float32, in the order of layers."""
    return {
        f"{_TENSOR}{layer}": np.ascontiguousarray(vector.directions[layer].vector, dtype=np.float32)
        for layer in sorted(vector.directions)
    }


def text_of(vector: Vector) -> str:
    """All of a vector except its tensors, as ASCII JSON."""
    about = {
        "format": FORMAT,
        "concept": vector.concept,
        "best": vector.best,
        "origin": asdict(vector.origin),
        "directions": {
            str(b): {
                "norm": float(d.norm),
                "threshold": float(d.threshold),
                "scale": float(d.scale),
                "measures": {name: float(value) for name, value in d.measures.items()},
            }
            for b, d in sorted(vector.directions.items())
        },
    }
    return json.dumps(about)


def read(path: Path, text: str, tensors: Mapping[str, FloatArray]) -> Vector:
    """The vector of a file's metadata and tensors. VectorError, naming the path, if they are inconsistent."""
    try:
        about = json.loads(text)
        if about.get("format", 0) > FORMAT:
            raise VectorError(f"it was written by a newer localprobe (format {about['format']}): upgrade localprobe")
        return _vector(path, about, tensors)
    except VectorError as error:
        raise VectorError(f"{path}: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise VectorError(f"{path} has broken metadata: {error!r}") from error


def _vector(path: Path, about: dict[str, Any], tensors: Mapping[str, FloatArray]) -> Vector:
    described = {f"{_TENSOR}{layer}" for layer in about["directions"]}
    held = {name for name in tensors if name.startswith(_TENSOR)}
    if described != held:
        odd = ", ".join(sorted(described ^ held))
        raise VectorError(f"its metadata and its tensors do not agree about {odd}")
    details = {int(layer): each for layer, each in about["directions"].items()}
    vectors, notices = steering({layer: tensors[f"{_TENSOR}{layer}"] for layer in details})
    directions = {layer: _direction(vector, details[layer]) for layer, vector in vectors.items()}
    check_directions(directions)
    best = about["best"]
    if best is not None and best not in details:
        raise ValueError(f"best layer {best!r}")
    if best is not None and best not in directions:
        raise VectorError(f"the direction at layer {best}, which it names as the one to use, is zero")
    origin = {**about["origin"], "trained_on": tuple(about["origin"].get("trained_on", ()))}
    told = tuple(f"{path.name}: {notice}" for notice in notices)
    return Vector(str(about["concept"]), Origin(**origin), directions, best, told)


def _direction(vector: FloatArray, details: dict[str, Any]) -> Direction:
    numbers = {name: float(details[name]) for name in ("norm", "threshold", "scale")}
    for name, value in numbers.items():
        if not math.isfinite(value):
            raise ValueError(f"{name} {value}")
    measures = {str(name): float(value) for name, value in details["measures"].items()}
    return Direction(vector, **numbers, measures=measures)


def check_directions(directions: Mapping[int, Direction]) -> None:
    """VectorError unless there is at least one direction, and all have the same width."""
    if not directions:
        raise VectorError("it holds no direction")
    widths = sorted({len(direction.vector) for direction in directions.values()})
    if len(widths) > 1:
        raise VectorError(f"its directions have widths {', '.join(map(str, widths))}, so they are not of one model")
