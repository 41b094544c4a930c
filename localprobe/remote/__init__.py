"""Engines in a child process, behind the contract of `localprobe.engine`.

A native abort kills only the child, a load can be cancelled, and the output of libraries does not reach the terminal.

    engine = remote.load("llama", weights, LoadOptions())

After a crash every call raises EngineCrashed, and the model can be loaded again. While the child is stopped (SIGSTOP),
calls raise EngineStopped after a second or two; once it is continued, they are answered again.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from localprobe.engine import (
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
from localprobe.errors import EngineCrashed, EngineError, EngineStopped, LocalprobeError, UsageError
from localprobe.remote.process import EngineProcess

_numbers = itertools.count()  # of streams


def load(backend_name: str, weights: Weights, options: LoadOptions) -> RemoteEngine:
    """Load a model in a child process and wait for it.

    `backend_name` is a registered engine, or `module:attribute`. Python warnings of the child are warnings here
    (EngineWarning), given while an answer is waited for. Raises what the backend raises, and EngineCrashed if the child
    dies. If the wait is interrupted (KeyboardInterrupt), the child is killed.
    """
    return Loading(backend_name, weights, options).wait()


class Loading:
    """A model that is being loaded; see `load`. Dropping the last reference before it is loaded ends the child."""

    def __init__(self, backend_name: str, weights: Weights, options: LoadOptions) -> None:
        self._name = weights.name
        self._process = EngineProcess(backend_name)
        self._abandon = weakref.finalize(self, self._process.kill, EngineError, "abandoned")
        self._answer = self._process.post("load", backend_name, weights, options)
        self._engine: RemoteEngine | None = None

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    @property
    def death(self) -> str:
        """How the child died, if it died by itself: `died in load (SIGABRT, Aborted): its last words`."""
        return self._process.death

    def wait(self, timeout: float | None = None) -> RemoteEngine:
        """The loaded engine.

        Raises TimeoutError after `timeout` seconds, while the load goes on; EngineError if it was cancelled. An error
        or an interrupt ends the child.
        """
        if self._engine is None:
            try:
                info = self._answer.wait(timeout)
            except TimeoutError:
                raise
            except EngineStopped as error:
                self.cancel()
                ended = f"the process that loaded {self._name} was stopped from outside, and was ended: load it again"
                raise EngineStopped(ended) from error
            except BaseException:
                self.cancel()
                raise
            self._engine = RemoteEngine(self._process, info)
            self._abandon.detach()
        return self._engine

    def cancel(self) -> None:
        """Kill the child, from any thread; it has ended when this returns. No effect once `wait` has returned the
        engine."""
        if self._engine is None:
            self._abandon.detach()
            self._process.kill(EngineError, f"loading {self._name} was cancelled")
            self._process.close()


class RemoteEngine:
    """An engine in a child process. It ends on `close`, with its last reference, or with this process."""

    def __init__(self, process: EngineProcess, info: Info) -> None:
        self.info = info
        self._process = process
        self._texts: dict[int, str] = {}  # texts of single ids
        self._after: dict[tuple[int, ...], str] = {}  # texts of the last step's ids, each with the id before it
        self._abandon = weakref.finalize(self, process.kill, EngineError, "abandoned")

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the child is running."""
        return self._process.alive

    def encode(self, text: str, *, template: bool = False) -> IntArray:
        ids: IntArray = self._process.call("encode", text.encode("utf-8", "surrogatepass"), template)
        return ids

    def decode(self, ids: Sequence[int] | IntArray) -> str:
        cached = self._cached(tuple(map(int, ids)))
        if cached is not None and not self._process.ended:
            return cached
        text: str = self._process.call("decode", np.asarray(ids, dtype=np.int32))
        if len(ids) == 1:
            self._texts[int(ids[0])] = text
        return text

    def _cached(self, ids: tuple[int, ...]) -> str | None:
        return self._texts.get(ids[0]) if len(ids) == 1 else self._after.get(ids)

    def _learn(self, before: list[int], ids: list[int], alone: tuple[str, ...], after: tuple[str, ...]) -> None:
        """Cache the texts that came with a step."""
        self._texts.update(zip(ids, alone, strict=True))
        self._after = dict(zip(zip(before, ids, strict=True), after, strict=True))

    def forward(self, rows: Sequence[Row], layers: Sequence[int] = ()) -> list[Output]:
        return list(self._process.call("forward", tuple(rows), tuple(layers)))

    def open(
        self,
        prompts: Sequence[Prompt],
        *,
        room: int,
        watch: Sequence[Watch] = (),
        reuse: Stream | None = None,
        reserve: Reserve | None = None,
    ) -> RemoteStream:
        if reuse is not None and not (isinstance(reuse, RemoteStream) and reuse.engine is self):
            raise UsageError("a stream of another engine cannot be reused: open without `reuse`")
        return RemoteStream(self, self._process, prompts, room=room, watch=watch, reuse=reuse, reserve=reserve)

    def kill(self) -> None:
        """End the child at once, whatever it is doing, from any thread. Every call then raises EngineCrashed."""
        self._abandon.detach()
        self._process.kill(EngineCrashed, f"the {self._process.name} engine was stopped; the model can be loaded again")

    def close(self) -> None:
        self._abandon.detach()
        self._process.close()


