"""Work that blocks, away from the screen: in a thread that never keeps the app from ending."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from contextvars import copy_context
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(function: Callable[[], T]) -> T:
    """What a function that blocks returns or raises. If the caller is cancelled, it runs on and nobody hears of it."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            result = function()
        except BaseException as error:
            with suppress(Exception):  # it was cancelled: nobody waits any more
                future.set_exception(error)
        else:
            with suppress(Exception):
                future.set_result(result)

    threading.Thread(target=run, name="localprobe work", daemon=True).start()
    return await asyncio.wrap_future(future)


def on_the_loop(callback: Callable[P, Any]) -> Callable[P, None]:
    """The callback for a thread to call: it runs on the event loop of whoever asks for this now, soon after."""
    loop, context = asyncio.get_running_loop(), copy_context()  # without its context, a widget would find no app

    def call(*arguments: P.args, **named: P.kwargs) -> None:
        with suppress(RuntimeError):  # the loop is gone: so is whoever would read this
            loop.call_soon_threadsafe(lambda: callback(*arguments, **named), context=context)

    return call
