"""Answers that are read in threads of their own, so that whoever waits for them can stop at any time."""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import TypeAlias

from localprobe.client.answers import Answering
from localprobe.generation.events import Event, Finished

_Arrived: TypeAlias = list[Event] | Exception | None
_TICK = 0.1  # seconds after which a caller that waits may look at what else happened


class Listening:
    """Several answers at a time, each as the row of its index."""

    def __init__(self, answers: Sequence[Answering]) -> None:
        self.answers = tuple(answers)
        self._arrived: SimpleQueue[_Arrived] = SimpleQueue()
        self._left = set(range(len(answers)))  # rows that have not finished
        self._closed = threading.Event()

    def steps(self) -> Generator[list[Event]]:
        """The events as they arrive; an empty list where nothing has for a moment. Closing it, or `stop`, closes the
        connections, which ends the answers at the server."""
        for row, answer in enumerate(self.answers):
            threading.Thread(target=self._read, args=(row, answer), name="localprobe answer", daemon=True).start()
        reading = len(self.answers)
        try:
            while reading and not self._closed.is_set():
                arrived = self._next()
                if isinstance(arrived, Exception):
                    raise arrived
                if arrived is None:
                    reading -= 1
                else:
                    self._left -= {event.row for event in arrived if isinstance(event, Finished)}
                    yield arrived
        finally:
            self._closed.set()

    def stop(self) -> list[Event]:
        """End all answers. Returns their last events; what arrives later is dropped."""
        self._closed.set()
        stopped: list[Event] = [Finished(row, "stopped", "") for row in sorted(self._left)]
        self._left.clear()
        return stopped

    def _next(self) -> _Arrived:
        try:
            return self._arrived.get(timeout=_TICK)
        except Empty:
            return []

    def _read(self, row: int, answer: Answering) -> None:
        """Read one answer, in its thread."""
        try:
            with closing(answer.steps()) as steps:
                for events in steps:
                    if self._closed.is_set():
                        return
                    self._arrived.put([replace(event, row=row) for event in events])
            self._arrived.put(None)
        except Exception as error:  # raised where the answer is waited for
            self._arrived.put(error)
