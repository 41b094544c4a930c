"""Texts that a request wants residuals of: read, counted, and captured between the steps of answers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from msgspec import UNSET, UnsetType

from localprobe import batches
from localprobe.capture.residuals import Encoded, Pooling, Text, encode, spans
from localprobe.chat_ids import encode_chat
from localprobe.chat_template import Exchange, Message, render
from localprobe.checks import check_ids, check_rows, check_text
from localprobe.engine import FloatArray, Info, IntArray, Row, Span
from localprobe.errors import EngineError, UsageError
from localprobe.model import Model
from localprobe.serve.errors import ApiError
from localprobe.serve.hosted import Hosted
from localprobe.serve.resolve import of_field
from localprobe.serve.types import ChatMessage, Strict

AT_ONCE = 1024
"""Tokens captured between two steps of answers."""
MOST = 65_536
"""The most tokens of a request."""


class Chat(Strict):
    """Messages, as one text: rendered by the model's chat template."""

    messages: list[ChatMessage]


def read(texts: Sequence[str | Chat]) -> list[Text | list[Message]]:
    """Texts as captures have them: a chat that ends with an answer to a message is an exchange, of which pooling can
    take the answer. UsageError for an empty text."""
    if not texts:
        raise UsageError("no input: give at least one text")
    return [text if isinstance(text, str) else _chat(text) for text in texts]


def _chat(chat: Chat) -> Text | list[Message]:
    said = [(message.role.replace("developer", "system"), message.text) for message in chat.messages]
    if not said:
        raise UsageError("a chat without messages: give at least one")
    roles = [role for role, _ in said]
    if roles in (["user", "assistant"], ["system", "user", "assistant"]):
        system = said[0][1] if len(said) == 3 else ""
        return Exchange(said[-2][1], said[-1][1], system)
    return [Message(role, content) for role, content in said]  # type: ignore[arg-type]


async def encoded(hosted: Hosted, texts: Sequence[Text | list[Message]], limit: int | None) -> list[Encoded]:
    """The ids of texts. ApiError for one that is too long."""

    def ids(model: Model) -> list[Encoded]:
        return of_field("input", lambda: [_encoded(model, text, number, limit) for number, text in enumerate(texts)])

    return await hosted.run(ids)


def _encoded(model: Model, text: Text | list[Message], number: int, limit: int | None) -> Encoded:
    if not isinstance(text, list):
        return encode(model.engine, text, number, limit)
    check_text(f"text {number + 1}", *(message.content for message in text))
    ids = encode_chat(model.engine, render(model.info, text))
    most = min(limit or model.info.context, model.info.context)
    if len(ids) > most and limit is None:
        raise UsageError(f"text {number + 1} has {len(ids)} tokens, and {model.info.model} holds {most}: shorten it")
    return Encoded(ids[:most], None, len(ids) > most)


def spans_of(
    text: Encoded, pooling: Pooling, wanted: Sequence[Sequence[int]] | UnsetType = UNSET
) -> tuple[Span, ...] | None:
    """The spans that are averaged over: those that were asked for, or the pooling's one; None for every position."""
    length = len(text.ids)
    if wanted is UNSET:
        return spans(pooling, length, text.answer)
    assert not isinstance(wanted, UnsetType)
    found = [(start, stop) for start, stop in wanted]
    for start, stop in found:
        if not 0 <= start < stop <= length:
            raise UsageError(f"the span [{start}, {stop}) is not within the {length} tokens of the text")
    return tuple(found)


async def captured(
    hosted: Hosted, texts: Sequence[Encoded], layers: Sequence[int], averaged: Sequence[tuple[Span, ...] | None]
) -> list[FloatArray]:
    """Residuals of each text, (layers, spans or positions, width) float32; a batch at a time, between the steps of
    answers. ApiError for more than `MOST` tokens."""
    if (total := sum(len(text.ids) for text in texts)) > MOST:
        told = f"the texts have {total} tokens, and a request may have {MOST}: send fewer at a time"
        raise ApiError(413, told, param="input")
    found: list[FloatArray] = [np.empty(0, np.float32)] * len(texts)
    for numbers in batches.by_length([len(text.ids) for text in texts], AT_ONCE):
        rows = [Row(texts[number].ids, spans=averaged[number]) for number in numbers]
        for number, residuals in zip(numbers, await hosted.run(partial(_run, rows, layers)), strict=True):
            found[number] = residuals
    return found


def _run(rows: Sequence[Row], layers: Sequence[int], model: Model) -> list[FloatArray]:
    check_rows(model.info, rows, layers)
    found: dict[int, FloatArray] = {}
    for numbers, outputs in batches.forward(model.engine, rows, layers):
        found |= {number: output.residuals for number, output in zip(numbers, outputs, strict=True)}
    if not all(np.isfinite(residuals).all() for residuals in found.values()):
        raise EngineError(f"residuals are not finite in {model.info.dtype}: load the model with `dtype` float32")
    return [found[number] for number in range(len(rows))]


def whole(ids: Sequence[int], info: Info) -> IntArray:
    """Token ids that a request gives, as a text. UsageError for one that the model does not have, or for too many."""
    found = np.array(ids, dtype=np.int32)
    check_ids(info, found)
    return found
