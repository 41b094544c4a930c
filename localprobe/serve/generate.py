"""From a request to answers: prepared and generated on the scheduler's thread, read on the event loop."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias, TypeVar

from msgspec import UNSET, UnsetType
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest

from localprobe.checks import check_steering
from localprobe.engine import IntArray, Sampler, Steering
from localprobe.generation.events import Event, Finished, Token
from localprobe.generation.gates import RowGates
from localprobe.generation.place import PromptPlace
from localprobe.generation.request import Request, random_key
from localprobe.model import Model
from localprobe.scheduling.job import Job, Prepared
from localprobe.serve import exchange
from localprobe.serve.endpoint import Call
from localprobe.serve.errors import ApiError, api_error
from localprobe.serve.hosted import Hosted
from localprobe.serve.resolve import Resolved, Wanted, noticing, of_field, read, resolve
from localprobe.serve.telling import TELLER
from localprobe.serve.types import Applied, CachedTokens, Generation, Usage
from localprobe.serve.unsupported import refuse_unsupported
from localprobe.steering import knob

T = TypeVar("T")
TEMPERATURE = 0.7
_COLDEST = 1e-4  # below it the most likely token is drawn anyway, and quotients overflow float32


@dataclass(frozen=True, slots=True, eq=False)
class PromptText:
    """A prompt, encoded."""

    ids: IntArray
    message: str
    """The user's own words in it, for conditions on the prompt."""
    key: str
    """Equal for prompts that are the same text."""


Encode: TypeAlias = Callable[[Model], Sequence[PromptText]]


@dataclass(frozen=True, slots=True, eq=False)
class Order:
    """What a request asks to be generated."""

    wanted: Wanted
    encode: Encode
    """Encodes the prompts, on the scheduler's thread."""
    prompts: int
    choices: int
    """Answers to each prompt."""
    sampler: Sampler
    tokens: int
    stops: tuple[str, ...]
    ids: bool
    """Whether the ids of the tokens are told."""
    seed: int | None
    texts: bool
    """Whether the text of each token is told, as log-probabilities need it."""
    top: int
    """How many of the most likely tokens are told at each place."""

    @classmethod
    def of(
        cls, call: Call[Generation], encode: Encode, *, default: str, prompts: int = 1, texts: bool, top: int
    ) -> Order:
        """What a body asks for, checked. ApiError 400."""
        body, settings = call.body, call.settings
        refuse_unsupported(body)
        wanted = read(body.steering, body.probes, body.watch, default=default, most=settings.terms)
        return cls(
            wanted,
            encode,
            prompts,
            body.n or 1,
            _sampler(body),
            min(body.limit or settings.default_tokens, settings.max_tokens),
            tuple(stop for stop in body.stops if stop),
            bool(body.return_token_ids),
            body.seed,
            texts,
            top,
        )

    @property
    def answers(self) -> int:
        """All of them: those to a prompt come after each other."""
        return self.prompts * self.choices


@dataclass(slots=True)
class Facts:
    """What is known of the prompts once they are prepared."""

    applied: Applied = field(default_factory=lambda: Applied(""))
    probes: tuple[str, ...] = ()
    prompt_tokens: int = 0


