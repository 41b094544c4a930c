"""Blocking work in threads that never keep the app from ending."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Generic, ParamSpec, TypeVar, cast

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """What a function returned or raised. A future holds this rather than the error itself: asyncio would print the
    error of a future that nobody waits for any more, over the screen, when the app is left in the middle of work."""

    value: T | None
    error: BaseException | None = None

    @classmethod
    def of(cls, function: Callable[[], T]) -> Outcome[T]:
        """Run a function."""
        try:
            return cls(function())
        except BaseException as error:  # raised by `get`
            return cls(None, error)

    def get(self) -> T:
        """Return or raise what the function did."""
        if self.error is not None:
            raise self.error
        return cast(T, self.value)


class OneThread:
    """A thread that runs functions one after another, for code that must not run twice at once."""

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def submit(self, function: Callable[[], T]) -> asyncio.Future[Outcome[T]]:
        """Run a function after those before it; the future has what it returned or raised."""
        future, settle = _future()

        def job() -> None:
            if not future.cancelled():  # else its caller was cancelled before it began; once begun, it runs to its end
                settle(Outcome.of(function))

        self._jobs.put(job)
        return future

    def close(self, patience: float) -> None:
        """End the thread after the submitted functions; return after at most `patience` seconds."""
        self._jobs.put(None)
        self._thread.join(patience)

    def _work(self) -> None:
        while job := self._jobs.get():
            job()


async def in_thread(function: Callable[[], T]) -> T:
    """Run a blocking function in a new thread, and return or raise what it does.

    If the caller is cancelled, the function runs to its end and its result is dropped.
    """
    future, settle = _future()
    threading.Thread(target=lambda: settle(Outcome.of(function)), name="localprobe work", daemon=True).start()
    outcome: Outcome[T] = await future
    return outcome.get()


def _future() -> tuple[asyncio.Future[Outcome[Any]], Callable[[Outcome[Any]], None]]:
    """A future of the running loop, and a function for other threads that sets it if somebody still waits for it."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Outcome[Any]] = loop.create_future()

    def take(outcome: Outcome[Any]) -> None:
        if not future.done():
            future.set_result(outcome)

    def settle(outcome: Outcome[Any]) -> None:
        with suppress(RuntimeError):  # the loop has closed
            loop.call_soon_threadsafe(take, outcome)

    return future, settle


def on_the_loop(callback: Callable[P, Any]) -> Callable[P, None]:
    """A function for other threads that schedules `callback` on the current event loop."""
    loop, context = asyncio.get_running_loop(), copy_context()  # without its context, a widget would find no app

    def call(*arguments: P.args, **named: P.kwargs) -> None:
        with suppress(RuntimeError):  # the loop has closed
            loop.call_soon_threadsafe(lambda: callback(*arguments, **named), context=context)

    return call
