"""Residuals of texts: pooled per text, or at every token."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np

from localprobe import batches
from localprobe.chat_ids import encode_chat
from localprobe.chat_template import Exchange, Marked, Message, render, render_answer
from localprobe.checks import check_rows, check_text
from localprobe.engine import Engine, FloatArray, IntArray, Row, Span, Steering
from localprobe.errors import EngineError, UsageError

Pooling: TypeAlias = Literal["mean", "mean-without-first", "last", "answer", "tokens"]
"""`mean` over all tokens is the paper's. `mean-without-first` leaves out the first token, an attention sink with a norm
several times that of the others. `answer` is the mean over the answer of an `Exchange`. `tokens` pools nothing."""

Text: TypeAlias = str | Marked | Exchange
"""A text captured on its own, its special tokens read as characters or (`Marked`) as tokens; or an answer captured
within a chat, rendered by the model's chat template."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Captured:
    """The residuals of one text."""

    index: int
    """Index of the text in the input."""
    ids: IntArray
    """(n,) int32, after truncation to the limit."""
    residuals: FloatArray
    """(layers, width), or (layers, n, width) for pooling `tokens`; float32."""
    cut: bool
    """Whether the text was truncated."""

    def __repr__(self) -> str:
        cut = ", cut" if self.cut else ""
        return f"<Captured text {self.index}: {len(self.ids)} tokens{cut}, residuals {self.residuals.shape}>"


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """A text as ids."""

    ids: IntArray
    """(n,) int32, after truncation to the limit."""
    answer: int | None
    """Position where the answer of an `Exchange` begins."""
    cut: bool


def spans(pooling: str, length: int, answer: int | None = None) -> tuple[Span, ...] | None:
    """The span of a row of `length` tokens that a pooling averages over; None keeps every position.

    `answer` is the position where the answer begins; pooling `answer` raises UsageError without it.
    """
    match pooling:
        case "mean":
            return ((0, length),)
        case "mean-without-first":
            return ((min(1, length - 1), length),)
        case "last":
            return ((length - 1, length),)
        case "answer":
            if answer is None:
                raise UsageError("pooling 'answer' needs answers within a chat, but these texts have no prompt")
            return ((answer, length),)
        case "tokens":
            return None
    raise UsageError(f"pooling {pooling!r}: choose one of {', '.join(get_args(Pooling))}")


def capture(
    engine: Engine,
    texts: Iterable[Text],
    layers: Sequence[int],
    pooling: str = "mean",
    *,
    limit: int | None = None,
    steering: Steering = (),
) -> Iterator[Captured]:
    """Yield the residuals of texts. Texts of similar length share a batch, so they do not come in order.

    Memory does not grow with the number of texts. A text longer than the model's context raises UsageError; with
    `limit`, texts are truncated to that many tokens instead, which `Captured.cut` records.
    """
    start = 0
    for window in batches.windows(texts):
        encoded = [encode(engine, text, start + i, limit) for i, text in enumerate(window)]
        rows = [Row(text.ids, steering, spans(pooling, len(text.ids), text.answer)) for text in encoded]
        check_rows(engine.info, rows, layers)
        for batch, outputs in batches.forward(engine, rows, layers):
            for i, output in zip(batch, outputs, strict=True):
                residuals = output.residuals if pooling == "tokens" else output.residuals[:, 0]
                if not np.isfinite(residuals).all():
                    raise EngineError(
                        f"text {start + i + 1} gave residuals that are not finite in {engine.info.dtype}: "
                        "load the model with `dtype` float32"
                    )
                yield Captured(start + i, encoded[i].ids, residuals, encoded[i].cut)
        start += len(window)


def pooled(
    engine: Engine, texts: Sequence[Text], layers: Sequence[int], pooling: str = "mean", *, limit: int | None = None
) -> FloatArray:
    """Residuals of all texts at once, in input order: (texts, layers, width) float32."""
    result = np.empty((len(texts), len(layers), engine.info.width), dtype=np.float32)
    for captured in capture(engine, texts, layers, pooling, limit=limit):
        result[captured.index] = captured.residuals
    return result


def encode(engine: Engine, text: Text, index: int = 0, limit: int | None = None) -> Encoded:
    """Ids of a text, truncated to `limit` tokens if one is given.

    Raises UsageError, naming the text by `index` + 1, if it is empty or longer than the model's context.
    """
    if isinstance(text, Exchange):
        return encode_chat_text(engine, [*text.messages, Message("assistant", text.answer)], index, limit)
    _check_words(index, words_of(text))
    return _limited(engine, ids_of(engine, text), None, index, limit)


def encode_chat_text(engine: Engine, messages: Sequence[Message], index: int = 0, limit: int | None = None) -> Encoded:
    """Ids of a chat in the model's template: up to the end of its last message if that is an answer, else up to where
    the answer would begin. `limit`, `index` and what is raised are as of `encode`."""
    _check_words(index, messages[-1].content, *(message.content for message in messages[:-1]))
    if messages[-1].role == "assistant":
        ids, answer = _answered(engine, messages)
        return _limited(engine, ids, answer, index, limit)
    return _limited(engine, encode_chat(engine, render(engine.info, messages)), None, index, limit)


def _check_words(index: int, words: str, *others: str) -> None:
    """UsageError for a text without words, or with half a character in it or in the messages before it."""
    if not words.strip():
        raise UsageError(f"text {index + 1} is empty: there is nothing to capture")
    check_text(f"text {index + 1}", words, *others)


def _limited(engine: Engine, ids: IntArray, answer: int | None, index: int, limit: int | None) -> Encoded:
    """Ids within the limit and the model's context."""
    most = min(limit or engine.info.context, engine.info.context)
    if len(ids) > most and limit is None:
        raise UsageError(
            f"text {index + 1} has {len(ids)} tokens, and {engine.info.model} holds {most}: shorten it, or cut texts "
            f"to a length with `limit`"
        )
    if answer is not None and answer >= most:
        raise UsageError(f"the prompt of text {index + 1} has {answer} tokens, so none of its answer is in {most}")
    return Encoded(ids[:most], answer, len(ids) > most)


def words_of(text: Text) -> str:
    """What is read of a text: of an exchange, its answer."""
    return text if isinstance(text, str) else text.answer if isinstance(text, Exchange) else text.text


def ids_of(engine: Engine, text: str | Marked) -> IntArray:
    """Ids of a text on its own, (n,) int32. One whose special tokens are read begins with the model's BOS too."""
    if isinstance(text, str):
        return engine.encode(text)
    ids, bos = engine.encode(text.text, template=True), engine.info.bos
    return ids if bos is None or ids[:1] == bos else np.concatenate([np.array([bos], dtype=np.int32), ids])


def _answered(engine: Engine, messages: Sequence[Message]) -> tuple[IntArray, int]:
    """Ids of a chat up to the end of its last message, and the position where that answer begins."""
    continued = render_answer(engine.info, messages)
    ids = encode_chat(engine, continued.rendered)
    before = encode_chat(engine, continued.rendered.part(0, continued.start))
    shared = min(len(before), len(ids) - 1)  # a token that spans the border belongs to the answer
    differs = np.flatnonzero(before[:shared] != ids[:shared])
    return ids, int(differs[0]) if len(differs) else shared
