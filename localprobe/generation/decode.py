"""The decode loop, the same for every engine: rows, stop rules, seeds, text, and live scores matched to their tokens.

A token's score is the projection of its own residual, which exists one step after the token was sampled; so a `Score`
follows its `Token` one step later, and the last token of a row gets one more pass before the row is finished. The end
token that a model samples is not part of the answer: it gives no `Token`, and its row is `Finished` with reason "end".

Where a model rotates long rows by other factors (`Info.rope_length`), a row that outgrows that length leaves its batch
and waits until the others have ended or outgrown it too; then all that wait are prefilled anew, as the longer rows that
they have become. So each token is predicted, and scored, as by a pass over the text up to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from localprobe.batches import ROWS
from localprobe.checks import check_prompt_length, check_prompts, check_steering
from localprobe.engine import Engine, FloatArray, Prompt, Reserve, Steering, Step, Stream, Watch
from localprobe.errors import EngineError, OutOfMemory, UsageError
from localprobe.generation.detokenizer import Detokenizer, StopStrings
from localprobe.generation.events import Event, Score, Token
from localprobe.generation.gates import RowGates, fired, without_added
from localprobe.generation.request import Request, Row, prompt_of, watches_of
from localprobe.steering.gates import Alarm
from localprobe.steering.history import begun, ended

__all__ = ["Decoding", "Request", "generate", "steps"]


class Decoding:
    """Answers being generated in one batch, step by step.

    Terms of a request may have gates (`localprobe.steering.gates`); `alarms` tell when a probe fires. What only gates
    and alarms read is in no `Score`.

    `numbers` are the rows' numbers in events (0, 1, ... by default). With `reuse`, row i resumes from the cache of row
    i of an earlier decoding, of which the first `keep[i]` positions are kept. With a `reserve`, there may be no
    requests yet, and a subclass lets rows join.

    Raises UsageError for a prompt that leaves no room in the context, OutOfMemory if the cache does not fit.
    """

    def __init__(
        self,
        engine: Engine,
        requests: Sequence[Request],
        watch: Sequence[Watch] = (),
        *,
        numbers: Sequence[int] | None = None,
        reuse: Decoding | None = None,
        keep: Sequence[int] = (),
        alarms: Sequence[Alarm] = (),
        reserve: Reserve | None = None,
    ) -> None:
        self._engine = engine
        self._reserve = reserve
        self._end = frozenset(engine.info.eos)
        numbers = range(len(requests)) if numbers is None else numbers
        rows = [self._row(*row, watch, alarms) for row in zip(numbers, requests, strict=True)]
        self._rows = {row.number: row for row in rows}
        self._watch = watches_of(rows)
        self._find_columns()
        self._begin = [event for row in rows for event in row.gates.begin(row.number)]
        groups = _groups(rows) if reuse is None else [[row] for row in rows]
        keeps = dict(zip(numbers, keep, strict=True)) if keep else {}
        prompts = [prompt_of(group, keeps.get(group[0].number, 0)) for group in groups]
        room = max((row.limit for row in rows), default=1)
        check_prompts(engine.info, prompts, room, self._watch)
        self._stream: Stream = self._open(prompts, room, reuse._stream if reuse else None)
        self._live = [row for group in groups for row in group]
        self._opened = len(self._live)
        self._waiting: list[Row] = []  # rows that have outgrown their stream
        self.prompt_scores: dict[int, FloatArray] = {}
        """Row number -> scores of its prompt (positions computed by the prefill, watches)."""
        self._keep_scores(groups, self._stream.prompt_scores)

    @property
    def done(self) -> bool:
        """Whether every row is finished."""
        return not self._live and not self._waiting

    def step(self) -> list[Event]:
        """Sample a token for each unfinished row that does not wait for others. Returns scores of the previous tokens,
        then the new events."""
        events, self._begin = self._begin, []
        events += self._reopen() if self._waiting and not self._live else []
        if not self._live:
            return events
        if all(row.ending for row in self._live):
            return events + self._stepped(self._stream.settle())
        step = self._stream.step(np.array([row.uniform() for row in self._live]))
        if not np.isfinite(step.logprobs).all():
            finite = np.isfinite(step.logprobs).tolist()
            events += self._not_finite([row for row, fine in zip(self._live, finite, strict=True) if not fine])
        going = [row for row in self._live if not row.ending]
        sampled = {row.number: at for at, row in enumerate(self._live)}
        events += self._scored(step.scores)
        for row in going:
            events += self._token(row, step, sampled[row.number])
        self._turn_gates()
        return events + self._finish()

    def _not_finite(self, rows: Sequence[Row]) -> list[Event]:
        raise EngineError(
            f"{self._engine.info.model} gives predictions that are not finite in {self._engine.info.dtype}: "
            "lower the dose, or load it with `dtype` float32"
        )

    def steer(self, number: int, steering: Steering) -> None:
        """Change a row's steering for all positions not yet run. Gates of the same name keep their state.

        UsageError for a gate on a probe that is not read in this batch, and for what the engine cannot do.
        """
        for row in (*self._live, *self._waiting):
            if row.number == number:
                gates = RowGates(self._engine, steering, row.whole.tolist(), row.gates)
                check_steering(self._engine.info, gates.all_terms)
                self._read(row, gates)
                row.gates = gates
                self._find_columns()
                self._steer_row(row)

    def _read(self, row: Row, gates: RowGates) -> None:
        """Have the stream read what a row's new gates need. UsageError if it cannot."""
        if not {watch.content for watch in gates.watches} <= {watch.content for watch in self._watch}:
            raise UsageError("a gate on another probe cannot be added to an answer that has begun: send it again")

    def _steer_row(self, row: Row) -> None:
        """Let the terms whose gates are open act from the next position on."""
        row.steering = (*ended(row.steering, row.length), *begun(row.gates.steering(), row.length))
        if row in self._live:
            self._stream.steer(self._live.index(row), row.steering)

    def _turn_gates(self) -> None:
        """Steer the rows anew whose gates have opened or closed."""
        for row in self._live:
            if row.gates.turned:
                self._steer_row(row)
            row.gates.turned = False

    def stop(self) -> list[Event]:
        """End every row now, keeping the text so far; their last tokens are run and scored."""
        for row in (*self._live, *self._waiting):
            row.ending = row.ending or "stopped"
        events = self._stepped(self._stream.settle()) if self._live else []
        while any(row.reads_scores for row in self._waiting):
            events += self._reopen()
        events += (row.finished() for row in self._waiting)  # without a score to compute they need no prefill
        self._waiting = []
        return events

    @property
    def rows(self) -> int:
        """Number of rows, including finished ones."""
        return len(self._rows)

    @property
    def intact(self) -> bool:
        """Whether the cache still holds every row that was opened, so that another decoding can reuse it."""
        return self._opened == len(self._rows)

    def history(self, number: int = 0) -> tuple[list[int], Steering]:
        """The ids of a row that its cache holds, and the steering that each position was computed under."""
        row = self._rows[number]
        return [*row.request.ids.tolist(), *row.ids[: row.run]], ended(row.steering, row.length)

    def planned(self, number: int = 0) -> Steering:
        """The steering of a row, including that of tokens sampled but not yet run."""
        return self._rows[number].steering

    def answer(self, number: int = 0) -> list[int]:
        """The ids of a row's answer so far, without the token that ended it."""
        return list(self._rows[number].ids)

    def close(self) -> None:
        """Free the cache."""
        self._stream.close()

    def _find_columns(self) -> None:
        """Find what each row needs among the projections that the stream reads."""
        places = {watch.content: place for place, watch in enumerate(self._watch)}
        for row in self._rows.values():
            row.columns = [places[watch.content] for watch in row.watch]
            row.judged = [places[watch.content] for watch in row.reads]

    def _keep_scores(self, groups: Sequence[Sequence[Row]], scores: Sequence[FloatArray]) -> None:
        for group, own in zip(groups, scores, strict=True):
            self.prompt_scores |= {row.number: own[:, row.columns] for row in group}

    def _row(self, number: int, request: Request, watch: Sequence[Watch], alarms: Sequence[Alarm]) -> Row:
        info = self._engine.info
        check_prompt_length(info, request.ids)
        space = info.context - len(request.ids)
        if request.tokens < 1:
            raise UsageError(f"{request.tokens} tokens to generate: ask for at least 1")
        limit = min(request.tokens, space)
        gates = RowGates(self._engine, request.steering, request.ids.tolist())
        check_steering(info, gates.all_terms)  # also those that act only once a gate opens
        return Row(
            number=number,
            request=request,
            limit=limit,
            at_limit="length" if limit == request.tokens else "context",
            detokenizer=Detokenizer(self._engine.decode),
            stops=StopStrings(request.stops),
            gates=gates,
            steering=gates.steering(),
            watch=tuple(watch),
            alarms=tuple(alarms),
        )

    def _token(self, row: Row, step: Step, at: int) -> list[Event]:
        """Add the token that a step sampled for its row, number `at` in the stream; nothing for the end token."""
        token = int(step.ids[at])
        if token in self._end:
            row.ending = "end"
            return []
        index = len(row.ids)
        row.ids.append(token)
        text, stopped = row.stops.push(row.detokenizer.push(token))
        if stopped:
            row.ending = "stop"
        elif len(row.ids) >= row.limit:
            row.ending = row.at_limit
        sampled = Token(row.number, index, token, text, float(step.logprobs[at]), _listed(step, at, row.request.top))
        return [sampled, *row.gates.token(row.number, index, token)]

    def _stepped(self, scores: FloatArray) -> list[Event]:
        return self._scored(scores) + self._finish()

    def _scored(self, scores: FloatArray) -> list[Event]:
        """Scores of the tokens that were just run."""
        events: list[Event] = []
        for row, values in zip(self._live, scores, strict=True):
            if row.run < len(row.ids):
                if row.columns:
                    events.append(Score(row.number, row.run, values[row.columns]))
                if row.judged:
                    events += self._judged(row, values[row.judged])
                row.run += 1
        return events

    def _judged(self, row: Row, values: FloatArray) -> list[Event]:
        """What the scores (watches,) of what it reads, of the token run last, mean to gates and alarms."""
        scores = without_added(values, [self._watch[at] for at in row.judged], row.steering, row.length)
        alerts = fired(row.alarms, row.number, row.run, scores)
        return alerts + row.gates.scored(row.number, row.run + 1, scores)

    def _finish(self) -> list[Event]:
        """Remove rows that have ended and whose scores are complete, and set those aside that outgrow the stream."""
        over = [row for row in self._live if row.ending and (row.run == len(row.ids) or not row.reads_scores)]
        outgrown = [row for row in self._live if self._outgrows(row) and row not in over]
        if not over and not outgrown:
            return []
        self._waiting += outgrown
        self._leave([*over, *outgrown])
        return [row.finished() for row in over]

    def _leave(self, rows: Sequence[Row]) -> None:
        """Take rows out of the stream."""
        gone = [at for at, row in enumerate(self._live) if row in rows]
        self._live = [row for row in self._live if row not in rows]
        if self._live or self._reserve:  # else the last rows stay in the cache for another decoding to reuse
            self._stream.drop(gone)
            self._opened -= len(gone)

    def _outgrows(self, row: Row) -> bool:
        """Whether running its last token would make it one of the rows that are rotated by other factors."""
        length = self._engine.info.rope_length
        return length is not None and row.length == length and row.run < len(row.ids)

    def _reopen(self) -> list[Event]:
        """Prefill the rows that wait, anew; those that do not fit into memory together wait on. Returns the scores of
        their last tokens, and the rows that these finish."""
        self._stream.close()
        rows = [row for row in self._rows.values() if row in self._waiting]
        while True:
            prompts = [Prompt(row.whole, row.steering, row.request.sampler, top=row.request.top) for row in rows]
            room = max(1, *(row.limit - len(row.ids) for row in rows))
            try:
                self._stream = self._open(prompts, room)
                break
            except OutOfMemory:
                if len(rows) == 1:
                    raise
                rows = rows[: (len(rows) + 1) // 2]
        self._waiting = [row for row in self._waiting if row not in rows]
        self._live, self._opened = rows, len(rows)
        return self._stepped(np.stack([scores[-1] for scores in self._stream.prompt_scores]))

    def _open(self, prompts: Sequence[Prompt], room: int, reuse: Stream | None = None) -> Stream:
        if self._reserve is None:  # engines of others may not know the argument
            return self._engine.open(prompts, room=room, watch=self._watch, reuse=reuse)
        return self._engine.open(prompts, room=room, watch=self._watch, reserve=self._reserve)


def generate(
    engine: Engine,
    requests: Sequence[Request],
    watch: Sequence[Watch] = (),
    *,
    width: int = ROWS,
    alarms: Sequence[Alarm] = (),
) -> Iterator[Event]:
    """Generate any number of answers, `width` at a time; rows in events are indices into `requests`.

    A batch that does not fit into memory is halved and retried; OutOfMemory is raised for a single row.
    """
    for events in steps(engine, requests, watch, width=width, alarms=alarms):
        yield from events


def steps(
    engine: Engine,
    requests: Sequence[Request],
    watch: Sequence[Watch] = (),
    *,
    width: int = ROWS,
    alarms: Sequence[Alarm] = (),
) -> Iterator[list[Event]]:
    """As `generate`, with the events of each step in a list, so that rows that end together can be handled together.

    After a batch did not fit, later batches are no wider than the one that did.
    """
    pending = _waves(engine, requests, width)
    most = width
    while pending:
        wave = pending.pop()
        if len(wave) > most:
            pending += [wave[at : at + most] for at in range(0, len(wave), most)][::-1]
            continue
        try:
            decoding = Decoding(engine, [requests[i] for i in wave], watch, numbers=wave, alarms=alarms)
        except OutOfMemory:
            if len(wave) == 1:
                raise
            most = (len(wave) + 1) // 2
            pending.append(wave)
            continue
        try:
            while not decoding.done:
                yield decoding.step()
        finally:
            decoding.close()


def _waves(engine: Engine, requests: Sequence[Request], width: int) -> list[list[int]]:
    """Indices of the requests in batches, the first batch last.

    All rows of a batch get the same room, so prompts that nearly fill the context are grouped by length. They are on
    one side of `rope_length`.
    """
    most = max((request.tokens for request in requests), default=0)
    kinds: dict[object, list[int]] = {}
    for i, request in enumerate(requests):
        length = len(request.ids)
        steering = None if engine.info.capabilities.row_steering else id(request.steering)
        space = engine.info.context - length
        kinds.setdefault((steering, space if space < most else None, engine.info.is_long(length)), []).append(i)
    waves = [rows[at : at + width] for rows in kinds.values() for at in range(0, len(rows), width)]
    return waves[::-1]


def _listed(step: Step, at: int, count: int) -> tuple[tuple[int, float], ...]:
    """The `count` most likely tokens of a step in row `at`."""
    if not count or step.top is None:
        return ()
    ids, logprobs = step.top.ids[at, :count].tolist(), step.top.logprobs[at, :count].tolist()
    return tuple(zip(ids, logprobs, strict=True))


def _groups(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows that start from the same prompt, steered and sampled alike, in order of first appearance."""
    groups: dict[object, list[Row]] = {}
    for row in rows:
        steering = tuple((t.layer, t.start, t.stop, t.content) for t in row.steering)
        groups.setdefault((row.request.ids.tobytes(), steering, row.request.sampler), []).append(row)
    return list(groups.values())
