"""What the three engines are measured by: the same capture, the same steered and watched answer."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from localprobe.engine import Row, Sampler, Watch
from localprobe.generation.decode import Decoding
from localprobe.generation.events import Token
from localprobe.model import Model
from localprobe.steering.positions import term

TOKENS = 96
LAYER = 15


def load(engine: str) -> Model:
    """The bundled model on an engine, in this process."""
    return Model.load("smollm2-135m", engine)


def capture(model: Model, ids: np.ndarray) -> Callable[[], None]:
    """Mean-pooled residuals of a batch at LAYER."""
    rows = [Row(row, spans=((0, len(row)),)) for row in ids]
    return lambda: _drop(model.engine.forward(rows, [LAYER]))


def answer(model: Model, prompt: str) -> Callable[[], float]:
    """Seconds a token of one stream, steered at LAYER and watched above it: from the first token to the last.

    The pass that a watched answer gets after its last token, for the score of that one, is not a token and not counted.
    """
    v = np.random.default_rng(0).standard_normal(model.info.width).astype(np.float32)
    v /= np.linalg.norm(v)
    steering = (term(LAYER, v, 0.05 * float(model.scale[LAYER])),)
    watch = [Watch(LAYER + 3, v)]

    def seconds() -> float:
        request = model.request(prompt, sampler=Sampler(temperature=0.7), key="bench", tokens=TOKENS)
        steered = type(request)(request.ids, steering, request.sampler, request.key, request.tokens)
        decoding = Decoding(model.engine, [steered], watch)
        try:
            times = []
            while not decoding.done:
                if any(isinstance(event, Token) for event in decoding.step()):
                    times.append(time.perf_counter())
            return (times[-1] - times[0]) / (len(times) - 1)
        finally:
            decoding.close()

    return seconds


def _drop(_: object) -> None:
    return None
