"""Blocking work in threads that never keep the app from ending."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from contextvars import copy_context
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class OneThread:
    """A thread that runs functions one after another, for code that must not run twice at once."""

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def submit(self, function: Callable[[], T]) -> asyncio.Future[T]:
        """Run a function after those before it; the future has what it returns or raises."""
        future: Future[T] = Future()

        def job() -> None:
            if not future.set_running_or_notify_cancel():
                return  # its caller was cancelled before it began; once begun, it runs to its end
            try:
                future.set_result(function())
            except BaseException as error:  # raised where the future is awaited
                future.set_exception(error)

        self._jobs.put(job)
        return asyncio.wrap_future(future)

    def close(self, patience: float) -> None:
        """End the thread after the submitted functions; return after at most `patience` seconds."""
        self._jobs.put(None)
        self._thread.join(patience)

    def _work(self) -> None:
        while job := self._jobs.get():
            with suppress(RuntimeError):  # the event loop has closed: nothing waits for the result
                job()


async def in_thread(function: Callable[[], T]) -> T:
    """Run a blocking function in a new thread, and return or raise what it does.

    If the caller is cancelled, the function runs to its end and its result is dropped.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            result = function()
        except BaseException as error:
            with suppress(Exception):  # the caller was cancelled
                future.set_exception(error)
        else:
            with suppress(Exception):
                future.set_result(result)

    threading.Thread(target=run, name="localprobe work", daemon=True).start()
    return await asyncio.wrap_future(future)


def on_the_loop(callback: Callable[P, Any]) -> Callable[P, None]:
    """A function for other threads that schedules `callback` on the current event loop."""
    loop, context = asyncio.get_running_loop(), copy_context()  # without its context, a widget would find no app

    def call(*arguments: P.args, **named: P.kwargs) -> None:
        with suppress(RuntimeError):  # the loop has closed
            loop.call_soon_threadsafe(lambda: callback(*arguments, **named), context=context)

    return call