class RemoteStream:
    """A stream in the child, identified there by a number. The child closes it when its last reference is dropped.

    If waiting for an answer is interrupted (KeyboardInterrupt), or given up because the child is stopped, its state is
    unknown, so it is closed.
    """

    def __init__(
        self,
        engine: RemoteEngine,
        process: EngineProcess,
        prompts: Sequence[Prompt],
        *,
        room: int,
        watch: Sequence[Watch],
        reuse: RemoteStream | None,
        reserve: Reserve | None,
    ) -> None:
        self.engine = engine  # must not end before its streams
        self._process = process
        self._number = next(_numbers)
        self._closing = weakref.finalize(self, process.post, "close", self._number)
        self._closing.atexit = False  # at exit the whole child ends
        old = None if reuse is None else reuse._open_number()
        try:
            scores = self._call("open", tuple(prompts), room, tuple(watch), old, reserve)
        except BaseException:
            if reuse is not None and not self._closing.alive:  # interrupted: the child may have used it or not
                reuse.close()
            raise
        if reuse is not None:
            reuse._closing.detach()  # the child has closed it
        self._prompt_scores: tuple[FloatArray, ...] = scores
        self._last = [-1] * sum(prompt.copies for prompt in prompts)  # each row's last id, which its text depends on

    @property
    def prompt_scores(self) -> Sequence[FloatArray]:
        self._open_number()
        return self._prompt_scores

    def step(self, uniforms: NDArray[np.float64]) -> Step:
        step: Step
        step, alone, after = self._call("step", uniforms, np.array(self._last, dtype=np.int32))
        ids = step.ids.tolist()
        self.engine._learn(self._last, ids, alone, after)
        self._last = ids
        return step

    def settle(self) -> FloatArray:
        scores: FloatArray = self._call("settle")
        return scores

    def steer(self, row: int, steering: Steering) -> None:
        self._call("steer", row, steering)

    def drop(self, rows: Sequence[int]) -> None:
        self._call("drop", tuple(rows))
        self._last = [last for row, last in enumerate(self._last) if row not in set(rows)]

    def join(self, prompts: Sequence[Prompt], room: int) -> Sequence[FloatArray]:
        scores: tuple[FloatArray, ...] = self._call("join", tuple(prompts), room)
        self._last += [-1] * sum(prompt.copies for prompt in prompts)
        return scores

    def prefill(self, prompt: Prompt) -> Held:
        held: Held = self._call("prefill", prompt)
        return held

    def hold(self, row: int, length: int) -> int:
        held: int = self._call("hold", row, length)
        return held

    def release(self, held: int) -> None:
        self._call("release", held)

    def watch(self, watch: Sequence[Watch]) -> None:
        self._call("watch", tuple(watch))

    def close(self) -> None:
        self._closing()

    def _call(self, verb: str, *arguments: object) -> Any:
        number = self._open_number()
        try:
            return self._process.call(verb, number, *arguments)
        except EngineStopped:  # it will answer, to nobody
            self.close()
            raise
        except LocalprobeError:
            raise
        except BaseException:
            self.close()
            raise

    def _open_number(self) -> int:
        if not self._closing.alive:
            raise UsageError("this stream is closed: open another")
        return self._number
