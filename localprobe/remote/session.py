"""The verbs of a child process. Every public method of `Session` is a verb, and both ends take the types of their
messages from its signature.
"""

from __future__ import annotations

from importlib import import_module
from types import GenericAlias
from typing import Any, get_type_hints

import numpy as np
from numpy.typing import NDArray

from localprobe import discovery
from localprobe.engine import (
    Backend,
    Engine,
    FloatArray,
    Held,
    Info,
    IntArray,
    LoadOptions,
    Output,
    Prompt,
    Reserve,
    Row,
    Steering,
    Step,
    Stream,
    Watch,
    Weights,
)


class Session:
    """The engine, and its open streams by the numbers that the parent gave them."""

    _engine: Engine  # set by `load`, the first verb

    def __init__(self) -> None:
        self._streams: dict[int, Stream] = {}
        self._texts: dict[int, str] = {}  # of single ids

    def load(self, name: str, weights: Weights, options: LoadOptions) -> Info:
        self._engine = _backend(name).load(weights, options)
        return self._engine.info

    def encode(self, text: bytes, template: bool) -> IntArray:
        """The text is UTF-8 that may hold lone surrogates, as pasted text may."""
        return self._engine.encode(text.decode("utf-8", "surrogatepass"), template=template)

    def decode(self, ids: IntArray) -> str:
        return self._engine.decode(ids)

    def forward(self, rows: tuple[Row, ...], layers: tuple[int, ...]) -> list[Output]:
        return self._engine.forward(rows, layers)

    def open(
        self,
        number: int,
        prompts: tuple[Prompt, ...],
        room: int,
        watch: tuple[Watch, ...],
        reuse: int | None,
        reserve: Reserve | None,
    ) -> tuple[FloatArray, ...]:
        old = None if reuse is None else self._streams[reuse]
        more = {"reserve": reserve} if reserve else {}  # engines of others may not know the argument
        stream = self._streams[number] = self._engine.open(prompts, room=room, watch=watch, reuse=old, **more)
        if reuse is not None:
            del self._streams[reuse]
        return tuple(stream.prompt_scores)

    def step(
        self, number: int, uniforms: NDArray[np.float64], before: IntArray
    ) -> tuple[Step, tuple[str, ...], tuple[str, ...]]:
        """A step, together with the text of each sampled id, alone and after the id `before` it (-1 for none). The
        parent needs them next, and fetching them one by one would keep the engine waiting."""
        step = self._streams[number].step(uniforms)
        alone = tuple(map(self._text, step.ids.tolist()))
        pairs = np.column_stack((before, step.ids))
        after = (text if pair[0] < 0 else self._engine.decode(pair) for pair, text in zip(pairs, alone, strict=True))
        return step, alone, tuple(after)

    def settle(self, number: int) -> FloatArray:
        return self._streams[number].settle()

    def steer(self, number: int, row: int, steering: Steering) -> None:
        self._streams[number].steer(row, steering)

    def drop(self, number: int, rows: tuple[int, ...]) -> None:
        self._streams[number].drop(rows)

    def join(self, number: int, prompts: tuple[Prompt, ...], room: int) -> tuple[FloatArray, ...]:
        return tuple(self._streams[number].join(prompts, room))

    def prefill(self, number: int, prompt: Prompt) -> Held:
        return self._streams[number].prefill(prompt)

    def hold(self, number: int, row: int, length: int) -> int:
        return self._streams[number].hold(row, length)

    def release(self, number: int, held: int) -> None:
        self._streams[number].release(held)

    def watch(self, number: int, watch: tuple[Watch, ...]) -> None:
        self._streams[number].watch(watch)

    def close(self, number: int) -> None:
        """Close a stream, if its `open` succeeded."""
        if stream := self._streams.pop(number, None):
            stream.close()

    def _text(self, token: int) -> str:
        if token not in self._texts:
            self._texts[token] = self._engine.decode([token])
        return self._texts[token]

    def _unload(self) -> None:
        for stream in self._streams.values():
            stream.close()
        self._engine.close()


def _backend(name: str) -> Backend:
    """A registered backend, or one given as entry points write it: `module:attribute`."""
    if ":" not in name:
        return discovery.backend(name)
    module, attribute = name.split(":")
    backend: Backend = getattr(import_module(module), attribute)
    return backend


_HINTS = {name: get_type_hints(verb) for name, verb in vars(Session).items() if not name.startswith("_")}
QUESTIONS: dict[str, Any] = {
    name: GenericAlias(tuple, tuple(kind for argument, kind in hints.items() if argument != "return"))
    for name, hints in _HINTS.items()
}
"""Verb -> tuple type of its arguments."""
ANSWERS: dict[str, Any] = {name: hints["return"] for name, hints in _HINTS.items()}
"""Verb -> type of its answer."""
