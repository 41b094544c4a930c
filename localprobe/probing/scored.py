"""The scores of the tokens of texts and of a model's own answers: only the scores are kept, never the residuals."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import count

import numpy as np

from localprobe.capture.job import Amount
from localprobe.capture.residuals import Text, capture, encode, words_of
from localprobe.chat_template import Exchange
from localprobe.engine import FloatArray, Sampler, Watch
from localprobe.generation.answer import AnswerBuilder
from localprobe.generation.events import Finished, Score
from localprobe.generation.request import random_key
from localprobe.model import Model
from localprobe.probing.config import TOKEN_LIMIT

Progress = Callable[[Amount], None]
Scores = list[FloatArray]
"""(watches, n) float32 of each text: the projection of every scored token on each watched direction."""


def of_texts(model: Model, texts: Sequence[Text], watches: Sequence[Watch], progress: Progress) -> Scores:
    """Scores of texts, cut to TOKEN_LIMIT tokens (within chats, to the context). The first token of a text is an
    attention sink and not scored; of an `Exchange` only the tokens of the answer are. A text of one token has none."""
    layers = list(dict.fromkeys(watch.layer for watch in watches))
    chats = any(isinstance(text, Exchange) for text in texts)
    limit = model.info.context if chats else TOKEN_LIMIT
    order = sorted(range(len(texts)), key=lambda i: -_length(texts[i]))  # too long a text tells so at once
    found: Scores = [_none(watches)] * len(texts)
    tokens, begun = 0, time.perf_counter()
    for done, captured in zip(
        count(1), capture(model.engine, [texts[i] for i in order], layers, "tokens", limit=limit), strict=False
    ):
        i = order[captured.index]
        text = texts[i]
        first = encode(model.engine, text, i, limit).answer if isinstance(text, Exchange) else 1
        found[i] = _projected(captured.residuals[:, first:], layers, watches)
        tokens += len(captured.ids)
        seconds = time.perf_counter() - begun
        progress(Amount(done, len(texts), tokens, seconds, None))
    return found


def of_answers(
    model: Model,
    questions: Sequence[str],
    watches: Sequence[Watch],
    progress: Progress,
    *,
    tokens: int,
    temperature: float,
    seed: int,
) -> Scores:
    """Scores of the model's answers to questions, of at most `tokens` tokens each. A question that comes again is
    answered in another way. The tokens of the prompt and of the chat template are not scored."""
    sampler, seen = Sampler(temperature=temperature), dict.fromkeys(questions, 0)
    requests = []
    for question in questions:
        key = random_key(seed, seen[question])
        requests.append(model.request(question, sampler=sampler, key=key, tokens=tokens))
        seen[question] += 1
    builders = [AnswerBuilder() for _ in requests]
    scored, done, begun = 0, 0, time.perf_counter()
    for event in model.generate(requests, watches):
        builders[event.row].take(event)
        scored += isinstance(event, Score)
        if isinstance(event, Finished):
            done += 1
            progress(Amount(done, len(requests), scored, time.perf_counter() - begun, None))
    return [builder.projections.T if len(builder.ids) else _none(watches) for builder in builders]


def _projected(residuals: FloatArray, layers: Sequence[int], watches: Sequence[Watch]) -> FloatArray:
    """(watches, n) float32 of residuals (layers, n, width)."""
    rows = [residuals[layers.index(watch.layer)] @ watch.vector for watch in watches]
    return np.array(rows, dtype=np.float32).reshape(len(watches), -1)


def _none(watches: Sequence[Watch]) -> FloatArray:
    return np.empty((len(watches), 0), dtype=np.float32)


def _length(text: Text) -> int:
    return len(words_of(text))
