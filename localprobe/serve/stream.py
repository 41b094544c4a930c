"""Events of a step as what each answer says more, and answers as server-sent events."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import msgspec
from msgspec import UNSET, Struct, UnsetType
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from localprobe.generation.events import Alert, Event, Finished, GateChange, Reason, Score, Token
from localprobe.serve.endpoint import Call, failed
from localprobe.serve.errors import envelope
from localprobe.serve.generate import Answering, unless_gone
from localprobe.serve.types import (
    AlertEvent,
    Applied,
    ChatLogprobs,
    Extra,
    Finish,
    GateEvent,
    Generation,
    TokenLogprob,
    TopLogprob,
    Usage,
)

ChoiceT = TypeVar("ChoiceT")
ChunkT = TypeVar("ChunkT", bound="_Chunk")
_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}  # proxies must not hold chunks back
_FINISH: dict[Reason, Finish] = {
    "end": "stop",
    "stop": "stop",
    "stopped": "stop",
    "length": "length",
    "context": "length",
}


@dataclass(slots=True)
class Piece:
    """What one answer says more, or all that it says."""

    text: str = ""
    tokens: list[Token] = field(default_factory=list)
    extra: Extra = field(default_factory=Extra)
    finish: Finish | None = None

    def add(self, other: Piece) -> None:
        """Take what comes next."""
        self.text += other.text
        self.tokens += other.tokens
        self.extra.add(other.extra)
        self.finish = other.finish or self.finish


def pieces(events: Iterable[Event], probes: Sequence[str]) -> dict[int, Piece]:
    """What each answer says more, by its index. A score belongs to the token that it names, which came before."""
    found: dict[int, Piece] = {}
    for event in events:
        piece = found.setdefault(event.row, Piece())
        match event:
            case Token():
                piece.text += event.text
                piece.tokens.append(event)
            case Score():
                # The shortest text that reads as the same float32 is what a person wants to see.
                read = zip(probes, event.values, strict=True)
                values = {name: float(str(value)) for name, value in read if not math.isnan(value)}
                piece.extra.scores.append({"token": event.index, **values})
            case GateChange():
                piece.extra.gates.append(GateEvent(event.index, event.gate, event.open, event.score))
            case Alert():
                piece.extra.alerts.append(AlertEvent(event.index, event.probe, event.score, event.threshold))
            case Finished():
                piece.text += event.text
                piece.finish = _FINISH[event.reason]
                piece.extra.reason = event.reason if event.reason in ("stop", "context") else None
    return found


async def collected(answering: Answering, deadline: float) -> list[Piece]:
    """All answers of a request, in their order."""
    answers = [Piece() for _ in range(answering.order.answers)]
    async for events in answering.steps(deadline):
        for row, piece in pieces(events, answering.facts.probes).items():
            answers[row].add(piece)
    return answers


def chat_logprobs(answering: Answering, tokens: Sequence[Token]) -> ChatLogprobs | None:
    """The log-probabilities of tokens as chats tell them; None if they are not asked for."""
    if not answering.order.texts:
        return None

    def entry(token: int, logprob: float) -> TopLogprob:
        text = answering.texts[token]
        return TopLogprob(text, logprob, None if "\ufffd" in text else list(text.encode()))

    def one(token: Token) -> TokenLogprob:
        own = entry(token.id, token.logprob)
        return TokenLogprob(own.token, own.logprob, own.bytes, [entry(*other) for other in token.top])

    return ChatLogprobs([one(token) for token in tokens])


class Events(StreamingResponse):
    """Chunks as server-sent events. An error after the first is an event too, and the last one. However it ends, the
    chunks are closed, which cancels what is still being generated."""

    def __init__(self, chunks: AsyncGenerator[Struct]) -> None:
        self._written = _written(chunks)
        super().__init__(self._written, media_type="text/event-stream", headers=_HEADERS)
        self._chunks = chunks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._written.aclose()
            await self._chunks.aclose()


async def _written(chunks: AsyncGenerator[Struct]) -> AsyncGenerator[bytes]:
    try:
        async for chunk in chunks:
            yield b"data: " + msgspec.json.encode(chunk) + b"\n\n"
    except Exception as error:
        yield b"data: " + msgspec.json.encode(envelope(failed(error, "a stream"))) + b"\n\n"
    else:
        yield b"data: [DONE]\n\n"


class _Chunk(Protocol):
    """What chunks of chats and of texts have in common."""

    usage: Usage | UnsetType | None
    localprobe: Applied | UnsetType


class Chunks(Generic[ChoiceT, ChunkT]):
    """The chunks of a streamed answer, the first of which tells the steering. A subclass says what a choice is."""

    def __init__(
        self,
        answering: Answering,
        make: Callable[[str, int, str, list[ChoiceT], str], ChunkT],
        *,
        usage: bool,
    ) -> None:
        """`make` makes a chunk; with `usage`, one more at the end tells how many tokens there were."""
        self.answering, self.usage = answering, usage
        self._make = make
        self._told = False

    def choice(self, index: int, piece: Piece) -> ChoiceT:
        """What an answer says more."""
        raise NotImplementedError

    def of(self, pieces: dict[int, Piece]) -> Iterator[ChunkT]:
        """The chunks of one step."""
        for index, piece in pieces.items():
            chunk = self.chunk([self.choice(index, piece)])
            if not self._told:
                self._told, chunk.localprobe = True, self.answering.facts.applied
            yield chunk

    def last(self) -> ChunkT:
        """The chunk that tells the usage."""
        chunk = self.chunk([])
        chunk.usage = self.answering.usage
        return chunk

    def chunk(self, choices: list[ChoiceT]) -> ChunkT:
        """A chunk with these choices."""
        told = self.answering
        chunk = self._make(told.name, told.created, told.hosted.name, choices, told.fingerprint)
        chunk.usage = None if self.usage else UNSET
        return chunk


async def streamed(call: Call[Generation], chunks: Chunks[Any, Any]) -> Events:
    """An answer as events. What goes wrong before its first ones come is raised."""
    steps = chunks.answering.steps(call.settings.deadline)
    first = await unless_gone(call.request, anext(steps))
    return Events(_chunked(steps, first, chunks))


async def _chunked(
    steps: AsyncGenerator[Sequence[Event]], first: Sequence[Event], chunks: Chunks[Any, Any]
) -> AsyncGenerator[Struct]:
    """The chunks of an answer whose first events have come, then its usage, if that is asked for."""
    probes = chunks.answering.facts.probes
    async with aclosing(steps):
        for chunk in chunks.of(pieces(first, probes)):
            yield chunk
        async for events in steps:
            for chunk in chunks.of(pieces(events, probes)):
                yield chunk
        if chunks.usage:
            yield chunks.last()
