"""A model on a server, with what a loaded model offers as far as the server's API goes."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from localprobe.capture.residuals import Captured, Text
from localprobe.checks import check_text
from localprobe.client.answers import CHAT, TEXT, Answering, Asked, messages
from localprobe.client.conversation import RemoteConversation
from localprobe.client.described import info_of
from localprobe.client.elsewhere import Elsewhere
from localprobe.client.expressions import expression_of
from localprobe.client.residuals import captured
from localprobe.client.server import Server
from localprobe.client.vectors import ServerVectors
from localprobe.engine import FloatArray, Info, Sampler, Watch
from localprobe.errors import LocalprobeWarning, UsageError, caught_warnings
from localprobe.generation.answer import Answer, AnswerBuilder
from localprobe.generation.decode import Request
from localprobe.generation.events import Event
from localprobe.model import Model, Steer
from localprobe.steering import resolve
from localprobe.steering.expression import Expression
from localprobe.steering.gates import Alarm
from localprobe.steering.knob import Knob
from localprobe.steering.resolve import Find
from localprobe.steering.scoring import Scoring, watched
from localprobe.vectors import files
from localprobe.vectors.library import is_path
from localprobe.vectors.vector import Vector

_AT_ONCE = 16  # requests that are sent at a time
_MOST = 8  # answers to one prompt in a request


class RemoteModel(Model):
    """A model on a server. What needs its engine (probing, sweeps, the lens) raises UsageError.

    Names of vectors are those of the server. A vector that is given as an object or as a file is uploaded where the
    server lacks it, which it must allow (`--allow-upload`); VectorError otherwise. `steer` None steers nothing,
    whatever the server's default is: give `model.default` for that.
    """

    served: ClassVar[bool] = True

    def __init__(self, server: Server, described: dict[str, Any]) -> None:
        """`described` is what the server says of the model, from `GET /v1/models/NAME`."""
        info, scale = info_of(described, server.url)
        super().__init__(Elsewhere(info, server.at, server.close))
        self.server = server
        self.kept = ServerVectors(server, info)
        """The server's vectors, by name and by content."""
        self.scale: FloatArray = scale

    @property
    def default(self) -> str:
        """The steering of requests that name none; empty if nothing steers them."""
        return str(self.server.get("/v1/steering").get("steering") or "")

    def models(self) -> list[str]:
        """The models of the server that can answer."""
        return self.server.models()

    def vectors(self) -> list[dict[str, Any]]:
        """What the server says of each vector that it keeps: `id`, `concept`, `layers`, ..."""
        return self.kept.listed()

    def vector(self, name: str) -> Vector:
        """The vector of a name. VectorError if the server has none."""
        return self.kept.named(name)

    def upload(self, vector: Vector, name: str = "") -> str:
        """Keep a vector on the server, under its concept or another name; returns the name. It replaces one of that
        name for the same weights. UsageError or VectorError if the server refuses it."""
        return self.kept.upload(vector, name)

    def find(self, name: str | Path) -> Vector:
        """The vector of a name on the server, or of a file of this machine."""
        return files.load(Path(name)) if is_path(name) else self.vector(str(name))

    def steering(self, expression: Expression | str, *, find: Find | None = None) -> list[Knob]:
        """The knobs of a steering expression, as of `Model.steering`. The server resolves it again when it answers."""
        return resolve.knobs(expression, _Shape(self), find or self.find)

    def answers(
        self,
        prompts: Sequence[str | Request],
        *,
        steer: Steer = None,
        dose: float | None = None,
        alpha: float | None = None,
        layer: int | None = None,
        positions: str = "all",
        watch: Vector | Watch | None = None,
        system: str = "",
        raw: bool = False,
        temperature: float = 0.7,
        sampler: Sampler | None = None,
        tokens: int = 200,
        seed: int = 0,
        alarms: Sequence[Alarm | str] = (),
    ) -> list[Answer]:
        """Answer many prompts at a time; options and answers as of `Model.answers`, up to 8 answers to a prompt."""
        texts = [_text(prompt) for prompt in prompts]
        with caught_warnings() as warned:
            knobs = self._knobs(steer, layer=layer, alpha=alpha, dose=dose, positions=positions)
        scoring = Scoring.by(watch, knobs)
        chosen = sampler or Sampler(temperature=temperature)
        asked = self._asked(knobs, watch, alarms, chosen, seed=seed, tokens=tokens)
        path, counts = TEXT if raw else CHAT, Counter(texts)
        if counts and max(counts.values()) > _MOST:
            raise UsageError(f"a server gives at most {_MOST} answers to a prompt: take other seeds for more")
        requests = {
            text: Answering(self.server, replace(asked, answers=count), _prompt(text, system, raw), path)
            for text, count in counts.items()
        }
        shown = () if scoring is None else (scoring.midpoint, scoring.reach)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            built = dict(zip(requests, pool.map(_complete, requests.values()), strict=True))
        notices = [line for request in requests.values() for line in request.notices]
        for line in dict.fromkeys([*warned, *notices]):
            warnings.warn(line, LocalprobeWarning, stacklevel=2)
        left = {text: iter(rows) for text, rows in built.items()}
        return [next(left[text]).answer(*shown) for text in texts]

    def stream(
        self,
        prompt: str,
        *,
        steer: Steer = None,
        dose: float | None = None,
        alpha: float | None = None,
        layer: int | None = None,
        positions: str = "all",
        watch: Vector | Watch | None = None,
        system: str = "",
        raw: bool = False,
        temperature: float = 0.7,
        sampler: Sampler | None = None,
        tokens: int = 200,
        seed: int = 0,
        alarms: Sequence[Alarm | str] = (),
    ) -> Iterator[Event]:
        """The events of an answer while it is generated; options as of `answer`. Closing the iterator ends it."""
        knobs = self._knobs(steer, layer=layer, alpha=alpha, dose=dose, positions=positions)
        chosen = sampler or Sampler(temperature=temperature)
        asked = self._asked(knobs, watch, alarms, chosen, seed=seed, tokens=tokens)
        answering = Answering(self.server, asked, _prompt(_text(prompt), system, raw), TEXT if raw else CHAT)
        return _flat(answering)

    def capture(
        self,
        texts: Iterable[Text],
        layers: Sequence[int] | None = None,
        pooling: str = "mean",
        *,
        limit: int | None = None,
    ) -> Iterator[Captured]:
        """Residuals of texts as a stream, in their order; as of `Model.capture`."""
        return captured(self.server, self.info, texts, self.layers(layers), pooling, limit)

    def pooled(
        self,
        texts: Sequence[Text],
        layers: Sequence[int] | None = None,
        pooling: str = "mean",
        *,
        limit: int | None = None,
    ) -> FloatArray:
        """Residuals of texts in their order, (texts, layers, width) float32."""
        rows = [each.residuals for each in self.capture(texts, layers, pooling, limit=limit)]
        shape = (len(texts), len(self.layers(layers)), self.info.width)
        return np.array(rows, dtype=np.float32).reshape(shape)

    def conversation(self, system: str = "", watch: Sequence[Watch] = ()) -> RemoteConversation:
        """A new chat. It is sent whole with every turn; the server keeps what it can of what it computed."""
        return RemoteConversation(self.engine, self.kept, system, watch)

    def __repr__(self) -> str:
        info = self.info
        shape = f"{info.layers} layers of width {info.width}, {info.quantisation or info.dtype}"
        return f"<RemoteModel {info.model} at {self.server.at}: {shape}, {info.engine}, {info.device}>"

    def _asked(
        self,
        knobs: Sequence[Knob],
        watch: Vector | Watch | None,
        alarms: Sequence[Alarm | str],
        sampler: Sampler,
        *,
        seed: int,
        tokens: int,
    ) -> Asked:
        """What answers are asked for with, in the server's names."""
        told = [alarms] if isinstance(alarms, str | Alarm) else alarms
        return Asked(
            self.info.model,
            steering=expression_of(knobs, self.kept),
            probes=self._probes(knobs, watch),
            watch=tuple(alarm.name if isinstance(alarm, Alarm) else alarm for alarm in told),
            sampler=sampler,
            seed=seed,
            tokens=tokens,
        )

    def _probes(self, knobs: Sequence[Knob], watch: Vector | Watch | None) -> tuple[str, ...]:
        """The projection that scores an answer, if any, in the server's words."""
        if isinstance(watch, Watch):
            return (self.kept.probe_of(watch),)
        read = watched(watch, knobs)
        return () if read is None else (self.kept.probe(knobs[-1].vector if watch is None else watch, read.layer),)


