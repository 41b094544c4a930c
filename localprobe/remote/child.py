"""The child's side of `localprobe.remote`: it loads one engine and answers for it until its parent goes away.

Run as `python -m localprobe.remote.child PARENT DESCRIPTOR`: the parent's process id, and the socket to it. Standard
input is a pipe that nobody writes to: it ends when the parent does. Standard output and error go to the parent, which
keeps the last lines; nothing that a library prints can reach the user's terminal or mix with the answers.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import threading
import traceback
import warnings
from contextlib import suppress
from importlib import import_module

import numpy as np
from numpy.typing import NDArray

from localprobe import discovery, errors
from localprobe.engine import (
    Backend,
    Engine,
    FloatArray,
    Info,
    IntArray,
    LoadOptions,
    Output,
    Prompt,
    Row,
    Steering,
    Step,
    Stream,
    Watch,
    Weights,
)
from localprobe.remote import wire


class Session:
    """The engine, and its open streams by the numbers that the parent gave them. Every public method is a verb."""

    _engine: Engine  # there from `load` on, which is the first verb

    def __init__(self) -> None:
        self._streams: dict[int, Stream] = {}
        self._texts: dict[int, str] = {}  # of single ids

    def load(self, name: str, weights: Weights, options: LoadOptions) -> Info:
        self._engine = _backend(name).load(weights, options)
        return self._engine.info

    def unload(self) -> None:
        for stream in self._streams.values():
            stream.close()
        self._engine.close()

    def encode(self, text: str, template: bool) -> IntArray:
        return self._engine.encode(text, template=template)

    def decode(self, ids: IntArray) -> str:
        return self._engine.decode(ids)

    def forward(self, rows: tuple[Row, ...], layers: tuple[int, ...]) -> list[Output]:
        return self._engine.forward(rows, layers)

    def open(
        self, number: int, prompts: tuple[Prompt, ...], room: int, watch: tuple[Watch, ...], reuse: int | None
    ) -> tuple[FloatArray, ...]:
        old = None if reuse is None else self._streams[reuse]
        stream = self._streams[number] = self._engine.open(prompts, room=room, watch=watch, reuse=old)
        if reuse is not None:
            del self._streams[reuse]
        return tuple(stream.prompt_scores)

    def step(
        self, number: int, uniforms: NDArray[np.float64], before: IntArray
    ) -> tuple[Step, tuple[str, ...], tuple[str, ...]]:
        """A step, and with it what the parent would ask for next: each sampled id as text, alone and after the id
        `before` it (-1 for none). Asking for them one by one would keep the engine waiting."""
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

    def _text(self, token: int) -> str:
        if token not in self._texts:
            self._texts[token] = self._engine.decode([token])
        return self._texts[token]

    def close(self, number: int) -> None:
        """Close a stream; one whose `open` failed is not there."""
        if stream := self._streams.pop(number, None):
            stream.close()


class Channel:
    """The socket to the parent: verbs come in, answers go out, and notices before them."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._socket.set_inheritable(False)  # no process that an engine starts may keep it open
        self._source = wire.reader(self._socket)
        self._sending = threading.Lock()

    def serve(self, session: Session) -> None:
        """Answer one verb after another, here on the main thread, until the parent hangs up."""
        with suppress(EOFError, ConnectionError):
            while True:
                verb, *arguments = wire.receive(self._source)
                answer = _answer(session, verb, arguments)
                with self._sending:
                    wire.transmit(self._socket, answer)

    def warn(self, message: Warning | str, *_details: object, **_named: object) -> None:
        """Send a Python warning as a notice. One that is raised while something is being sent is left out."""
        if self._sending.acquire(blocking=False):
            try:
                wire.send(self._socket, ("notice", str(message)))
            finally:
                self._sending.release()


def _answer(session: Session, verb: str, arguments: list[object]) -> list[bytes | memoryview]:
    try:
        return wire.pack(("done", getattr(session, verb)(*arguments)))
    except BaseException as error:  # whatever an engine raises, SystemExit too, is the parent's to know
        return wire.pack(("failed", *_told(error, verb)))


def _told(error: BaseException, verb: str) -> tuple[str, str, str]:
    """An error as the parent can raise it: a class of the tree, its message, and for a bug the traceback."""
    for known in type(error).__mro__:
        if known.__module__ == errors.__name__:
            return known.__name__, str(error), ""
    what = " ".join(f"{type(error).__name__}: {error}".split())
    return errors.EngineError.__name__, f"the engine failed in {verb}, which is a bug: {what}", traceback.format_exc()


def _backend(name: str) -> Backend:
    """A registered backend, or one given as entry points write it: `module:attribute`."""
    if ":" not in name:
        return discovery.backend(name)
    module, attribute = name.split(":")
    backend: Backend = getattr(import_module(module), attribute)
    return backend


def _end_with_parent(parent: int, lifeline: int) -> None:
    """Wait for the parent to end, then end, whatever the main thread is computing.

    The lifeline alone would do, but for a process that the parent forked and that still holds the other end of it.
    """
    while os.getppid() == parent and not select.select([lifeline], [], [], 1.0)[0]:
        pass
    os._exit(1)


def main() -> None:
    """Serve the parent, then end without Python's own clean-up, which with an engine's libraries can hang or crash."""
    parent, descriptor = map(int, sys.argv[1:])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to decide on
    lifeline = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)  # a library that asks on standard input gets an end of file
    os.close(nothing)
    threading.Thread(target=_end_with_parent, args=(parent, lifeline), daemon=True).start()
    channel, session = Channel(descriptor), Session()
    warnings.showwarning = channel.warn
    channel.serve(session)
    session.unload()
    os._exit(0)


if __name__ == "__main__":
    main()
