"""One engine, many requests: what arrives joins the rows that are being decoded.

    scheduler = Scheduler(engine, Limits(rows=16))
    job = scheduler.submit(lambda: [Prepared(request)], listener)

A thread of its own does everything with the engine. Between two steps of the answers it runs other work that was asked
for, then prompts that have arrived. So an answer waits for at most a piece of a prompt (`Limits.piece`), and a prompt
for its turn.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import TypeVar

from localprobe.engine import Engine
from localprobe.errors import Cancelled, EngineCrashed, EngineError, EngineStopped, QueueFull
from localprobe.scheduling.job import Job, Limits, Listener, Prepared, Stats
from localprobe.scheduling.running import Running

T = TypeVar("T")


class Scheduler:
    """Answers requests on an engine until it is closed. Raises UsageError for an engine that rows cannot join,
    OutOfMemory if its cache does not fit."""

    def __init__(self, engine: Engine, limits: Limits = Limits()) -> None:
        self.engine = engine
        self.limits = limits
        self.broken: Exception | None = None
        """Why it takes nothing any more: the engine failed, or it was closed."""
        self._changed = threading.Condition()
        self._inbox: deque[_Command] = deque()
        self._waiting = 0  # jobs that no row has joined for
        self._closing: float | None = None  # until when answers may go on
        self._running = Running(engine, limits, self._begun)
        self._thread = threading.Thread(target=self._run, name="localprobe scheduler", daemon=True)
        self._thread.start()

    @property
    def stats(self) -> Stats:
        """Its counts and its state; for any thread."""
        return replace(self._running.stats, waiting=self._waiting)

    def submit(
        self, prepare: Callable[[], Sequence[Prepared]], listener: Listener, *, deadline: float | None = None
    ) -> Job:
        """Queue a job, from any thread. `prepare` is called on the scheduler's thread, where it may use the engine;
        what it raises fails the job. `deadline` is in seconds from now.

        Raises QueueFull, and what broke the scheduler.
        """
        until = None if deadline is None else time.monotonic() + deadline
        job = Job(prepare, listener, until, self._post, self._running)
        with self._changed:
            self._refuse()
            if self._waiting >= self.limits.waiting:
                raise QueueFull(f"{self._waiting} requests are waiting already: try again later")
            self._waiting += 1
            self._inbox.append(_Command(lambda: self._running.add(job), job.fail))
            self._changed.notify()
        return job

    def call(self, work: Callable[[], T]) -> Future[T]:
        """Run other work with the engine between two steps; keep it short. Raises what broke the scheduler; so does the
        future if that happens first."""
        future: Future[T] = Future()
        with self._changed:
            self._refuse()
            self._inbox.append(_Command(lambda: _settle(future, work), future.set_exception))
            self._changed.notify()
        return future

    def close(self, grace: float = 0.0) -> None:
        """Take nothing more, let what was taken on go on for `grace` seconds, then fail what is left with Cancelled.
        The engine is not closed."""
        with self._changed:
            self._closing = time.monotonic() + grace
            self._changed.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _refuse(self) -> None:
        """Raise why nothing is taken any more. Call with the lock held."""
        if self.broken:
            raise self.broken
        if self._closing is not None:
            raise Cancelled("the model is being unloaded, or the server is stopping")

    def _post(self, command: Callable[[], object]) -> None:
        with self._changed:
            if not self.broken:
                self._inbox.append(_Command(command))
                self._changed.notify()

    def _begun(self) -> None:
        with self._changed:
            self._waiting -= 1

    def _run(self) -> None:
        """Body of the thread."""
        end: Exception = Cancelled("the model was unloaded, or the server stopped")
        try:
            while self._wait():
                for _ in range(len(self._inbox)):
                    self._inbox.popleft().run()
                self._running.turn()
        except BaseException as error:  # the engine's end, or a bug: nobody may wait for ever
            end = error if isinstance(error, Exception) else EngineError(f"the scheduler ended: {error!r}")
        with self._changed:
            self.broken = end
        self._running.fail_all(end)
        while self._inbox:
            self._inbox.popleft().fail(end)

    def _wait(self) -> bool:
        """Wait for something to do. False once it is to end."""
        with self._changed:
            while not (self._inbox or self._running.busy):
                if self._closing is not None:
                    return False
                self._changed.wait()
            return self._closing is None or time.monotonic() < self._closing


@dataclass(frozen=True, slots=True)
class _Command:
    """What another thread wants to be done on the scheduler's."""

    run: Callable[[], object]
    fail: Callable[[Exception], object] = lambda error: None
    """Called instead if the scheduler has ended before."""


def _settle(future: Future[T], work: Callable[[], T]) -> None:
    """Give a future the result of work, or its error. Raises the error if the engine is gone."""
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(work())
    except BaseException as error:
        future.set_exception(error)
        if isinstance(error, EngineCrashed | EngineStopped):
            raise
