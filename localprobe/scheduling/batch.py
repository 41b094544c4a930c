"""Answers that are decoded together, which others join at any time."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace

from localprobe.checks import check_join
from localprobe.engine import Engine, Held, IntArray, Prompt, Reserve, Steering, Stream
from localprobe.errors import LocalprobeError, UsageError
from localprobe.generation.decode import Decoding
from localprobe.generation.events import Event, Failed
from localprobe.generation.gates import RowGates
from localprobe.generation.request import Row, prompt_of, watches_of
from localprobe.scheduling.job import Group, Prepared
from localprobe.steering.history import ended

_streams = itertools.count(1)


class Batch(Decoding):
    """A decoding that rows join. Its rows have numbers that are never used again.

    A row whose predictions are not finite is `Failed`, and the others go on. `leaving` is called with the number of
    each row that has ended, while the stream still holds it.

    Raises UsageError for an engine that rows cannot join.
    """

    def __init__(self, engine: Engine, reserve: Reserve, leaving: Callable[[int], None] = lambda number: None) -> None:
        able = engine.info.capabilities
        if not able.join or not able.row_steering:
            raise UsageError(
                f"{engine.info.engine} cannot take up requests while it answers others: use another engine"
            )
        self._leaving = leaving
        self.opened = 0
        """Names its stream, which held positions do not outlive."""
        self._spoilt: set[int] = set()  # rows whose positions may hold NaN: nobody may begin with them
        super().__init__(engine, [], reserve=reserve)

    @property
    def width(self) -> int:
        """Rows that are being decoded."""
        return len(self._live) + len(self._waiting)

    @property
    def steered(self) -> int:
        """Those of them that are steered now."""
        return sum(any(term.covers(row.length) and not term.idle for term in row.steering) for row in self._live)

    def takes(self, length: int) -> bool:
        """Whether a prompt of that many tokens may join now: no row waits for the others to end, and it is on the
        stream's side of `Info.rope_length`."""
        info = self._engine.info
        assert self._reserve
        return not self._waiting and info.is_long(length) == info.is_long(self._reserve.longest)

    def row(self, number: int, wanted: Prepared) -> Row:
        """A row that may join, of a new number. UsageError or VectorError for one that never can."""
        row = self._row(number, wanted.request, wanted.watch, wanted.alarms)
        assert self._reserve
        check_join(self._engine.info, prompt_of([row]), row.limit, self._reserve)
        return row

    def join(self, groups: Sequence[Group]) -> None:
        """Prefill the prompts of groups, each from the positions that are held for it, and decode their rows.

        Raises OutOfMemory if there is no place for them now, and what the engine cannot do; the others go on.
        """
        rows = [row for group in groups for row in group.rows]
        prompts = [prompt_of(group.rows, group.keep, group.held) for group in groups]
        self._rows |= {row.number: row for row in rows}
        try:
            self._reads()
            scores = self._stream.join(prompts, max(group.room for group in groups))
        except BaseException:
            self._forget(rows)
            raise
        self._keep_scores([group.rows for group in groups], scores)
        self._live += rows
        self._opened += len(rows)
        self._begin += [event for row in rows for event in row.gates.begin(row.number)]

    def prefill(self, group: Group, tokens: int) -> Held:
        """Run the next tokens of a group's prompt, and hold its positions up to there."""
        ids = group.request.ids[: group.keep + tokens]
        return self._stream.prefill(Prompt(ids, group.steering, keep=group.keep, held=group.held))

    def run_of(self, number: int) -> tuple[IntArray, Steering]:
        """The ids of a row that the cache holds, (n,) int32, and the steering that they were computed under."""
        row = self._rows[number]
        return row.whole[: row.length], ended(row.steering, row.length)

    def hold(self, number: int, length: int) -> int:
        """Hold the first positions of a row. Raises OutOfMemory."""
        return self._stream.hold(self._live.index(self._rows[number]), length)

    def release(self, held: int) -> None:
        """Free held positions."""
        self._stream.release(held)

    def end(self, number: int) -> None:
        """End a row at the next step, keeping its text; its last token is run for its score."""
        if row := self._rows.get(number):
            row.ending = row.ending or "stopped"

    def remove(self, numbers: Sequence[int]) -> None:
        """Take rows out at once, without another event."""
        rows = [self._rows[number] for number in numbers if number in self._rows]
        if live := [row for row in rows if row in self._live]:
            self._leave(live)
        self._waiting = [row for row in self._waiting if row not in rows]
        self._forget(rows)

    @property
    def all_numbers(self) -> list[int]:
        """All its rows, also those that wait for a new stream."""
        return list(self._rows)

    @property
    def numbers(self) -> list[int]:
        """The rows that are being decoded."""
        return [row.number for row in self._live]

    def _finish(self) -> list[Event]:
        events = super()._finish()
        if len(self._rows) > self.width:
            self._forget([row for row in self._rows.values() if row not in self._live and row not in self._waiting])
        return events

    def _leave(self, rows: Sequence[Row]) -> None:
        for row in rows:
            if row.ending and row.number not in self._spoilt:
                self._leaving(row.number)
        super()._leave(rows)

    def _forget(self, rows: Sequence[Row]) -> None:
        for row in rows:
            self._rows.pop(row.number, None)
            self._spoilt.discard(row.number)
            self.prompt_scores.pop(row.number, None)

    def _not_finite(self, rows: Sequence[Row]) -> list[Event]:
        try:
            return super()._not_finite(rows)
        except LocalprobeError as error:
            for row in rows:
                row.ending = "stopped"
                self._spoilt.add(row.number)
            return [Failed(row.number, str(error)) for row in rows]

    def _read(self, row: Row, gates: RowGates) -> None:
        row.gates = gates
        self._reads()

    def _reads(self) -> None:
        """Have the stream read what the rows need."""
        wanted = watches_of(self._rows.values())
        if [watch.content for watch in wanted] != [watch.content for watch in self._watch]:
            self._stream.watch(wanted)
            self._watch = wanted
        self._find_columns()

    def _open(self, prompts: Sequence[Prompt], room: int, reuse: Stream | None = None) -> Stream:
        assert self._reserve
        info = self._engine.info
        if any(info.is_long(len(prompt.ids)) for prompt in prompts):  # rows that have outgrown the stream before
            self._reserve = replace(self._reserve, longest=info.context)
        self.opened = next(_streams)
        return super()._open(prompts, room, reuse)
