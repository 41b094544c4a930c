"""`POST /v1/embeddings`: pooled residuals of one layer, in OpenAI's form.

They are the states of a language model, not of one that was trained for retrieval.
"""

from __future__ import annotations

import base64
from typing import Annotated, Any, Literal

import numpy as np
from msgspec import Meta, Struct

from localprobe.capture.residuals import spans
from localprobe.engine import FloatArray
from localprobe.serve.capturing import captured, capturing, encoded
from localprobe.serve.endpoint import Call, Endpoint
from localprobe.serve.errors import ApiError
from localprobe.serve.generate import unless_gone
from localprobe.serve.inputs import one_or_many
from localprobe.serve.resolve import of_field
from localprobe.serve.types import Strict, TokenId

_Ids = Annotated[list[TokenId], Meta(min_length=1)]
MOST = 2048
"""The most inputs of a request, as OpenAI has it."""


class EmbeddingsRequest(Strict):
    """The body of `POST /v1/embeddings`."""

    input: str | Annotated[list[str | TokenId | _Ids], Meta(min_length=1)]
    """A text, texts (at most 2048), the ids of one, or lists of ids."""
    model: str | None = None
    encoding_format: Literal["float", "base64"] = "float"
    layer: Annotated[int, Meta(ge=-1024, le=1024)] | None = None
    """The middle layer if not given; negative ones count from the end."""
    pooling: Literal["mean", "mean-without-first", "last"] = "mean-without-first"
    """Without the first token, which is an attention sink."""
    user: Any = None
    """Ignored."""
    dimensions: Any = None
    """Refused: an embedding has the model's own width."""


class Embedding(Struct):
    embedding: list[float] | str
    """(width,) float32, in residual units; in base64, the bytes, little-endian."""
    index: int
    object: Literal["embedding"] = "embedding"


class EmbeddingsUsage(Struct):
    prompt_tokens: int
    total_tokens: int


class EmbeddingsAbout(Struct):
    """What the numbers are: residuals after `layer`, not normalised."""

    layer: int
    pooling: str


class Embeddings(Struct):
    """The answer of `POST /v1/embeddings`."""

    data: list[Embedding]
    model: str
    usage: EmbeddingsUsage
    localprobe: EmbeddingsAbout
    object: Literal["list"] = "list"


async def embed(call: Call[EmbeddingsRequest]) -> Embeddings:
    return await unless_gone(call.request, _embedded(call))


async def _embedded(call: Call[EmbeddingsRequest]) -> Embeddings:
    body, hosted = call.body, call.host.hosted(call.body.model)
    if body.dimensions is not None:
        told = f"an embedding has the model's width, {hosted.info.width}: leave dimensions out"
        raise ApiError(400, told, param="dimensions")
    middle = hosted.info.layers // 2
    (layer,) = of_field("layer", lambda: hosted.model.layers([middle if body.layer is None else body.layer]))
    async with capturing(call, hosted):
        texts = [text.ids for text in await encoded(hosted, inputs(body.input))]
        found = await captured(hosted, texts, [layer], [spans(body.pooling, len(ids)) for ids in texts])
    data = [Embedding(_written(one[0, 0], body.encoding_format), number) for number, one in enumerate(found)]
    tokens = sum(map(len, texts))
    return Embeddings(data, hosted.name, EmbeddingsUsage(tokens, tokens), EmbeddingsAbout(layer, body.pooling))


def inputs(given: str | list[str | int | list[int]]) -> list[str | list[int]]:
    """The texts of a body, each as a text or as ids. ApiError 400 for a mixture."""
    told = "input is a text, a list of texts, the ids of one, or a list of lists of ids: give one of these"
    refusal = ApiError(400, told, param="input")
    found = one_or_many(given, refusal)
    if len({type(part) for part in found}) != 1:
        raise refusal
    if len(found) > MOST:
        raise ApiError(400, f"{len(found)} inputs: a request may have {MOST}", param="input")
    return found


def _written(vector: FloatArray, form: str) -> list[float] | str:
    """A vector (width,) as numbers or in base64."""
    if form == "float":
        return [float(number) for number in vector]
    return base64.b64encode(np.asarray(vector, dtype="<f4").tobytes()).decode()


ENDPOINTS = [
    Endpoint(
        "POST",
        "/v1/embeddings",
        embed,
        "Pooled residuals of a layer, as embeddings",
        body=EmbeddingsRequest,
        answer=Embeddings,
        errors=(404, 503, 504),
    ),
]