class _Shape:
    """A served model as steering expressions are resolved on it. It has no neutral mean: the knobs of a mean ablation
    are only written as text again, and the server warns where an ablation removes the mean of all residuals."""

    def __init__(self, model: RemoteModel) -> None:
        self.info: Info = model.info
        self.scale: FloatArray = model.scale

    @property
    def neutral_mean(self) -> FloatArray:
        return np.zeros((self.info.layers, self.info.width), dtype=np.float32)


def _text(prompt: str | Request) -> str:
    if not isinstance(prompt, str):
        raise UsageError("a Request holds ids and terms of a model of this process: give a server texts")
    if not prompt.strip():
        raise UsageError("the prompt is empty")
    return prompt


def _prompt(text: str, system: str, raw: bool) -> Any:
    """A prompt as the body of a request has it."""
    check_text("the prompt", system, text)
    if raw:
        return f"{system}\n\n{text}" if system else text
    return messages(*([("system", system)] if system else []), ("user", text))


def _complete(answering: Answering) -> list[AnswerBuilder]:
    """All answers of a request."""
    rows = [AnswerBuilder() for _ in range(answering.count)]
    for events in answering.steps():
        for event in events:
            rows[event.row].take(event)
    return rows


def _flat(answering: Answering) -> Iterator[Event]:
    with closing(answering.steps()) as steps:
        for events in steps:
            yield from events
