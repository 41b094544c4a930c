"""Control vectors of llama.cpp and repeng: GGUF files with one F32 tensor `direction.<layer>` a layer.

`direction.b` is added to the residual after block b, in llama.cpp as here; it cannot reach block 0. (Files written by
llama.cpp's own `cvector-generator` name each direction one block later than it was measured.)
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from localprobe.errors import ModelError, VectorError
from localprobe.vectors import Direction, Origin, Vector, checked


def load_gguf(path: Path) -> Vector:
    """Read a control vector. VectorError if the file is torn, is a model, or has a direction for block 0."""
    from localprobe.gguf import read_header

    try:
        header = read_header(path)
        kind = header.architecture
    except ModelError as error:
        raise VectorError(f"{path} is not a readable control vector: {error}") from error
    if kind != "controlvector":
        raise VectorError(f"{path} is a GGUF file of a {kind} model, not a control vector")
    directions = {}
    for tensor in header.tensors.values():
        match = re.fullmatch(r"direction\.(\d+)", tensor.name)
        if not match:
            continue
        layer = int(match[1])
        if layer == 0:
            raise VectorError(f"{path} has a direction for block 0, which a control vector cannot reach: remove it")
        if tensor.type.name != "F32":
            raise VectorError(f"{path}: {tensor.name} is {tensor.type.name}; llama.cpp takes F32 only")
        values = np.fromfile(path, dtype="<f4", count=tensor.count, offset=tensor.offset)
        vector = checked(values.reshape(tensor.shape), layer)
        directions[layer] = Direction(vector, norm=float(np.linalg.norm(vector)))
    if not directions:
        raise VectorError(f"{path} holds no tensor named direction.<layer>")
    hint = header.value("controlvector.model_hint", str) or ""
    origin = Origin(model="", architecture=hint, width=len(vector), method="control vector", version="")
    only = next(iter(directions)) if len(directions) == 1 else None
    return Vector(path.stem, origin, directions, only)