class Answering:
    """The answers of one request, while they are generated. It listens to the scheduler."""

    def __init__(self, hosted: Hosted, order: Order, name: str) -> None:
        """`name` is the answer's id, and names its random numbers if the request has no seed."""
        self.hosted, self.order, self.name = hosted, order, name
        self.created = int(time.time())
        """In seconds since 1970."""
        self.facts = Facts()
        self.texts: dict[int, str] = {}
        """The texts of single ids, as far as they were asked for."""
        self.tokens = 0
        """Tokens generated so far."""
        self._exchange = exchange.current()
        self._reused = 0
        self._job: Job | None = None
        self._place: PromptPlace | None = None  # of the last prompt
        self._drawn = 0  # tokens so far, on the scheduler's thread
        self._loop = asyncio.get_running_loop()
        self._arrived: asyncio.Queue[Sequence[Event] | Exception] = asyncio.Queue()

    async def steps(self, deadline: float) -> AsyncGenerator[Sequence[Event]]:
        """The events of each step, until all answers have finished. Closing it cancels them. Raises ApiError."""
        with self.hosted.in_use():
            try:
                job = self._job = self.hosted.scheduler.submit(self._prepare, self, deadline=deadline)
            except Exception as error:
                raise api_error(error) from error
            self.hosted.answering[self.name] = self
            left = self.order.answers
            try:
                while left:
                    arrived = await self._arrived.get()
                    if isinstance(arrived, Exception):
                        raise api_error(arrived) from arrived
                    self._count(arrived)
                    left -= sum(isinstance(event, Finished) for event in arrived)
                    self._reused = job.reused
                    yield arrived
            finally:
                self.hosted.answering.pop(self.name, None)
                job.cancel()

    async def turn(self, wanted: Wanted) -> tuple[int, Applied]:
        """Change the steering of the one answer from the next token on: the index of that token, and what is applied.
        ApiError if it cannot be done, and the answer goes on as it was."""
        if self.order.answers > 1:
            raise ApiError(409, "several answers are being generated: ask for one at a time to change its steering")
        return await self.hosted.run(partial(self._turn, wanted))

    def _turn(self, wanted: Wanted, model: Model) -> tuple[int, Applied]:
        if self._place is None or self._job is None or not self._drawn:
            raise ApiError(409, "the answer has not begun: change its steering after its first token")
        if self._job.over:
            raise ApiError(404, "the answer has ended", code="answer_not_found")
        with noticing() as notices:
            resolved = resolve(model, wanted)
            steering = _steering(model, resolved, self._place)
        self._job.steer(steering)
        resolved.applied.notices = list(notices)
        return self._drawn, resolved.applied

    def _count(self, events: Sequence[Event]) -> None:
        generated = sum(isinstance(event, Token) for event in events)
        self.tokens += generated
        self._exchange.generated(generated)

    @property
    def fingerprint(self) -> str:
        """What the same seed gives the same answer on."""
        info = self.hosted.info
        return f"{info.engine}-{info.weights[:12]}"

    def ids(self, tokens: Sequence[Token]) -> list[int] | UnsetType:
        """The ids of tokens, if they are asked for."""
        return [token.id for token in tokens] if self.order.ids else UNSET

    @property
    def usage(self) -> Usage:
        """Tokens so far."""
        prompt = self.facts.prompt_tokens
        return Usage(prompt, self.tokens, prompt + self.tokens, CachedTokens(self._reused))

    def events(self, events: Sequence[Event]) -> None:
        """See `localprobe.scheduling.job.Listener`."""
        self._drawn += sum(isinstance(event, Token) for event in events)
        if self.order.texts:
            for event in events:
                if isinstance(event, Token):
                    self._learn(event)
        self._tell(events)

    def failed(self, error: Exception) -> None:
        """See `localprobe.scheduling.job.Listener`."""
        self._tell(error)

    def _tell(self, arrived: Sequence[Event] | Exception) -> None:
        TELLER.tell(self._loop, self._arrived.put_nowait, arrived)

    def _learn(self, event: Token) -> None:
        for token in (event.id, *(other for other, _ in event.top)):
            if token not in self.texts:
                self.texts[token] = self.hosted.model.engine.decode([token])

    def _prepare(self) -> list[Prepared]:
        """The answers to generate; on the scheduler's thread."""
        order, model = self.order, self.hosted.model
        with noticing() as notices:
            resolved = resolve(model, order.wanted)
            prompts = order.encode(model)
            prepared, repeats = [], Counter[str]()
            for prompt in prompts:
                place = self._place = PromptPlace.of(model.engine, prompt.ids, message=prompt.message)
                steering = _steering(model, resolved, place)
                for _ in range(order.choices):
                    key = random_key(self.name if order.seed is None else order.seed, repeats[prompt.key])
                    repeats[prompt.key] += 1
                    request = Request(prompt.ids, steering, order.sampler, key, order.tokens, order.stops, order.top)
                    prepared.append(Prepared(request, resolved.watch, resolved.alarms))
        resolved.applied.notices = list(notices)
        tokens = sum(len(prompt.ids) for prompt in prompts)
        self.facts = Facts(resolved.applied, resolved.probes, tokens)
        self._exchange.prompted(tokens, steered=bool(resolved.knobs))
        return prepared


def _steering(model: Model, resolved: Resolved, place: PromptPlace) -> Steering:
    """The terms of a row, checked before the scheduler has them, so that an error names the field."""
    steering = of_field("steering", partial(knob.steering, resolved.knobs, place))
    of_field("steering", lambda: check_steering(model.info, RowGates(model.engine, steering).all_terms))
    return steering


def _sampler(body: Generation) -> Sampler:
    temperature = TEMPERATURE if body.temperature is None else body.temperature
    top_p = 1.0 if body.top_p is None else body.top_p
    return Sampler(temperature if temperature >= _COLDEST else 0.0, body.top_k or 0, top_p, body.min_p or 0.0)


async def unless_gone(request: HttpRequest, work: Awaitable[T]) -> T:
    """What `work` gives; cancelled, and ClientDisconnect, if the client goes before."""

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    working, waiting = asyncio.ensure_future(work), asyncio.ensure_future(gone())
    try:
        await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        for task in (working, waiting):
            task.cancel()
        await asyncio.gather(working, waiting, return_exceptions=True)


def new_id(prefix: str) -> str:
    """A new name of an answer."""
    return f"{prefix}-{uuid.uuid4().hex[:24]}"
