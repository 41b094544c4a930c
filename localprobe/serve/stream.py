"""Events of a step as what each answer says more, and answers as server-sent events."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from msgspec import Struct
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from localprobe.generation.events import Alert, Event, Finished, GateChange, Reason, Score, Token
from localprobe.serve.endpoint import failed
from localprobe.serve.errors import envelope
from localprobe.serve.generate import Answering
from localprobe.serve.types import AlertEvent, ChatLogprobs, Extra, Finish, GateEvent, TokenLogprob, TopLogprob, encoded

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
            yield b"data: " + encoded(chunk) + b"\n\n"
    except Exception as error:
        yield b"data: " + encoded(envelope(failed(error, "a stream"))) + b"\n\n"
    else:
        yield b"data: [DONE]\n\n"


async def chunked(
    answering: Answering,
    steps: AsyncGenerator[Sequence[Event]],
    first: Sequence[Event],
    chunks: Callable[[dict[int, Piece]], Iterator[Struct]],
    usage: Callable[[], Struct] | None,
) -> AsyncGenerator[Struct]:
    """The chunks of an answer whose first events have come, then its usage, if that is asked for."""
    async with aclosing(steps):
        for chunk in chunks(pieces(first, answering.facts.probes)):
            yield chunk
        async for events in steps:
            for chunk in chunks(pieces(events, answering.facts.probes)):
                yield chunk
        if usage is not None:
            yield usage()
