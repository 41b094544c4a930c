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
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TypeVar

from localprobe.engine import Engine, Reserve, Steering
from localprobe.errors import (
    Cancelled,
    EngineCrashed,
    EngineError,
    EngineStopped,
    LocalprobeError,
    OutOfMemory,
    QueueFull,
    UsageError,
)
from localprobe.generation.events import Alert, Event, Failed, Finished, GateChange, Token
from localprobe.scheduling.admission import Admission, Group
from localprobe.scheduling.batch import Batch
from localprobe.scheduling.job import Limits, Listener, Prepared, Stats
from localprobe.scheduling.prefixes import Prefixes

T = TypeVar("T")
_ROW = 1024  # positions per answer, unless the limits say otherwise
_LEAST = 512  # positions below which a cache is not tried


@dataclass(eq=False)
class Job:
    """Answers that were asked for together. Its methods may be called from any thread, and take effect before the next
    step; on a job that is over they do nothing."""

    prepare: Callable[[], Sequence[Prepared]]
    listener: Listener
    deadline: float | None
    """By `time.monotonic`."""
    scheduler: Scheduler = field(repr=False)
    reused: int = 0
    """Positions of its prompts that were in the cache."""
    first: int = -1
    """The number of its first row."""
    unfinished: set[int] = field(default_factory=set)
    """Numbers of its rows that have not ended."""
    groups: list[Group] = field(default_factory=list)
    waits: bool = True
    """Whether none of its rows has joined."""
    over: bool = False

    def cancel(self) -> None:
        """End it now; no event follows."""
        self.scheduler._post(lambda: self.scheduler._cancel(self))

    def stop(self) -> None:
        """End its answers, keeping their text: they are `Finished` with reason `stopped`. Those that have not begun
        fail with Cancelled."""
        self.scheduler._post(lambda: self.scheduler._stop(self))

    def steer(self, steering: Steering) -> None:
        """Change the steering of its answers for every position not yet run."""
        self.scheduler._post(lambda: self.scheduler._steer(self, steering))


