"""A loaded model as users know it: names instead of paths, text instead of ids, doses instead of alphas.

    with Model.load("smollm2-135m") as model:
        residuals = model.pooled(texts, layers=[12])
        knob = model.knob(vector, dose=0.25)
        for event in model.generate([model.request("What do you do?", [knob])]):
            ...

Everything runs on one engine, in this process or, with `remote=True`, in a child.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from types import TracebackType

import numpy as np

from localprobe.capture.residuals import Captured, capture, pooled
from localprobe.chat_template import Message, render
from localprobe.engine import Engine, FloatArray, Info, IntArray, LoadOptions, Row, Sampler, Steering, Watch
from localprobe.engines.loading import Loader, Stage
from localprobe.engines.spec import ModelSpec
from localprobe.errors import UsageError
from localprobe.generation.conversation import Conversation
from localprobe.generation.decode import Event, Request, generate
from localprobe.progress import Progress, silent
from localprobe.steering import dose, knob
from localprobe.steering.knob import Knob
from localprobe.vectors.vector import Vector


class Model:
    """A model on an engine. Use it as a context manager, or `close` it."""

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
        """What was loaded."""
        return self.engine.info

    @cached_property
    def scale(self) -> FloatArray:
        """Median residual length of every layer, (layers,): what a dose is measured in."""
        return dose.scale(self.engine)

    def ids(self, prompt: str, *, system: str = "", raw: bool = False) -> IntArray:
        """Ids of a prompt: as one user message by the model's chat template, or `raw`."""
        if not prompt.strip():
            raise UsageError("the prompt is empty")
        if raw:
            return self.engine.encode(f"{system}\n\n{prompt}" if system else prompt)
        messages = [Message("system", system)] if system else []
        return self.engine.encode(render(self.info, [*messages, Message("user", prompt)]), template=True)

    def layers(self, layers: Sequence[int] | None = None) -> list[int]:
        """The layers asked for (negative ones count from the end), or all; UsageError for one out of range."""
        if layers is None:
            return list(range(self.info.layers))
        for layer in layers:
            if not -self.info.layers <= layer < self.info.layers:
                last = self.info.layers - 1
                raise UsageError(f"layer {layer} is out of range: {self.info.model} has layers 0 to {last}")
        return [layer % self.info.layers for layer in layers]

    def capture(
        self,
        texts: Iterable[str],
        layers: Sequence[int] | None = None,
        pooling: str = "mean",
        *,
        limit: int | None = None,
    ) -> Iterator[Captured]:
        """Residuals of texts as a stream, see `localprobe.capture.residuals.capture`."""
        return capture(self.engine, texts, self.layers(layers), pooling, limit=limit)

    def pooled(
        self,
        texts: Sequence[str],
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

    def knob(
        self,
        vector: Vector,
        *,
        layer: int | None = None,
        alpha: float | None = None,
        dose: float | None = None,
        positions: str = "all",
    ) -> Knob:
        """A knob for this model, its strength given as alpha or as a dose. Raises UsageError or VectorError."""
        knob.strength(alpha, dose)
        vector.fit_to(self.info)
        chosen = vector.layer(layer)
        unturned = Knob(vector, chosen, alpha or 0.0, positions)
        if dose is None:
            return unturned
        return Knob(vector, chosen, dose * float(self.scale[chosen]) / unturned.length, positions)

    def knobs(
        self,
        vector: Vector,
        *,
        layer: int | None = None,
        alpha: float | None = None,
        dose: float | None = None,
        positions: str = "all",
    ) -> list[Knob]:
        """The knobs of a vector: one at the layer asked for or its best, or one for each layer of a control vector that
        is meant to be used whole. Such a vector has no one dose: UsageError unless an alpha is given."""
        if layer is not None or vector.best is not None:
            return [self.knob(vector, layer=layer, alpha=alpha, dose=dose, positions=positions)]
        if alpha is None:
            vector.layer(None)  # a dose is of one layer: this says which there are
        return [self.knob(vector, layer=b, alpha=alpha, positions=positions) for b in sorted(vector.directions)]

    def dose(self, turned: Knob) -> float:
        """The dose of a knob on this model: alpha * |v| / median |h| at its layer."""
        return turned.alpha * turned.length / float(self.scale[turned.layer])

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
        """One answer to ask for, from text and knobs."""
        ids = self.ids(prompt, system=system, raw=raw)
        return Request(ids, knob.steering(knobs, len(ids)), sampler or Sampler(), key, tokens, stops)

    def generate(self, requests: Sequence[Request], watch: Sequence[Watch] = ()) -> Iterator[Event]:
        """Generate answers, many at a time; see `localprobe.generation.decode.generate`."""
        return generate(self.engine, requests, watch)

    def conversation(self, system: str = "", watch: Sequence[Watch] = ()) -> Conversation:
        """Begin a chat."""
        return Conversation(self.engine, system, watch)

    def close(self) -> None:
        """Free the model."""
        self.engine.close()

    def __enter__(self) -> Model:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
