"""What a server says of a model, as the `Info` and the scale that a loaded model has."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from localprobe.client.errors import unreadable
from localprobe.engine import Capabilities, FloatArray, Info, Operator


class _Details(msgspec.Struct):
    """The `localprobe` of a model that is loaded."""

    engine: str
    architecture: str
    layers: int
    width: int
    vocabulary: int
    context: int
    dtype: str
    weights: str
    scale: list[float]
    version: str = ""
    device: str = ""
    quantisation: str | None = None
    notes: tuple[str, ...] = ()
    template_args: tuple[str, ...] = ()
    operators: tuple[Operator, ...] = ()
    first_layer: int = 0


class _Described(msgspec.Struct):
    id: str
    localprobe: _Details


def info_of(described: dict[str, Any], where: str) -> tuple[Info, FloatArray]:
    """A model that is loaded on the server `where`, and its scale, (layers,) float32. EndpointError if that cannot be
    read."""
    try:
        model = msgspec.convert(described, _Described)
    except msgspec.ValidationError as error:
        raise unreadable(where, str(error)) from error
    about = model.localprobe
    if about.layers < 1 or len(about.scale) != about.layers:
        raise unreadable(where, f"{len(about.scale)} residual lengths for {about.layers} layers")
    info = Info(
        engine=about.engine,
        version=about.version,
        model=model.id,
        architecture=about.architecture,
        layers=about.layers,
        width=about.width,
        vocabulary=about.vocabulary,
        context=about.context,
        device=about.device,
        dtype=about.dtype,
        weights=about.weights,
        quantisation=about.quantisation,
        notes=about.notes,
        template_args=about.template_args,
        capabilities=Capabilities(operators=about.operators, first_layer=about.first_layer),
    )
    return info, np.array(about.scale, dtype=np.float32)
