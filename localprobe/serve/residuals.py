"""`POST /v1/residuals`: the residual stream of texts and chats at any layers, pooled or at every token."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray
from starlette.responses import Response

from localprobe.capture.residuals import Encoded, Pooling, spans
from localprobe.engine import FloatArray, Info
from localprobe.engine import Span as EngineSpan
from localprobe.serve.capturing import Chat, captured, capturing, encoded
from localprobe.serve.endpoint import Call, Endpoint
from localprobe.serve.errors import ApiError
from localprobe.serve.generate import unless_gone
from localprobe.serve.resolve import of_field
from localprobe.serve.types import Count, Strict
from localprobe.serve.vectors import SAFETENSORS
from localprobe.vectors.vector import Origin

Layer: TypeAlias = Annotated[int, Meta(ge=-1024, le=1024)]
Span: TypeAlias = Annotated[list[Annotated[int, Meta(ge=0, le=1 << 31)]], Meta(min_length=2, max_length=2)]
Format: TypeAlias = Literal["json", "safetensors"]
MOST: dict[Format, int] = {"json": 1 << 21, "safetensors": 1 << 26}
"""The most numbers of an answer: some 40 MB of JSON, 256 MiB of safetensors."""


class ResidualsRequest(Strict):
    """The body of `POST /v1/residuals`."""

    input: str | Chat | Annotated[list[str | Chat], Meta(min_length=1, max_length=2048)]
    """A text, a chat, or a list of these. Special tokens that a text holds are read as characters. A chat that ends
    with an answer is captured up to its end, any other up to where the answer would begin."""
    layers: Annotated[list[Layer], Meta(min_length=1, max_length=1024)] | Literal["all"] = "all"
    """Negative ones count from the end."""
    pooling: Pooling = "mean"
    """`answer` is for chats that end with an answer; `tokens` pools nothing."""
    spans: Annotated[list[Span], Meta(min_length=1, max_length=256)] | None = None
    """[start, stop) of the tokens of every text: the mean over each of these, instead of `pooling`."""
    limit: Count | None = None
    """Longer texts are cut to that many tokens; without it they are refused."""
    format: Format = "json"
    model: str | None = None


class TextResiduals(Struct):
    """The residuals of one text."""

    index: int
    tokens: int
    cut: bool
    """Whether it was cut to the limit."""
    ids: list[int]
    residuals: list[list[float | list[float]]]
    """(layers, width); (layers, tokens, width) for pooling `tokens`; (layers, spans, width) for spans."""


class ResidualsAnswer(Struct):
    """The answer of `POST /v1/residuals`: the outputs of blocks, before the final norm, unsteered."""

    model: str
    weights: str
    """Hash of the weights."""
    layers: list[int]
    pooling: str
    """`spans` if spans were asked for."""
    width: int
    data: list[TextResiduals]
    object: Literal["residuals"] = "residuals"


@dataclass(frozen=True, slots=True, eq=False)
class Residuals:
    """What was captured for a request."""

    info: Info
    layers: list[int]
    pooling: str
    texts: Sequence[Encoded]
    residuals: Sequence[FloatArray]
    """Of each text (layers, spans or positions, width)."""

    @property
    def pooled(self) -> bool:
        """Whether there is one residual of each text."""
        return self.pooling not in ("tokens", "spans")

    def answer(self, model: str) -> ResidualsAnswer:
        """As JSON values."""
        data = [
            TextResiduals(
                index,
                len(text.ids),
                text.cut,
                text.ids.tolist(),
                (residuals[:, 0] if self.pooled else residuals).tolist(),
            )
            for index, (text, residuals) in enumerate(zip(self.texts, self.residuals, strict=True))
        ]
        return ResidualsAnswer(model, self.info.weights, self.layers, self.pooling, self.info.width, data)

    def file(self) -> bytes:
        """As a capture file (see `localprobe.capture.file`), with two tensors more: `ids` int32 of all texts
        after each other, and `cut` int64 (texts,), 1 for a text that was cut. Of spans, `offsets` counts these in place
        of tokens."""
        from safetensors.numpy import save

        rows = [residuals.swapaxes(0, 1) for residuals in self.residuals]
        tensors: dict[str, NDArray[Any]] = {
            "residuals": np.ascontiguousarray(np.concatenate(rows), dtype=np.float32),
            "tokens": np.array([len(text.ids) for text in self.texts], dtype=np.int64),
            "ids": np.concatenate([text.ids for text in self.texts]).astype(np.int32),
            "cut": np.array([text.cut for text in self.texts], dtype=np.int64),
        }
        if not self.pooled:
            tensors["offsets"] = np.cumsum([0, *map(len, rows)], dtype=np.int64)
        origin = asdict(Origin.of(self.info, method="", pooling=self.pooling))
        about = {"format": 1, "layers": self.layers, "cut": sum(text.cut for text in self.texts), "origin": origin}
        return save(tensors, metadata={"localprobe": json.dumps(about)})


async def show_residuals(call: Call[ResidualsRequest]) -> ResidualsAnswer | Response:
    found = await unless_gone(call.request, _captured(call))
    if call.body.format == "safetensors":
        return Response(found.file(), media_type=SAFETENSORS)
    return found.answer(call.host.hosted(call.body.model).name)


async def _captured(call: Call[ResidualsRequest]) -> Residuals:
    body, hosted = call.body, call.host.hosted(call.body.model)
    wanted = body.layers if isinstance(body.layers, list) else None
    layers = of_field("layers", lambda: hosted.model.layers(wanted))
    async with capturing(call, hosted):
        texts = await encoded(hosted, body.input if isinstance(body.input, list) else [body.input], body.limit)
        averaged = _averaged(body, texts)
        _check_size(body.format, len(layers) * hosted.info.width, texts, averaged)
        found = await captured(hosted, [text.ids for text in texts], layers, averaged)
    return Residuals(hosted.info, layers, "spans" if body.spans else body.pooling, texts, found)


def _averaged(body: ResidualsRequest, texts: Sequence[Encoded]) -> list[tuple[EngineSpan, ...] | None]:
    """The spans of each text that are averaged over; None for every position. ApiError 400."""
    if body.spans is None:
        return of_field("pooling", lambda: [spans(body.pooling, len(text.ids), text.answer) for text in texts])
    asked = tuple((start, stop) for start, stop in body.spans)
    for number, text in enumerate(texts):
        for start, stop in asked:
            if not start < stop <= len(text.ids):
                told = f"the span [{start}, {stop}) holds none of the {len(text.ids)} tokens of text {number + 1}"
                if start < stop:
                    told = f"the span [{start}, {stop}) ends after the {len(text.ids)} tokens of text {number + 1}"
                raise ApiError(400, told, param="spans")
    return [asked] * len(texts)


def _check_size(
    form: Format, numbers: int, texts: Sequence[Encoded], averaged: Sequence[tuple[EngineSpan, ...] | None]
) -> None:
    """ApiError 413 for an answer that would be too large, of `numbers` a residual."""
    total = numbers * sum(len(text.ids if kept is None else kept) for text, kept in zip(texts, averaged, strict=True))
    if total > MOST[form]:
        instead = "ask for fewer texts or layers" + (", or for safetensors" if form == "json" else "")
        told = f"the answer would hold {total:,} numbers, and {form} may hold {MOST[form]:,}: {instead}"
        raise ApiError(413, told, code="answer_too_large", param="format")


ENDPOINTS = [
    Endpoint(
        "POST",
        "/v1/residuals",
        show_residuals,
        "Residuals of texts",
        body=ResidualsRequest,
        answer=ResidualsAnswer,
        gives=(SAFETENSORS,),
        errors=(404, 503, 504),
    ),
]
