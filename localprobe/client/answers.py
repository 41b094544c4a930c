"""Answers of a server as the events of `localprobe.generation.events`."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from localprobe.checks import check_sampler
from localprobe.client.errors import unreadable
from localprobe.client.server import Server
from localprobe.engine import Sampler
from localprobe.errors import UsageError
from localprobe.generation.events import Alert, Event, Finished, GateChange, Reason, Score, Token
from localprobe.serve.types import ChatChunk, ChunkChoice, Extra, TextAnswer, TextChoice

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
_NUMBERED = re.compile(r"seed (-?\d{1,18})")
_ENDS: dict[str, Reason] = {"stop": "end", "length": "length"}  # where the server does not say it more exactly


@dataclass(frozen=True, slots=True)
class Asked:
    """What an answer is asked for with, besides its prompt."""

    model: str
    steering: str = ""
    """An expression in the server's names; empty steers nothing."""
    probes: tuple[str, ...] = ()
    """What tokens are scored by: `NAME@LAYER`."""
    watch: tuple[str, ...] = ()
    """Conditions of alarms."""
    sampler: Sampler = field(default_factory=Sampler)
    seed: int = 0
    tokens: int = 200
    """The most tokens of the answer."""
    stops: tuple[str, ...] = ()
    answers: int = 1
    """How many answers to the same prompt; each draws its own random numbers."""

    def body(self, path: str, prompt: Any) -> dict[str, Any]:
        """The body of a request: `prompt` is a text for `TEXT`, and a list of messages for `CHAT`."""
        sampler = self.sampler
        check_sampler(sampler)  # JSON has no nan to ask the server with
        return {
            "model": self.model,
            **({"messages": prompt, "logprobs": True} if path == CHAT else {"prompt": prompt, "logprobs": 0}),
            "stream": True,
            "stream_options": {"include_usage": True},
            "return_token_ids": True,
            "steering": self.steering,
            "probes": list(self.probes),
            "watch": list(self.watch),
            "temperature": sampler.temperature,
            "top_k": sampler.top_k,
            "top_p": sampler.top_p,
            "min_p": sampler.min_p,
            "seed": self.seed,
            "max_tokens": self.tokens,
            "n": self.answers,
            **({"stop": list(self.stops)} if self.stops else {}),
        }


class Answering:
    """The answers to one request, while they arrive."""

    def __init__(self, server: Server, asked: Asked, prompt: Any, path: str = CHAT) -> None:
        self.notices: tuple[str, ...] = ()
        """Lines about the steering for the user, once the first events have come."""
        self.id = ""
        """What the server calls it, once the first events have come."""
        self.prompt = 0
        """Tokens of the prompt, once the answer is complete."""
        self.reused = 0
        """Those of them that the server had in its cache."""
        self.count = asked.answers
        """How many answers there are."""
        self._server, self._path, self._probes = server, path, asked.probes
        self._body = asked.body(path, prompt)
        self._counted: Counter[int] = Counter()  # tokens of each answer so far

    def steps(self) -> Generator[list[Event]]:
        """The events as they arrive, `row` being the index of the answer. Closing it ends the answers at the server.
        Raises what the server answers, and EndpointError if it is gone."""
        kind: type[ChatChunk | TextAnswer] = ChatChunk if self._path == CHAT else TextAnswer
        with self._server.events(self._path, self._body) as events:
            for event in events:
                try:
                    chunk = msgspec.convert(event, kind)
                except msgspec.ValidationError as error:
                    raise unreadable(self._server.url, str(error)) from error
                yield self._step(chunk)

    def turn(self, steering: str) -> int:
        """Change the steering of the answer from the next token on, whose index is returned. Raises what the server
        answers."""
        if not self.id:
            raise UsageError("the answer has not begun")
        answered = self._server.post(f"/v1/answers/{self.id}/steering", {"steering": steering})
        return int(answered["token"])

    def _step(self, chunk: ChatChunk | TextAnswer) -> list[Event]:
        self.id = chunk.id
        if chunk.localprobe is not msgspec.UNSET:
            self.notices = tuple(chunk.localprobe.notices)
        if usage := chunk.usage or None:
            self.prompt, self.reused = usage.prompt_tokens, usage.prompt_tokens_details.cached_tokens
        return [event for choice in chunk.choices for event in self._events(choice)]

    def _events(self, choice: ChunkChoice | TextChoice) -> Iterator[Event]:
        row, ids, logprobs = choice.index, choice.token_ids or [], _logprobs(choice)
        text = (choice.delta.content or "") if isinstance(choice, ChunkChoice) else choice.text
        for id_, logprob in zip(ids, logprobs, strict=False):
            yield Token(row, self._counted[row], id_, text, logprob)
            self._counted[row] += 1
            text = ""
        if choice.localprobe is not msgspec.UNSET:
            yield from self._more(row, choice.localprobe)
        if choice.finish_reason is not None:
            said = choice.localprobe.reason if choice.localprobe is not msgspec.UNSET else None
            yield Finished(row, said or _ENDS[choice.finish_reason], text)

    def _more(self, row: int, extra: Extra) -> Iterator[Event]:
        """Scores, gates and alerts of tokens that have come."""
        for score in extra.scores:
            values = [score.get(probe, np.nan) for probe in self._probes]
            if values and 0 <= (token := int(score["token"])) < self._counted[row]:
                yield Score(row, token, np.array(values, dtype=np.float32))
        for gate in extra.gates:
            yield GateChange(row, gate.token, gate.gate, gate.open, gate.score)
        for alert in extra.alerts:
            yield Alert(row, alert.token, alert.probe, alert.score, alert.threshold)


def seed_of(key: str) -> int:
    """The seed whose random numbers are those of `seed N`; for other names of random numbers one that is theirs."""
    if numbered := _NUMBERED.fullmatch(key):
        return int(numbered[1])
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:6], "big")


def messages(*said: tuple[str, str]) -> list[Mapping[str, str]]:
    """(role, content) of a conversation, as the API has them."""
    return [{"role": role, "content": content} for role, content in said]


def _logprobs(choice: ChunkChoice | TextChoice) -> Sequence[float]:
    """The log-probability of each token that came with a choice."""
    if choice.logprobs is None:
        return ()
    if isinstance(choice, ChunkChoice):
        return [token.logprob for token in choice.logprobs.content] if choice.logprobs else ()
    return choice.logprobs.token_logprobs
