"""`POST /v1/residuals`: the residual stream of texts, at any layers, pooled or at every token."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Annotated, Any, Literal

import numpy as np
from msgspec import UNSET, Meta, Struct, UnsetType
from numpy.typing import NDArray
from starlette.responses import Response

from localprobe.capture.residuals import Encoded, Pooling
from localprobe.engine import FloatArray, Info
from localprobe.serve.capturing import Chat, captured, encoded, read, spans_of
from localprobe.serve.endpoint import Call, Endpoint
from localprobe.serve.errors import ApiError
from localprobe.serve.resolve import of_field
from localprobe.serve.types import Count, Strict
from localprobe.serve.vectors import SAFETENSORS
from localprobe.vectors.vector import Origin

LayerNumber = Annotated[int, Meta(ge=-1024, le=1024)]
_NUMBERS = 1 << 22  # of a JSON answer: some 50 MB


class ResidualsRequest(Strict):
    """The body of `POST /v1/residuals`."""

    input: str | Chat | Annotated[list[str | Chat], Meta(min_length=1, max_length=2048)]
    """A text, a chat, or a list of these. Special tokens written in a text are characters."""
    layers: Annotated[list[LayerNumber], Meta(min_length=1)] | Literal["all"] = "all"
    """Negative ones count from the end."""
    pooling: Pooling = "mean"
    """`answer` is for chats that end with an answer; `tokens` pools nothing."""
    spans: (
        Annotated[list[Annotated[list[int], Meta(min_length=2, max_length=2)]], Meta(min_length=1, max_length=256)]
        | UnsetType
    ) = UNSET
    """Of the tokens of every text, [start, stop): means over each of these instead of `pooling`."""
    limit: Count | None = None
    """Cuts texts to that many tokens."""
    format: Literal["json", "safetensors"] = "json"
    model: str | None = None


class TextResiduals(Struct):
    """The residuals of one text."""

    index: int
    tokens: int
    cut: bool
    """Whether it was cut to the limit."""
    ids: list[int]
    residuals: list[list[float]] | list[list[list[float]]]
    """(layers, width), or (layers, tokens or spans, width), in residual units."""


class ResidualsAnswer(Struct):
    """The answer of `POST /v1/residuals`."""

    model: str
    layers: list[int]
    pooling: str
    """`spans` if they were asked for."""
    width: int
    data: list[TextResiduals]
    object: Literal["residuals"] = "residuals"


async def residuals(call: Call[ResidualsRequest]) -> ResidualsAnswer | Response:
    """Residuals are blocks' outputs before the final norm, unsteered, float32."""
    body, hosted = call.body, call.host.hosted(call.body.model)
    wanted = body.input if isinstance(body.input, list) else [body.input]
    layers = of_field("layers", lambda: hosted.model.layers(None if body.layers == "all" else list(body.layers)))
    texts = await encoded(hosted, of_field("input", lambda: read(wanted)), body.limit)
    averaged = [
        of_field("pooling" if body.spans is UNSET else "spans", lambda t=text: spans_of(t, body.pooling, body.spans))
        for text in texts
    ]  # type: ignore[misc]
    numbers = sum(
        len(layers) * hosted.info.width * (len(text.ids) if spans is None else len(spans))
        for text, spans in zip(texts, averaged, strict=True)
    )
    if body.format == "json" and numbers > _NUMBERS:
        raise ApiError(
            413,
            f"{numbers:,} numbers are too many for JSON: ask for fewer layers or texts, or for safetensors",
            param="format",
        )
    found = await captured(hosted, texts, layers, averaged)
    pooled = body.spans is UNSET and body.pooling != "tokens"
    pooling = body.pooling if body.spans is UNSET else "spans"
    if body.format == "safetensors":
        return Response(_file(hosted.info, texts, found, layers, pooling, pooled=pooled), media_type=SAFETENSORS)
    data = [
        TextResiduals(number, len(text.ids), text.cut, text.ids.tolist(), (one[:, 0] if pooled else one).tolist())
        for number, (text, one) in enumerate(zip(texts, found, strict=True))
    ]
    return ResidualsAnswer(hosted.name, layers, pooling, hosted.info.width, data)


def _file(
    info: Info, texts: Sequence[Encoded], found: Sequence[FloatArray], layers: list[int], pooling: str, *, pooled: bool
) -> bytes:
    """A capture file (`localprobe.capture.file`), with the ids of all texts, joined, and which were cut, besides."""
    from safetensors.numpy import save

    rows = [one[:, 0][None] if pooled else one.swapaxes(0, 1) for one in found]  # (positions, layers, width)
    tensors: dict[str, NDArray[Any]] = {
        "residuals": np.ascontiguousarray(np.concatenate(rows)),
        "tokens": np.array([len(text.ids) for text in texts], dtype=np.int64),
        "ids": np.concatenate([text.ids for text in texts]),
        "cut": np.array([text.cut for text in texts], dtype=np.int64),
    }
    if not pooled:
        tensors["offsets"] = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    origin = replace(Origin.of(info, method="", pooling=pooling), trained_on=())
    about = {"format": 1, "layers": layers, "cut": sum(text.cut for text in texts), "origin": asdict(origin)}
    return save(tensors, metadata={"localprobe": json.dumps(about)})


ENDPOINTS = [
    Endpoint(
        "POST",
        "/v1/residuals",
        residuals,
        "Residuals of texts",
        body=ResidualsRequest,
        answer=ResidualsAnswer,
        gives=(SAFETENSORS,),
        errors=(404, 503),
    ),
]
