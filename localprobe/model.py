"""A loaded model, used by names instead of paths, text instead of ids and doses instead of alphas.

    with Model.load("smollm2-135m") as model:
        residuals = model.pooled(texts, layers=[12])
        answer = model.answer("What do you do?", steer=vector, dose=0.25)
        print(answer, answer.scores)

Everything runs on one engine, in this process or, with `remote=True`, in a child process.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import ClassVar, TypeAlias

import numpy as np

from localprobe.capture.residuals import Captured, Text, capture, pooled
from localprobe.capture.scale import residual_mean, residual_scale
from localprobe.chat_ids import encode_chat
from localprobe.chat_template import Message, render
from localprobe.checks import check_prompt_length, check_text
from localprobe.engine import Engine, FloatArray, Info, IntArray, LoadOptions, Row, Sampler, Steering, Watch
from localprobe.engines.loading import Loader, Stage
from localprobe.engines.spec import ModelSpec
from localprobe.errors import UsageError
from localprobe.generation.answer import Answer, collect
from localprobe.generation.conversation import Conversation
from localprobe.generation.decode import Request, generate
from localprobe.generation.events import Event
from localprobe.generation.place import PromptPlace
from localprobe.generation.request import random_key
from localprobe.lens.logit_lens import lens
from localprobe.lens.result import Lens
from localprobe.progress import Progress, silent
from localprobe.steering import knob, resolve
from localprobe.steering.expression import Expression
from localprobe.steering.gates import Alarm
from localprobe.steering.knob import Knob
from localprobe.steering.resolve import Find
from localprobe.steering.scoring import Scoring, watched
from localprobe.suggest import shown
from localprobe.vectors.library import Library
from localprobe.vectors.vector import Vector

Steer: TypeAlias = Vector | str | Path | Expression | Knob | Sequence[Knob] | None
"""What steers answers: a vector, its file or its name in the library, with a strength; a steering expression, as text
or parsed; knobs; None for no steering."""


class Model:
    """A model on an engine. Use it as a context manager, or `close` it."""

    served: ClassVar[bool] = False
    """Whether it runs on a server, which only answers and captures: nothing can be fitted or taken apart on it."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @classmethod
    def load(
        cls,
        name: str,
        engine: str | None = None,
        options: LoadOptions | None = None,
        *,
        remote: bool = False,
        check: bool = True,
        progress: Progress = silent,
    ) -> Model:
        """Load a model by short name, Hugging Face id, folder or GGUF file.

        `engine` None takes the best one installed that can load it. `remote` runs it in a child process. `check` runs
        the canary, a short test of capture and steering, unless it passed before for these weights and versions.
        `progress` is called when each stage of the load begins, with 0 of 0 bytes, and while bytes are downloaded,
        converted or hashed. Raises ModelError, EngineError (CanaryFailed if the canary fails) or UsageError.
        """

        def report(stage: Stage) -> None:
            progress(stage.name, stage.done, stage.total)

        spec = ModelSpec(name, engine, options or LoadOptions())
        return cls(Loader(spec, remote=remote, check=check, report=report).load())

    @property
    def info(self) -> Info:
        """What was loaded: model, engine, device and sizes."""
        return self.engine.info

    @cached_property
    def scale(self) -> FloatArray:
        """Median residual length of each layer, (layers,): the unit of a dose."""
        return residual_scale(self.engine)

    @cached_property
    def neutral_mean(self) -> FloatArray:
        """Mean residual of each layer over neutral text, (layers, width): what mean ablation restores."""
        return residual_mean(self.engine)

    def ids(self, prompt: str, *, system: str = "", raw: bool = False) -> IntArray:
        """Ids of a prompt, (n,) int32: one user message in the model's chat template, or, if `raw`, the text as it is.

        Raises UsageError if it is empty or leaves no room in the context for an answer.
        """
        if not prompt.strip():
            raise UsageError("the prompt is empty")
        check_text("the prompt", system, prompt)
        if raw:
            ids = self.engine.encode(f"{system}\n\n{prompt}" if system else prompt)
        else:
            messages = [Message("system", system)] if system else []
            ids = encode_chat(self.engine, render(self.info, [*messages, Message("user", prompt)]))
        check_prompt_length(self.info, ids)
        return ids

    def layers(self, layers: Sequence[int] | None = None) -> list[int]:
        """The given layers (negative ones count from the end), or all. Raises UsageError for one out of range."""
        if layers is None:
            return list(range(self.info.layers))
        for layer in layers:
            if not -self.info.layers <= layer < self.info.layers:
                last = self.info.layers - 1
                raise UsageError(f"layer {layer} is out of range: {self.info.model} has layers 0 to {last}")
        return [layer % self.info.layers for layer in layers]

    def capture(
        self,
        texts: Iterable[Text],
        layers: Sequence[int] | None = None,
        pooling: str = "mean",
        *,
        limit: int | None = None,
    ) -> Iterator[Captured]:
        """Residuals of texts as a stream, see `localprobe.capture.residuals.capture`."""
        return capture(self.engine, texts, self.layers(layers), pooling, limit=limit)

    def pooled(
        self,
        texts: Sequence[Text],
        layers: Sequence[int] | None = None,
        pooling: str = "mean",
        *,
        limit: int | None = None,
    ) -> FloatArray:
        """Residuals of texts in their order, (texts, layers, width) float32."""
        return pooled(self.engine, texts, self.layers(layers), pooling, limit=limit)

    def scores(self, ids: IntArray, watch: Watch, steering: Steering = ()) -> FloatArray:
        """Projection of every token of a row, (n,) float32."""
        residuals = self.engine.forward([Row(ids, steering)], [watch.layer])[0].residuals[0]  # (n, width)
        return np.asarray(residuals @ watch.vector, dtype=np.float32)

    def lens(
        self,
        text: Text | IntArray,
        *,
        vector: Vector | str | Path | None = None,
        layer: int | None = None,
        layers: Sequence[int] | None = None,
        top: int = 5,
        limit: int | None = None,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Lens:
        """The logit lens: the `top` most likely next tokens after each of `layers` (all if None) and each token of a
        text, or of ids such as `ids` gives; see `localprobe.lens.logit_lens.lens`.

        `vector`, or its file or name in the library, scores every token too, at `layer` (its own choice if None).
        """
        if isinstance(vector, str | Path):
            vector = self.find(vector)
        numbers = self.layers(layers)
        return lens(self.engine, text, numbers, vector=vector, at=layer, top=top, limit=limit, progress=progress)

    def knob(
        self,
        vector: Vector,
        *,
        layer: int | None = None,
        alpha: float | None = None,
        dose: float | None = None,
        positions: str = "all",
    ) -> Knob:
        """A knob for this model, its strength given as alpha or as a dose. Raises UsageError or VectorError.

        A dose is in residual lengths of this model (`scale`), not in those that the vector's file records.
        """
        strength = knob.strength(alpha, dose)
        vector = self._within(vector)
        layer = vector.layer(layer)
        if dose is not None:
            strength = vector.directions[layer].alpha(strength, float(self.scale[layer]))
        return Knob(vector, layer, strength, positions)

    def knobs(
        self,
        vector: Vector,
        *,
        layer: int | None = None,
        alpha: float | None = None,
        dose: float | None = None,
        positions: str = "all",
    ) -> list[Knob]:
        """The knobs of a vector: one at `layer`, or at the vector's best layer. A control vector that has no best layer
        is used whole, one knob per layer, and needs an alpha: UsageError for a dose, which is of one layer."""
        vector = self._within(vector)
        if layer is not None or vector.best is not None:
            return [self.knob(vector, layer=layer, alpha=alpha, dose=dose, positions=positions)]
        if alpha is None:
            vector.layer(None)  # raises: a dose is of one layer
        return [self.knob(vector, layer=b, alpha=alpha, positions=positions) for b in sorted(vector.directions)]

    def steering(self, expression: Expression | str, *, find: Find | None = None) -> list[Knob]:
        """The knobs of a steering expression (docs/steering-language.md), such as `ablate refusal` or
        `-0.1 formality @18 response when confident > fpr 0.01`.

        Vectors are looked up in the library and as files, unless `find` does it. Raises UsageError in one line, with
        the column; warns of a vector that was made for another model.
        """
        return resolve.knobs(expression, self, find or self.find)

    def alarm(self, condition: str, *, find: Find | None = None) -> Alarm:
        """The alarm of a condition such as `refusal > fpr 0.01`, or of a probe alone, at its 1 % threshold."""
        return resolve.alarm(condition, self, find or self.find)

    def find(self, name: str | Path) -> Vector:
        """The vector of a file, or of a name in the library for this model. VectorError if there is none."""
        return Library().vector(name, self.info)

    def _within(self, vector: Vector) -> Vector:
        return vector.within(self.info.model, self.info.layers, self.info.width)

    def answer(
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
    ) -> Answer:
        """Answer a prompt, steered or not; `str` of the answer is its text, and every token has a score.

        `steer` is a steering expression such as `"0.2 empathy @18 response; ablate refusal"`
        (docs/steering-language.md). Or it is a vector, its file or its name in the library, with its strength as `dose`
        (residual lengths of this model; 0.25 is strong) or as `alpha`, at `layer` (the vector's own choice if None) and
        `positions` (`all`, `prompt`, `response`, ...); or one or more knobs, which hold all of that.

        A token's score is the projection of its residual on the steered direction at the steered layer, in residual
        units, so it includes what steering adds (`Answer.midpoint`). Of several knobs, the last one's direction counts.
        `watch` scores by another vector at its own layer, or by any projection, for example some layers above.

        `alarms` are conditions such as `refusal > fpr 0.01`: `Answer.alerts` lists the tokens where they hold, and
        `Answer.gates` when conditions of the steering began and ceased to hold.

        `raw` continues the prompt without the chat template. `sampler` takes the place of `temperature`; `tokens` is
        the most to generate. The same seed gives the same answer, the one of `localprobe steer --seed`. Raises
        UsageError or VectorError; warns if the vector was made for another model.
        """
        return self.answers(
            [prompt],
            steer=steer,
            dose=dose,
            alpha=alpha,
            layer=layer,
            positions=positions,
            watch=watch,
            system=system,
            raw=raw,
            temperature=temperature,
            sampler=sampler,
            tokens=tokens,
            seed=seed,
            alarms=alarms,
        )[0]

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
        """Answer many prompts, in batches; options as of `answer`. A prompt given n times gets n different answers.

        A `Request` is generated as it is: the steering and sampling options apply to texts only.
        """
        encoded = [self.ids(p, system=system, raw=raw) if isinstance(p, str) else p.ids for p in prompts]
        knobs = self._knobs(steer, layer=layer, alpha=alpha, dose=dose, positions=positions)  # may measure the scale
        sampler = sampler or Sampler(temperature=temperature)
        requests, repeats = [], Counter[str]()
        for prompt, ids in zip(prompts, encoded, strict=True):
            if isinstance(prompt, str):
                key = random_key(seed, repeats[prompt])
                repeats[prompt] += 1
                requests.append(Request(ids, self._steering(knobs, ids, prompt), sampler, key, tokens))
            else:
                requests.append(prompt)
        scoring = Scoring.by(watch, knobs)
        told = self._alarms(alarms)
        if scoring is None:
            return collect(self.generate(requests, alarms=told), len(requests))
        events = self.generate(requests, [scoring.watch], alarms=told)
        return collect(events, len(requests), scoring.midpoint, scoring.reach)

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
        chosen, key = sampler or Sampler(temperature=temperature), random_key(seed)
        request = self.request(prompt, knobs, system=system, raw=raw, sampler=chosen, key=key, tokens=tokens)
        read = watched(watch, knobs)
        return self.generate([request], [read] if read else [], alarms=self._alarms(alarms))

    def _knobs(
        self, steer: Steer, *, layer: int | None, alpha: float | None, dose: float | None, positions: str
    ) -> list[Knob]:
        """The knobs that `steer` stands for; warns of vectors that may not work on this model."""
        if isinstance(steer, Expression) or (isinstance(steer, str) and (layer, alpha, dose) == (None, None, None)):
            if positions != "all":
                raise UsageError("`positions` is for a vector: write it into the steering expression")
            return self.steering(steer)
        if isinstance(steer, str | Path):
            steer = self.find(steer)
        if isinstance(steer, Vector):
            knobs = self.knobs(steer, layer=layer, alpha=alpha, dose=dose, positions=positions)
        elif (layer, alpha, dose) == (None, None, None):
            knobs = _listed(steer)
        else:
            raise UsageError("`dose`, `alpha` and `layer` are for a vector: give one as `steer`")
        notices = [line for turned in knobs for line in turned.vector.check_compatible(self.info)]
        if dose is not None:
            notices += knobs[0].vector.check_scale(self.scale, [turned.layer for turned in knobs])
        for line in dict.fromkeys(notices):
            warnings.warn(line, stacklevel=4)
        return knobs

    def _alarms(self, alarms: Sequence[Alarm | str]) -> list[Alarm]:
        if isinstance(alarms, str | Alarm):
            alarms = [alarms]
        return [alarm if isinstance(alarm, Alarm) else self.alarm(alarm) for alarm in alarms]

    def request(
        self,
        prompt: str,
        knobs: Sequence[Knob] = (),
        *,
        system: str = "",
        raw: bool = False,
        sampler: Sampler | None = None,
        key: str = "0",
        tokens: int = 200,
        stops: tuple[str, ...] = (),
    ) -> Request:
        """A request for `generate` or `answers`, from a prompt and knobs."""
        ids = self.ids(prompt, system=system, raw=raw)
        return Request(ids, self._steering(knobs, ids, prompt), sampler or Sampler(), key, tokens, stops)

    def _steering(self, knobs: Sequence[Knob], ids: IntArray, prompt: str) -> Steering:
        """The terms of knobs for a prompt of these ids, whose own words are `prompt`."""
        return knob.steering(knobs, PromptPlace.of(self.engine, ids, message=prompt))

    def generate(
        self, requests: Sequence[Request], watch: Sequence[Watch] = (), *, alarms: Sequence[Alarm] = ()
    ) -> Iterator[Event]:
        """Generate answers in batches; see `localprobe.generation.decode.generate`."""
        return generate(self.engine, requests, watch, alarms=alarms)

    def conversation(self, system: str = "", watch: Sequence[Watch] = ()) -> Conversation:
        """A new chat, which keeps its messages and what the engine computed for them."""
        return Conversation(self.engine, system, watch)

    def close(self) -> None:
        """Free the model."""
        self.engine.close()

    def __repr__(self) -> str:
        info = self.info
        shape = f"{info.layers} layers of width {info.width}, {info.quantisation or info.dtype}"
        return f"<Model {info.model} on {info.engine}: {shape}, {info.place}>"

    def __enter__(self) -> Model:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _listed(steer: Knob | Sequence[Knob] | None) -> list[Knob]:
    """Knobs as a list. UsageError for what steers nothing, as Python code may pass it."""
    if steer is None or isinstance(steer, Knob):
        return [] if steer is None else [steer]
    knobs = list(steer) if isinstance(steer, Iterable) else [steer]
    if not all(isinstance(each, Knob) for each in knobs):
        raise UsageError(
            f"`steer` is {shown(steer)}: give a steering expression, a vector, its name or path, or knobs "
            "(several expressions are one, with ';' between them)"
        )
    return knobs
