"""What requests for residuals have in common: texts read and counted, then captured a batch at a time, so that answers
go on between two batches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeAlias

import numpy as np

from localprobe import batches
from localprobe.capture.residuals import Encoded, encode, encode_chat_text
from localprobe.chat_template import Message
from localprobe.checks import check_rows
from localprobe.engine import FloatArray, IntArray, Row, Span
from localprobe.errors import EngineError, UsageError
from localprobe.model import Model
from localprobe.serve.endpoint import Call
from localprobe.serve.errors import ApiError, api_error
from localprobe.serve.hosted import Hosted
from localprobe.serve.resolve import of_field
from localprobe.serve.types import ChatMessage, Strict

AT_ONCE = 1024
"""Tokens that are captured between two steps of answers; of a longer text, all."""
MOST_TOKENS = 1 << 16
"""The most tokens of a request."""
MOST_REQUESTS = 4
"""The most requests that are captured for at a time; others wait."""
_ENCODED_AT_ONCE = 64  # texts


class Chat(Strict):
    """Messages as one text, in the model's chat template."""

    messages: list[ChatMessage]


Input: TypeAlias = str | Chat | list[int]
"""A text, a chat, or the ids of a text."""


@asynccontextmanager
async def capturing(call: Call[Any], hosted: Hosted) -> AsyncIterator[None]:
    """Waits until few requests are captured for, and keeps the model loaded meanwhile. ApiError 504 if the block has
    not ended by the deadline."""
    try:
        with hosted.in_use():
            async with asyncio.timeout(call.settings.deadline), call.request.app.state.capturing:
                yield
    except TimeoutError as error:
        raise api_error(error) from error


async def encoded(hosted: Hosted, inputs: Sequence[Input], limit: int | None = None) -> list[Encoded]:
    """The ids of texts, each cut to `limit`. ApiError for a text that is empty or too long, and for too many tokens."""
    found: list[Encoded] = []
    numbered = iter(enumerate(inputs))
    while part := list(islice(numbered, _ENCODED_AT_ONCE)):
        found += await hosted.run(_Encoding(part, limit))
        if (total := sum(len(text.ids) for text in found)) > MOST_TOKENS:
            message = f"the texts have more than {MOST_TOKENS} tokens ({total} so far): send fewer at a time"
            raise ApiError(413, message, code="too_many_tokens", param="input")
    return found


@dataclass(frozen=True, slots=True)
class _Encoding:
    """Encodes some of a request's texts, on the scheduler's thread."""

    inputs: Sequence[tuple[int, Input]]
    limit: int | None

    def __call__(self, model: Model) -> list[Encoded]:
        return of_field("input", lambda: [self._encoded(model, number, given) for number, given in self.inputs])

    def _encoded(self, model: Model, number: int, given: Input) -> Encoded:
        if isinstance(given, str):
            return encode(model.engine, given, number, self.limit)
        if isinstance(given, Chat):
            return encode_chat_text(model.engine, _messages(given), number, self.limit)
        ids = np.array(given[: self.limit], dtype=np.int32)
        check_rows(model.info, [Row(ids)], ())
        return Encoded(ids, None, len(ids) < len(given))


def _messages(chat: Chat) -> list[Message]:
    if not chat.messages:
        raise UsageError("a chat has no messages")
    return [Message("system" if said.role == "developer" else said.role, said.text) for said in chat.messages]


async def captured(
    hosted: Hosted, texts: Sequence[IntArray], layers: Sequence[int], averaged: Sequence[tuple[Span, ...] | None]
) -> list[FloatArray]:
    """Residuals of each text, (layers, spans or positions, width) float32: means over the spans of `averaged`, or, for
    None, of every position. ApiError."""
    found: dict[int, FloatArray] = {}
    for numbers in batches.by_length([len(ids) for ids in texts], AT_ONCE):
        rows = [Row(texts[number], spans=averaged[number]) for number in numbers]
        found |= zip(numbers, await hosted.run(_Batch(rows, layers)), strict=True)
    return [found[number] for number in range(len(texts))]


@dataclass(frozen=True, slots=True)
class _Batch:
    """Captures some of a request's texts, on the scheduler's thread."""

    rows: Sequence[Row]
    layers: Sequence[int]

    def __call__(self, model: Model) -> list[FloatArray]:
        found: dict[int, FloatArray] = {}
        check_rows(model.info, self.rows, self.layers)
        for numbers, outputs in batches.forward(model.engine, self.rows, self.layers):
            found |= {number: output.residuals for number, output in zip(numbers, outputs, strict=True)}
        if not all(np.isfinite(residuals).all() for residuals in found.values()):
            raise EngineError(f"residuals are not finite in {model.info.dtype}: load the model with `dtype` float32")
        return [found[number] for number in range(len(self.rows))]
