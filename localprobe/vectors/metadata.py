"""The metadata of a vector file as JSON: the same in safetensors, npz and our own GGUF files."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from localprobe.engine import FloatArray
from localprobe.errors import DataError, VectorError
from localprobe.store.safe_json import parse
from localprobe.suggest import one_line, shown
from localprobe.vectors.calibrated import Calibration
from localprobe.vectors.vector import Direction, Origin, Vector, checked, steering

FORMAT = 2
"""The newest format. A vector without probes is written as format 1, byte for byte as ever."""
KEY = "localprobe"
"""Key under which a file holds the metadata."""
CALIBRATIONS = "calibrations"
"""Key of a direction's calibrations, which only calibrated ones have."""
LARGEST = 1 << 25
"""The most numbers in all directions of a file: 126 layers of width 16,384 are 2 million."""
_TENSOR, _PROBE = "direction.", "probe."


def is_tensor(name: str) -> bool:
    """Whether a tensor of a file is one of its directions or probes."""
    return name.startswith((_TENSOR, _PROBE))


def tensors_of(vector: Vector) -> dict[str, FloatArray]:
    """`direction.<layer>` -> (width,) float32, in the order of layers; then `probe.<layer>` where there is one."""
    directions = sorted(vector.directions.items())
    tensors = {f"{_TENSOR}{layer}": direction.vector for layer, direction in directions}
    tensors |= {f"{_PROBE}{layer}": direction.probe for layer, direction in directions if direction.probe is not None}
    return {name: np.ascontiguousarray(tensor, dtype=np.float32) for name, tensor in tensors.items()}


def text_of(vector: Vector) -> str:
    """All of a vector except its tensors, as ASCII JSON."""
    from localprobe.store.json_values import to_json

    probes = any(direction.probe is not None for direction in vector.directions.values())
    about = {
        "format": FORMAT if probes else 1,
        "concept": vector.concept,
        "best": vector.best,
        "origin": asdict(vector.origin),
        "directions": {
            str(b): {
                "norm": float(d.norm),
                "threshold": float(d.threshold),
                "scale": float(d.scale),
                "measures": {name: float(value) for name, value in d.measures.items()},
                **({} if d.probe is None else {"probe": True}),
                **({CALIBRATIONS: to_json(d.calibrations)} if d.calibrations else {}),
            }
            for b, d in sorted(vector.directions.items())
        },
    }
    return json.dumps(about)


def check_shapes(path: Path, text: str, shapes: Mapping[str, Sequence[int]]) -> None:
    """Check the shapes of a file's tensors against its metadata, before any tensor is read: a compressed file of 2 MB
    may hold gigabytes.

    VectorError, naming the path, unless there is one tensor (width,) for each direction and each probe, all of the
    width that the metadata state.
    """
    with _named(path):
        about = _parsed(text)
        _check_names(about, shapes)
        width = about["origin"].get("width") or None
        if width is not None and type(width) is not int:
            raise ValueError(f"width {width!r}")
        for name, shape in shapes.items():
            if len(shape) != 1 or width not in (None, shape[0]):
                raise VectorError(f"{name} has the shape {tuple(shape)}, and the metadata say ({width or 'width'},)")
        check_total(shapes.values())


def check_total(shapes: Iterable[Sequence[int]]) -> None:
    """VectorError if tensors of these shapes hold more numbers than directions of any model."""
    if (total := sum(map(math.prod, shapes))) > LARGEST:
        raise VectorError(f"it claims {total:,} numbers, and the directions of no model are more than {LARGEST:,}")


def read(path: Path, text: str, tensors: Mapping[str, FloatArray]) -> Vector:
    """The vector of a file's metadata and tensors. VectorError, naming the path, if they are inconsistent."""
    with _named(path):
        return _vector(path, _parsed(text), tensors)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Errors in the block as VectorError in one line that begins with the path."""
    try:
        yield
    except VectorError as error:
        raise VectorError(f"{path}: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError, DataError) as error:
        raise VectorError(f"{path} has broken metadata: {one_line(repr(error))}") from error


def _parsed(text: str) -> dict[str, Any]:
    about: dict[str, Any] = parse(text, "its metadata")
    if about.get("format", 0) > FORMAT:
        raise VectorError(f"it was written by a newer localprobe (format {about['format']}): upgrade localprobe")
    return about


def _check_names(about: dict[str, Any], tensors: Iterable[str]) -> None:
    described = {f"{_TENSOR}{layer}" for layer in about["directions"]}
    described |= {f"{_PROBE}{layer}" for layer, details in about["directions"].items() if details.get("probe")}
    held = {name for name in tensors if is_tensor(name)}
    if described != held:
        odd = ", ".join(sorted(described ^ held))
        raise VectorError(f"its metadata and its tensors do not agree about {shown(odd)[1:-1]}")


def _vector(path: Path, about: dict[str, Any], tensors: Mapping[str, FloatArray]) -> Vector:
    from localprobe.store.json_values import from_json

    _check_names(about, tensors)
    details = {_layer(name): each for name, each in about["directions"].items()}
    vectors, notices = steering({layer: tensors[f"{_TENSOR}{layer}"] for layer in details})
    directions = {
        layer: _direction(vector, details[layer], _probe(tensors, layer)) for layer, vector in vectors.items()
    }
    check_directions(directions)
    concept, best = about["concept"], about["best"]
    if not isinstance(concept, str):
        raise ValueError(f"concept {concept!r}")
    if best is not None and (type(best) is not int or best not in details):
        raise ValueError(f"best layer {best!r}")
    if best is not None and best not in directions:
        raise VectorError(f"the direction at layer {best}, which it names as the one to use, is zero")
    if unknown := about["origin"].keys() - {field.name for field in fields(Origin)}:
        raise ValueError(f"origin {min(unknown)!r}")
    told = tuple(f"{path.name}: {notice}" for notice in notices)
    return Vector(concept, from_json(Origin, about["origin"]), directions, best, told)


def _layer(name: str) -> int:
    """A layer by its name in the file. Another spelling (-1, 07) would read a wrong layer, or one layer twice."""
    if not re.fullmatch(r"0|[1-9]\d{0,4}", name, re.ASCII):
        raise ValueError(f"layer {name!r}")
    return int(name)


def _probe(tensors: Mapping[str, FloatArray], layer: int) -> FloatArray | None:
    tensor = tensors.get(f"{_PROBE}{layer}")
    return None if tensor is None else checked(tensor, layer, "probe")


def _direction(vector: FloatArray, details: dict[str, Any], probe: FloatArray | None) -> Direction:
    from localprobe.store.json_values import from_json

    numbers = {name: float(details[name]) for name in ("norm", "threshold", "scale")}
    for name, value in numbers.items():
        if not math.isfinite(value) or (value < 0 and name != "threshold"):  # both others are lengths
            raise ValueError(f"{name} {value}")
    measures = {str(name): float(value) for name, value in details["measures"].items()}
    calibrations = from_json(tuple[Calibration, ...], details.get(CALIBRATIONS, []))
    return Direction(vector, **numbers, measures=measures, probe=probe, calibrations=calibrations)


def check_directions(directions: Mapping[int, Direction]) -> None:
    """VectorError unless there is at least one direction, and all have the same width."""
    if not directions:
        raise VectorError("it holds no direction")
    held = [tensor for d in directions.values() for tensor in (d.vector, d.probe) if tensor is not None]
    widths = sorted({len(tensor) for tensor in held})
    if len(widths) > 1:
        raise VectorError(f"its directions have widths {', '.join(map(str, widths))}, so they are not of one model")
