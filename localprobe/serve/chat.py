"""`POST /v1/chat/completions`."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import UNSET
from starlette.responses import Response

from localprobe.chat_ids import encode_chat
from localprobe.chat_template import Message, render
from localprobe.checks import check_prompt_length, check_text
from localprobe.model import Model
from localprobe.serve.endpoint import Call, Endpoint
from localprobe.serve.errors import ApiError
from localprobe.serve.generate import Answering, Order, PromptText, new_id, unless_gone
from localprobe.serve.resolve import of_field
from localprobe.serve.stream import Chunks, Piece, chat_logprobs, collected, streamed
from localprobe.serve.types import (
    AnswerMessage,
    ChatAnswer,
    ChatChoice,
    ChatChunk,
    ChatMessage,
    ChatRequest,
    ChunkChoice,
    Delta,
)


async def complete_chat(call: Call[ChatRequest]) -> ChatAnswer | Response:
    body, settings = call.body, call.settings
    if len(body.messages) > settings.messages:
        raise ApiError(400, f"more than {settings.messages} messages", param="messages")
    for number, message in enumerate(body.messages):
        if message.content is None and message.role != "assistant":
            raise ApiError(400, f"a message of the {message.role} is null", param=f"messages[{number}].content")
    if body.top_logprobs and not body.logprobs:
        raise ApiError(400, "top_logprobs needs logprobs: true", param="top_logprobs")
    order = Order.of(
        call,
        lambda model: of_field("messages", lambda: [encode_messages(model, body.messages)]),
        default=call.host.default,
        texts=bool(body.logprobs),
        top=body.top_logprobs or 0,
    )
    answering = Answering(call.host.hosted(body.model), order, new_id("chatcmpl"))
    if body.stream:
        return await streamed(call, _Chunks(answering, usage=body.tells_usage))
    answers = await unless_gone(call.request, collected(answering, settings.deadline))
    return ChatAnswer(
        answering.name,
        answering.created,
        answering.hosted.name,
        [_choice(answering, index, answer) for index, answer in enumerate(answers)],
        answering.usage,
        answering.facts.applied,
        answering.fingerprint,
    )


def encode_messages(model: Model, messages: Sequence[ChatMessage]) -> PromptText:
    """A conversation in the model's chat template. UsageError for what the template cannot show."""
    said = [Message("system" if m.role == "developer" else m.role, m.text) for m in messages]
    check_text("a message", *(message.content for message in said))
    ids = encode_chat(model.engine, render(model.info, said))
    check_prompt_length(model.info, ids)
    asked = next((message.content for message in reversed(said) if message.role == "user"), "")
    return PromptText(ids, asked, "")


def _choice(answering: Answering, index: int, answer: Piece) -> ChatChoice:
    return ChatChoice(
        index,
        AnswerMessage(answer.text),
        answer.finish or "stop",
        chat_logprobs(answering, answer.tokens),
        answer.extra or UNSET,
        answering.ids(answer.tokens),
    )


class _Chunks(Chunks[ChunkChoice, ChatChunk]):
    """Each answer begins with its role."""

    def __init__(self, answering: Answering, *, usage: bool) -> None:
        super().__init__(answering, ChatChunk, usage=usage)
        self._begun: set[int] = set()

    def choice(self, index: int, piece: Piece) -> ChunkChoice:
        delta = Delta(content=piece.text) if piece.text else Delta()
        if index not in self._begun:
            self._begun.add(index)
            delta = Delta("assistant", piece.text)
        logprobs = chat_logprobs(self.answering, piece.tokens) if piece.tokens else None
        ids = self.answering.ids(piece.tokens)
        return ChunkChoice(index, delta, piece.finish, logprobs, piece.extra or UNSET, ids)


ENDPOINTS = [
    Endpoint(
        "POST",
        "/v1/chat/completions",
        complete_chat,
        "Answer a conversation, steered or not",
        body=ChatRequest,
        answer=ChatAnswer,
        gives=("text/event-stream",),
        errors=(404, 429, 503, 504),
    )
]
