"""The one thread on which an engine uses MLX, whose streams belong to the thread that created them."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeAlias, TypeVar

from localprobe.errors import UsageError

T = TypeVar("T")
_Jobs: TypeAlias = "SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None]"


class Worker:
    """Runs jobs one after another on a separate thread.

    The thread ends when the worker is closed, forgotten, or the interpreter exits.
    """

    def __init__(self, device: Any) -> None:
        """`device` is the `mx.Device` that jobs run on."""
        self._jobs: _Jobs = SimpleQueue()
        thread = threading.Thread(target=_serve, args=(self._jobs, device), name="localprobe-mlx", daemon=True)
        thread.start()
        # A finalizer also runs at exit, while daemon threads are still alive; a non-daemon thread would never end.
        self._stop = weakref.finalize(self, _stop, self._jobs, thread)

    @property
    def closed(self) -> bool:
        return not self._stop.alive

    def run(self, job: Callable[[], T]) -> T:
        """Run a job on the thread, wait for it, and return what it returns or raise what it raises."""
        if self.closed:
            raise UsageError("this model is closed: load it again")
        future: Future[T] = Future()
        self._jobs.put((future, job))
        return future.result()

    def close(self) -> None:
        """Let the current job finish, then end the thread. Closing twice is fine."""
        self._stop()


def _serve(jobs: _Jobs, device: Any) -> None:
    import mlx.core as mx

    with mx.stream(device):
        while (item := jobs.get()) is not None:
            _work(*item)
            del item  # else a result would stay in memory until the next job
        mx.synchronize()
    mx.clear_streams()  # if left to the end of the thread, they sometimes abort the process


def _work(future: Future[Any], job: Callable[[], Any]) -> None:
    try:
        future.set_result(job())
    except BaseException as problem:  # every error is passed to the caller
        future.set_exception(problem)


def _stop(jobs: _Jobs, thread: threading.Thread) -> None:
    jobs.put(None)
    if thread is not threading.current_thread():  # the garbage collector may run anywhere
        thread.join()