class Scheduler:
    """Answers requests on an engine until it is closed. Raises UsageError for an engine that rows cannot join."""

    def __init__(self, engine: Engine, limits: Limits = Limits()) -> None:
        self.engine = engine
        self.limits = limits
        self.broken: Exception | None = None
        """Why it takes nothing any more: the engine failed, or it was closed."""
        self._changed = threading.Condition()
        self._inbox: deque[Callable[[], None]] = deque()
        self._arrived: deque[Job] = deque()  # not prepared
        self._jobs: dict[int, Job] = {}  # by the number of each unfinished row
        self._rows = 0  # numbers given so far
        self._waiting = 0  # jobs that no row has joined for
        self._closing: float | None = None  # until when answers may go on
        self._counts = Stats()
        self._prefixes = Prefixes(engine, limits.prefixes)
        self._admission = Admission(engine, self._prefixes, limits.piece)
        self._batch = self._new_batch(1)
        self._thread = threading.Thread(target=self._run, name="localprobe scheduler", daemon=True)
        self._thread.start()

    @property
    def stats(self) -> Stats:
        """Its counts and its state. May be asked for by any thread."""
        with self._changed:
            counts, batch = self._counts, self._batch
            return replace(
                counts,
                waiting=self._waiting,
                held=len(self._prefixes),
                prompt_tokens=self._admission.prompt_tokens,
                reused_tokens=self._admission.reused_tokens,
                rows=batch.width,
            )

    def submit(
        self, prepare: Callable[[], Sequence[Prepared]], listener: Listener, *, deadline: float | None = None
    ) -> Job:
        """Queue a job, from any thread. `prepare` is called on the scheduler's thread, where it may use the engine;
        what it raises fails the job. `deadline` is in seconds from now.

        Raises QueueFull, and what broke the scheduler.
        """
        until = None if deadline is None else time.monotonic() + deadline
        job = Job(prepare, listener, until, self)
        with self._changed:
            self._refuse()
            if self._waiting >= self.limits.waiting:
                raise QueueFull(f"{self._waiting} requests are waiting already: try again later")
            self._waiting += 1
            self._arrived.append(job)
            self._changed.notify()
        return job

    def call(self, work: Callable[[], T]) -> Future[T]:
        """Run other work with the engine between two steps; keep it short. Raises what broke the scheduler."""
        future: Future[T] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(work())
            except BaseException as error:
                future.set_exception(error)
                if not self.broken:
                    self._notice(error)

        with self._changed:
            self._refuse()
            self._inbox.append(run)
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
        """Raise what broke the scheduler. Call with the lock held."""
        if self.broken:
            raise self.broken
        if self._closing is not None:
            raise Cancelled("the model is being unloaded, or the server is stopping")

    def _post(self, command: Callable[[], None]) -> None:
        with self._changed:
            if not self.broken:
                self._inbox.append(command)
                self._changed.notify()

    # What follows runs on the scheduler's thread.

    def _run(self) -> None:
        try:
            while self._wait():
                self._turn()
        except BaseException as error:  # the engine's end, or a bug: nobody may wait for ever
            self._break(error if isinstance(error, Exception) else EngineError(repr(error)))
        else:
            self._break(Cancelled("the model was unloaded, or the server stopped"))

    def _wait(self) -> bool:
        """Wait for something to do. False once it is to end."""
        with self._changed:
            while not (self._inbox or self._arrived or self._admission.waiting or self._jobs):
                if self._closing is not None:
                    return False
                self._changed.wait()
            return self._closing is None or time.monotonic() < self._closing

    def _turn(self) -> None:
        """Commands and other work, then prompts, then a step of the answers."""
        with self._changed:
            commands, self._inbox = list(self._inbox), deque()
        for command in commands:
            command()
            if self.broken:
                raise self.broken
        self._expire()
        self._prepare()
        self._admit()
        if not self._batch.done:
            self._step()

    def _expire(self) -> None:
        now = time.monotonic()
        late = {
            job for job in (*self._jobs.values(), *self._arrived) if job.deadline is not None and now > job.deadline
        }
        for job in late:
            self._fail(job, TimeoutError("the request's deadline passed"))

    def _prepare(self) -> None:
        """Make rows of what has arrived."""
        while True:
            with self._changed:
                if not self._arrived:
                    return
                job = self._arrived.popleft()
            try:
                wanted = list(job.prepare())
                if not wanted:
                    raise LocalprobeError("nothing to generate")
                self._queue(job, wanted)
            except Exception as error:
                self._fail(job, error)
                self._notice(error)

    def _queue(self, job: Job, wanted: Sequence[Prepared]) -> None:
        groups = alike(wanted)
        if (most := max(map(len, groups))) > self.limits.rows:
            raise UsageError(f"{most} answers of one prompt: at most {self.limits.rows} are decoded at a time")
        job.first, self._rows = self._rows, self._rows + len(wanted)
        job.unfinished = set(range(job.first, self._rows))
        self._jobs |= dict.fromkeys(job.unfinished, job)
        for group in groups:
            numbers = [job.first + index for index in group]
            job.groups.append(self._admission.add(numbers, [wanted[index] for index in group]))

    def _admit(self) -> None:
        """Let prompts join, first come first served."""
        if not self._admission.waiting:
            return
        first = self._admission.waiting[0]
        length = len(first.wanted[0].request.ids)
        if not self._batch.width and not self._batch.takes(length):  # of the other side of `rope_length`
            self._renew(length)
        try:
            joined = self._admission.admit(self._batch, self.limits.rows)
        except Exception as error:
            self._notice(error)
            self._fail(self._jobs[self._admission.waiting[0].numbers[0]], error)
            return
        for group in joined:
            job = self._jobs[group.numbers[0]]
            job.reused += group.reused
            job.groups.remove(group)
            self._begun(job)

    def _step(self) -> None:
        steered = self._batch.steered
        try:
            events = self._batch.step()
        except Exception as error:
            self._notice(error)
            for job in {self._jobs[number] for number in self._batch.all_numbers}:
                self._fail(job, error)
            self._renew(1)
            return
        self._count(steps=1, rows_stepped=self._batch.width, steered_rows=steered)
        rows: dict[int, list[Event]] = {}
        for event in events:
            rows.setdefault(event.row, []).append(event)
        by_job: dict[Job, list[Event]] = {}
        for number, own in rows.items():
            if (owner := self._jobs.get(number)) is not None:
                by_job.setdefault(owner, []).extend(replace(event, row=number - owner.first) for event in own)
        for job, told in by_job.items():
            self._tell(job, told)

    def _tell(self, job: Job, events: list[Event]) -> None:
        """Give a job its events; they end it if a row failed, or once all rows have finished."""
        failed = next((event for event in events if isinstance(event, Failed)), None)
        if failed:
            self._fail(job, EngineError(failed.error))
            return
        ended = [job.first + event.row for event in events if isinstance(event, Finished)]
        for number in ended:
            job.unfinished.discard(number)
            del self._jobs[number]
        kinds = [type(event) for event in events]
        self._count(
            tokens=kinds.count(Token), gates=kinds.count(GateChange), alerts=kinds.count(Alert), answers=len(ended)
        )
        job.over = not job.unfinished
        job.listener.events(events)

    def _cancel(self, job: Job) -> None:
        if not job.over:
            self._count(cancelled=1)
            self._end(job)

    def _stop(self, job: Job) -> None:
        if job.groups or job.first < 0:
            self._fail(job, Cancelled("stopped before the answer began"))
        for number in job.unfinished:
            self._batch.end(number)

    def _steer(self, job: Job, steering: Steering) -> None:
        for number in job.unfinished:
            self._batch.steer(number, steering)

    def _fail(self, job: Job, error: Exception) -> None:
        if not job.over:
            self._count(failed=1)
            self._end(job)
            job.listener.failed(error)

    def _end(self, job: Job) -> None:
        """Take a job out, wherever it is."""
        job.over = True
        self._begun(job)
        with self._changed:
            if job in self._arrived:
                self._arrived.remove(job)
        for group in job.groups:
            self._admission.drop(group, self._batch)
        self._batch.remove(list(job.unfinished))
        for number in job.unfinished:
            self._jobs.pop(number, None)
        job.groups, job.unfinished = [], set()

    def _begun(self, job: Job) -> None:
        """It waits no more."""
        if job.waits:
            job.waits = False
            with self._changed:
                self._waiting -= 1

    def _count(self, **more: int) -> None:
        with self._changed:
            now = {name: getattr(self._counts, name) + amount for name, amount in more.items()}
            self._counts = replace(self._counts, **now)

    def _notice(self, error: BaseException) -> None:
        """Give up if the engine is gone."""
        if isinstance(error, EngineCrashed | EngineStopped):
            raise error

    def _renew(self, length: int) -> None:
        """Another stream, for prompts of that length."""
        self._batch.close()
        self._batch = self._new_batch(length)

    def _new_batch(self, length: int) -> Batch:
        """A batch with the cache that the limits ask for, or as much as memory has place for."""
        info, limits = self.engine.info, self.limits
        short = info.rope_length if not info.is_long(length) else None
        longest = min(info.context, short or info.context)
        tokens = limits.tokens or max(limits.rows * _ROW, info.context)
        rows = limits.rows + limits.prefixes + 1
        while True:
            try:
                return Batch(self.engine, Reserve(rows, tokens, longest), self._leaving)
            except OutOfMemory:
                if tokens // 2 < _LEAST or limits.tokens:
                    raise
                tokens //= 2

    def _leaving(self, number: int) -> None:
        self._prefixes.leaving(self._batch, number)

    def _break(self, error: Exception) -> None:
        with self._changed:
            self.broken = error
            commands, self._inbox = self._inbox, deque()
        for job in {*self._jobs.values(), *self._arrived}:
            if not job.over:
                job.over = True
                job.listener.failed(error)
        self._jobs, self._waiting = {}, 0
        self._arrived.clear()
        for command in commands:  # calls, which fail, and commands to jobs that are over
            command()
        with suppress(LocalprobeError):
            self._batch.close()


def alike(wanted: Sequence[Prepared]) -> list[list[int]]:
    """Indices of the answers that begin alike: the same prompt, the very same steering, and sampler."""
    groups: dict[object, list[int]] = {}
    for index, one in enumerate(wanted):
        request = one.request
        terms = tuple(map(id, request.steering))
        groups.setdefault((request.ids.tobytes(), terms, request.sampler), []).append(index)
    return list(groups.values())
