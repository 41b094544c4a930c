"""`POST /v1/completions`: texts go on, without a chat template."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np
from msgspec import UNSET
from starlette.responses import Response

from localprobe.checks import check_prompt_length, check_text
from localprobe.errors import UsageError
from localprobe.generation.events import Token
from localprobe.model import Model
from localprobe.serve.endpoint import Call, Endpoint
from localprobe.serve.errors import ApiError
from localprobe.serve.generate import Answering, Order, PromptText, new_id, unless_gone
from localprobe.serve.inputs import one_or_many
from localprobe.serve.resolve import of_field
from localprobe.serve.stream import Chunks, Piece, collected, streamed
from localprobe.serve.types import CompletionRequest, TextAnswer, TextChoice, TextLogprobs

MOST = 64  # answers of one request


async def complete_text(call: Call[CompletionRequest]) -> TextAnswer | Response:
    body, settings = call.body, call.settings
    told = "prompt is a text, a list of texts, token ids, or a list of lists of ids"
    prompts = one_or_many(body.prompt, ApiError(400, told, param="prompt"))
    if len(prompts) * (body.n or 1) > MOST:
        raise ApiError(400, f"{len(prompts)} prompts with n {body.n or 1}: at most {MOST} answers a request", param="n")
    order = Order.of(
        call,
        lambda model: of_field("prompt", lambda: [encode_prompt(model, prompt) for prompt in prompts]),
        default=call.host.default,
        prompts=len(prompts),
        texts=body.logprobs is not None,
        top=body.logprobs or 0,
    )
    answering = Answering(call.host.hosted(body.model), order, new_id("cmpl"))
    chunks = _Chunks(answering, usage=bool(body.stream) and body.tells_usage)
    if body.stream:
        return await streamed(call, chunks)
    answers = await unless_gone(call.request, collected(answering, settings.deadline))
    whole = chunks.chunk([chunks.choice(index, answer) for index, answer in enumerate(answers)])
    whole.usage, whole.localprobe = answering.usage, answering.facts.applied
    return whole


def encode_prompt(model: Model, prompt: str | list[int]) -> PromptText:
    """A prompt as it is. UsageError if it is empty or too long, or holds an id that the model has not."""
    if isinstance(prompt, str):
        if not prompt.strip():
            raise UsageError("the prompt is empty")
        check_text("the prompt", prompt)
        encoded = PromptText(model.engine.encode(prompt), prompt, prompt)
    else:
        if not prompt:
            raise UsageError("the prompt is empty: it has no ids")
        if max(prompt) >= model.info.vocabulary:
            raise UsageError(f"id {max(prompt)} is out of range: {model.info.model} has {model.info.vocabulary} ids")
        encoded = PromptText(np.array(prompt, dtype=np.int32), "", f"ids {prompt}")
    check_prompt_length(model.info, encoded.ids)
    return encoded


class _Chunks(Chunks[TextChoice, TextAnswer]):
    """Chunks, or the one whole answer, which has the same form."""

    def __init__(self, answering: Answering, *, usage: bool) -> None:
        super().__init__(answering, TextAnswer, usage=usage)
        self._length: dict[int, int] = {}  # characters of each answer's tokens so far

    def choice(self, index: int, piece: Piece) -> TextChoice:
        logprobs = self._logprobs(index, piece.tokens) if piece.tokens else None
        ids = self.answering.ids(piece.tokens)
        return TextChoice(index, piece.text, piece.finish, logprobs, piece.extra or UNSET, ids)

    def _logprobs(self, index: int, tokens: Sequence[Token]) -> TextLogprobs | None:
        """The log-probabilities of tokens; an offset counts the characters of the tokens before."""
        order, known = self.answering.order, self.answering.texts
        if not order.texts:
            return None
        texts = [known[token.id] for token in tokens]
        *offsets, end = accumulate(map(len, texts), initial=self._length.get(index, 0))
        self._length[index] = end
        likely = [{known[other]: logprob for other, logprob in token.top} for token in tokens]
        return TextLogprobs(texts, [token.logprob for token in tokens], likely if order.top else None, offsets)


ENDPOINTS = [
    Endpoint(
        "POST",
        "/v1/completions",
        complete_text,
        "Continue texts, steered or not",
        body=CompletionRequest,
        answer=TextAnswer,
        gives=("text/event-stream",),
        errors=(404, 429, 503, 504),
    )
]
