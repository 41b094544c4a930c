"""`POST /v1/completions`: texts go on, without a chat template."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
from localprobe.serve.resolve import of_field
from localprobe.serve.stream import Events, Piece, chunked, collected
from localprobe.serve.types import CompletionRequest, TextAnswer, TextChoice, TextLogprobs

MOST = 64  # answers of one request


async def complete_text(call: Call[CompletionRequest]) -> TextAnswer | Response:
    body, settings = call.body, call.settings
    prompts = read_prompts(body.prompt)
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
    chunks = _Chunks(answering)
    if body.stream:
        steps = answering.steps(settings.deadline)
        first = await unless_gone(call.request, anext(steps))
        chunks.usage = body.stream_options is not None and bool(body.stream_options.include_usage)
        return Events(chunked(answering, steps, first, chunks.of, chunks.last if chunks.usage else None))
    answers = await unless_gone(call.request, collected(answering, settings.deadline))
    whole = chunks.chunk([chunks.choice(index, answer) for index, answer in enumerate(answers)])
    whole.usage, whole.localprobe = answering.usage, answering.facts.applied
    return whole


def read_prompts(prompt: str | Sequence[str | int | list[int]]) -> list[str | list[int]]:
    """The prompts of a body: a text, texts, ids, or lists of ids. ApiError 400 for none, and for a mixture."""
    if isinstance(prompt, str):
        return [prompt]
    ids = [part for part in prompt if isinstance(part, int)]
    if ids and len(ids) == len(prompt):
        return [ids]
    if ids or not prompt:
        raise ApiError(400, "prompt is a text, a list of texts, token ids, or a list of lists of ids", param="prompt")
    return [part for part in prompt if not isinstance(part, int)]


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


class _Chunks:
    """The chunks of a streamed answer, the first of which tells the steering; or the one whole answer."""

    def __init__(self, answering: Answering) -> None:
        self.usage = False
        self._answering = answering
        self._length: dict[int, int] = {}
        self._told = False

    def of(self, pieces: dict[int, Piece]) -> Iterator[TextAnswer]:
        """The chunks of one step."""
        for index, piece in pieces.items():
            chunk = self.chunk([self.choice(index, piece)])
            if not self._told:
                self._told, chunk.localprobe = True, self._answering.facts.applied
            yield chunk

    def last(self) -> TextAnswer:
        """The chunk that tells the usage."""
        chunk = self.chunk([])
        chunk.usage = self._answering.usage
        return chunk

    def chunk(self, choices: list[TextChoice]) -> TextAnswer:
        """A chunk with these choices."""
        answering = self._answering
        chunk = TextAnswer(answering.name, answering.created, answering.hosted.name, choices, answering.fingerprint)
        chunk.usage = None if self.usage else UNSET
        return chunk

    def choice(self, index: int, piece: Piece) -> TextChoice:
        """What an answer says more."""
        logprobs = self._logprobs(index, piece.tokens) if piece.tokens else None
        ids = self._answering.ids(piece.tokens)
        return TextChoice(index, piece.text, piece.finish, logprobs, piece.extra or UNSET, ids)

    def _logprobs(self, index: int, tokens: Sequence[Token]) -> TextLogprobs | None:
        """The log-probabilities of tokens; an offset counts the characters of the tokens before."""
        order, known = self._answering.order, self._answering.texts
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
