"""The scheduler's side of the engine's thread: jobs that wait, rows that are decoded, and who is told what."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, replace

from localprobe.engine import Engine, Reserve, Steering
from localprobe.errors import (
    Cancelled,
    EngineCrashed,
    EngineError,
    EngineStopped,
    LocalprobeError,
    OutOfMemory,
    UsageError,
)
from localprobe.generation.events import Alert, Event, Failed, Finished, GateChange, Token
from localprobe.scheduling.admission import Admission
from localprobe.scheduling.batch import Batch
from localprobe.scheduling.job import Job, Limits, Prepared, Stats
from localprobe.scheduling.prefixes import Prefixes

_ROW = 1024  # positions per answer, unless the limits say otherwise
_LEAST = 512  # positions below which a cache is not tried


class Running:
    """Jobs from their preparation to their last event. All methods are for one thread.

    Every method raises EngineCrashed or EngineStopped if the engine is gone. `begun` is called once for every job that
    waits no more: its first row has joined, or it is over.
    """

    def __init__(self, engine: Engine, limits: Limits, begun: Callable[[], None]) -> None:
        self._counts = asdict(Stats())
        self._engine = engine
        self._limits = limits
        self._begun = begun
        self._jobs: dict[int, Job] = {}  # by the number of each unfinished row
        self._rows = 0  # numbers given so far
        self._prefixes = Prefixes(engine, limits.prefixes)
        self._admission = Admission(engine, self._prefixes, limits.piece)
        self._batch = self._new_batch(1)

    @property
    def stats(self) -> Stats:
        """Its counts; for any thread."""
        return Stats(**self._counts)

    @property
    def busy(self) -> bool:
        """Whether there is a job that is not over."""
        return bool(self._jobs)

    def add(self, job: Job) -> None:
        """Prepare a job, and queue its answers."""
        if job.over:
            return
        try:
            wanted = list(job.prepare())
            if not wanted:
                raise UsageError("nothing to generate: give at least one prompt")
            self._queue(job, wanted)
        except Exception as error:
            self._fail(job, error)

    def turn(self) -> None:
        """Prompts, then a step of the answers."""
        now = time.monotonic()
        for job in {job for job in self._jobs.values() if job.late(now)}:
            self._fail(job, TimeoutError("the request's deadline passed"))
        self._admit()
        if not self._batch.done:
            self._step()
        self._note(
            rows=self._batch.width,
            held=len(self._prefixes),
            prompt_tokens=self._admission.prompt_tokens,
            reused_tokens=self._admission.reused_tokens,
        )

    def cancel(self, job: Job) -> None:
        """End a job without another event."""
        if not job.over:
            self._count(cancelled=1)
            self._end(job)
            job.over = True

    def stop(self, job: Job) -> None:
        """End the answers of a job, keeping their text."""
        if job.groups or not job.unfinished:
            self._fail(job, Cancelled("stopped before the answer began"))
        for number in job.unfinished:
            self._batch.end(number)

    def steer(self, job: Job, steering: Steering) -> None:
        """Change the steering of the answers of a job that have begun."""
        try:
            for number in job.unfinished:
                self._batch.steer(number, steering)
        except Exception as error:
            self._fail(job, error)

    def fail_all(self, error: Exception) -> None:
        """End every job, and the batch."""
        for job in set(self._jobs.values()):
            job.fail(error)
        self._jobs = {}
        with suppress(LocalprobeError):
            self._batch.close()

    def _queue(self, job: Job, wanted: Sequence[Prepared]) -> None:
        most = self._limits.rows  # more answers of one prompt come in turn
        groups = [(at, group[at : at + most]) for group in alike(wanted) for at in range(0, len(group), most)]
        rows = [self._batch.row(self._rows + index, one) for index, one in enumerate(wanted)]
        job.first, self._rows = self._rows, self._rows + len(wanted)
        job.unfinished = set(range(job.first, self._rows))
        self._jobs |= dict.fromkeys(job.unfinished, job)
        for at, group in groups:
            added = self._admission.add([rows[index] for index in group])
            added.again = at > 0
            job.groups.append(added)

    def _admit(self) -> None:
        """Let prompts join, first come first served."""
        if not self._admission.waiting:
            return
        length = len(self._admission.waiting[0].request.ids)
        if not self._batch.width and not self._batch.takes(length):  # of the other side of `rope_length`
            self._renew(length)
        try:
            for group in self._admission.admit(self._batch, self._limits.rows):
                job = self._jobs[group.rows[0].number]
                job.reused += 0 if group.again else group.reused
                job.groups.remove(group)
                self._waits_no_more(job)
        except Exception as error:
            self._fail(self._jobs[self._admission.waiting[0].rows[0].number], error)

    def _step(self) -> None:
        width, steered = self._batch.width, self._batch.steered
        try:
            events = self._batch.step()
        except Exception as error:
            for job in {self._jobs[number] for number in self._batch.all_numbers if number in self._jobs}:
                self._fail(job, error)
            self._renew(1)
            return
        self._count(steps=1, rows_stepped=width, steered_rows=steered)
        by_job: dict[Job, list[Event]] = {}
        for event in events:
            if (owner := self._jobs.get(event.row)) is not None:
                by_job.setdefault(owner, []).append(replace(event, row=event.row - owner.first))
        for job, told in by_job.items():
            self._tell(job, told)

    def _tell(self, job: Job, events: list[Event]) -> None:
        """Give a job its events; they end it if a row failed, or once all rows have finished."""
        failed = next((event for event in events if isinstance(event, Failed)), None)
        if failed:
            self._fail(job, EngineError(failed.error))
            return
        ended = [job.first + event.row for event in events if isinstance(event, Finished)]
        job.unfinished -= set(ended)
        for number in ended:
            del self._jobs[number]
        job.over = not job.unfinished
        kinds = [type(event) for event in events]
        tokens, gates, alerts = (kinds.count(kind) for kind in (Token, GateChange, Alert))
        self._count(tokens=tokens, gates=gates, alerts=alerts, answers=len(ended))
        job.listener.events(events)

    def _fail(self, job: Job, error: Exception) -> None:
        gone = isinstance(error, EngineCrashed | EngineStopped)
        if gone and job.unfinished:
            raise error  # ends all jobs, this one too
        if not job.over:
            self._count(failed=1)
            self._end(job, error)
        if gone:
            raise error

    def _end(self, job: Job, error: Exception | None = None) -> None:
        """Take a job out, wherever it is, and tell it of the error that ends it."""
        self._waits_no_more(job)
        for group in job.groups:
            self._admission.drop(group, self._batch)
        self._batch.remove(list(job.unfinished))
        for number in job.unfinished:
            self._jobs.pop(number, None)
        job.groups, job.unfinished = [], set()
        if error:
            job.fail(error)

    def _waits_no_more(self, job: Job) -> None:
        if job.waits:
            job.waits = False
            self._begun()

    def _renew(self, length: int) -> None:
        """Another stream, for prompts of that length."""
        self._batch.close()
        self._batch = self._new_batch(length)

    def _new_batch(self, length: int) -> Batch:
        """A batch with the cache that the limits ask for, or as much as memory has place for."""
        info, limits = self._engine.info, self._limits
        longest = info.context if info.rope_length is None or info.is_long(length) else info.rope_length
        tokens = limits.tokens or max(limits.rows * _ROW, info.context)
        rows = limits.rows + limits.prefixes + 1
        while True:
            try:
                return Batch(self._engine, Reserve(rows, tokens, longest), self._leaving)
            except OutOfMemory:
                if tokens // 2 < _LEAST or limits.tokens:
                    raise
                tokens //= 2

    def _leaving(self, number: int) -> None:
        self._prefixes.leaving(self._batch, number)

    def _count(self, **more: int) -> None:
        for name, amount in more.items():
            self._counts[name] += amount

    def _note(self, **values: int) -> None:
        self._counts |= values


def alike(wanted: Sequence[Prepared]) -> list[list[int]]:
    """Indices of the answers that begin alike: the same prompt, the very same terms, and sampler."""
    groups: dict[object, list[int]] = {}
    for index, one in enumerate(wanted):
        request = one.request
        terms = tuple(map(id, request.steering))
        groups.setdefault((request.ids.tobytes(), terms, request.sampler), []).append(index)
    return list(groups.values())
