"""`POST /v1/embeddings`: pooled residuals of one layer, in OpenAI's form.

They are the model's own states, not those of a model trained for retrieval: near for texts that the model is about to
continue alike.
"""

from __future__ import annotations

import base64
from typing import Annotated, Any, Literal

import numpy as np
from msgspec import UNSET, Meta, Struct

from localprobe.capture.residuals import Encoded
from localprobe.engine import FloatArray
from localprobe.serve.capturing import captured, encoded, read, spans_of, whole
from localprobe.serve.endpoint import Call, Endpoint
from localprobe.serve.errors import ApiError
from localprobe.serve.resolve import of_field
from localprobe.serve.types import Strict, TokenId

_Ids = Annotated[list[TokenId], Meta(min_length=1)]


class EmbeddingsRequest(Strict):
    """The body of `POST /v1/embeddings`."""

    input: str | Annotated[list[str | TokenId | _Ids], Meta(min_length=1, max_length=2048)]
    """A text, texts, the ids of one, or lists of ids."""
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
    index: int
    object: Literal["embedding"] = "embedding"


class EmbeddingsUsage(Struct):
    prompt_tokens: int
    total_tokens: int


class EmbeddingsAbout(Struct):
    """What the numbers are: residuals after `layer`, float32, not normalised."""

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
    body, hosted = call.body, call.host.hosted(call.body.model)
    if body.dimensions is not None:
        raise ApiError(
            400, f"an embedding has the model's width, {hosted.info.width}: leave dimensions out", param="dimensions"
        )
    wanted = hosted.info.layers // 2 if body.layer is None else body.layer
    (layer,) = of_field("layer", lambda: hosted.model.layers([wanted]))
    inputs = _inputs(body.input)
    if any(isinstance(one, str) for one in inputs) and not all(isinstance(one, str) for one in inputs):
        raise ApiError(400, "texts and lists of ids in one input: send either", param="input")
    if isinstance(inputs[0], str):
        texts = await encoded(hosted, of_field("input", lambda: read([str(one) for one in inputs])), None)
    else:
        texts = of_field("input", lambda: [Encoded(whole(ids, hosted.info), None, False) for ids in inputs])
    found = await captured(hosted, texts, [layer], [spans_of(text, body.pooling, UNSET) for text in texts])
    data = [Embedding(_written(one[0, 0], body.encoding_format), number) for number, one in enumerate(found)]
    tokens = sum(len(text.ids) for text in texts)
    return Embeddings(data, hosted.name, EmbeddingsUsage(tokens, tokens), EmbeddingsAbout(layer, body.pooling))


def _inputs(given: str | list[Any]) -> list[str] | list[list[int]]:
    if isinstance(given, str):
        return [given]
    return [given] if isinstance(given[0], int) and all(isinstance(one, int) for one in given) else given


def _written(vector: FloatArray, form: str) -> list[float] | str:
    """A vector (width,) as numbers, or as base64 of its little-endian float32."""
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
        errors=(404, 503),
    ),
]
