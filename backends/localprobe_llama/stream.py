"""Decoding: rows in one KV cache, of which every step extends each by one token.

llama.cpp takes other kernels where a pass has other numbers of rows, and on x86 those for Q4_K, Q5_0 and Q8_0 add up in
another order. Activations are rounded to 8 bits before they meet quantised weights, so a sum that differs in its last
bit may round the other way, and the next blocks amplify that up to the error of this rounding itself. With such weights
a row in a batch is therefore another draw than the same row alone, and no worse a one. Measured with AVX2 on 24 texts
of 80 tokens: of Gemma-3-270M in Q4_K_M none was the same in a batch of 24 and alone, and the divergence from float32
arithmetic on the same weights was 0.009 nats per token either way (standard error 0.003). Of SmolLM2-135M in Q4_1,
whose kernels do not depend on the number of rows, all 24 were the same.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from localprobe.checks import check_growth
from localprobe.engine import FloatArray, Held, IntArray, Prompt, Steering, Step, Watch
from localprobe.errors import UsageError
from localprobe.sampling import most_likely, sample
from localprobe.watches import arranged
from localprobe_llama.callback import Work
from localprobe_llama.context import Context
from localprobe_llama.edits import Edit
from localprobe_llama.model import LlamaModel
from localprobe_llama.pool import Need, Pool
from localprobe_llama.rows import DecodedRow, Kept, rows_of
from localprobe_llama.steering import control, effective, plan, steps
from localprobe_llama.watched import Watched


class LlamaStream:
    """Rows being decoded. See `localprobe.engine.Stream`.

    `kept` describes what `context` holds of each row. Rows cannot join it: see `localprobe_llama.joining`.
    """

    def __init__(
        self,
        model: LlamaModel,
        pool: Pool,
        context: Context,
        kept: Sequence[Kept],
        prompts: Sequence[Prompt],
        *,
        room: int,
        watch: Sequence[Watch],
    ) -> None:
        self._model, self._pool = model, pool
        self._context: Context | None = context
        self._watch = Watched(watch)
        self._rows: list[DecodedRow] = []
        self._edits: Mapping[int, Sequence[Edit]] = {}  # in a step: what the control vector does not do
        self._planned = 0  # for how many steps they hold
        self._in_order = True
        """Whether the cache holds the rows and nothing else, each with its positions in order."""
        self._pending: IntArray | None = None
        self._late: FloatArray | None = None
        """(rows, watches) scores of tokens that were run when other rows joined."""
        self._logits: FloatArray = np.empty((0, model.vocabulary.size), np.float32)
        """(rows, vocabulary) logits of the tokens run last, until they are sampled from."""
        self._prompt_scores = self._add(prompts, list(rows_of(prompts, kept, room)))

    @property
    def prompt_scores(self) -> Sequence[FloatArray]:
        self._open()
        return self._prompt_scores

    def step(self, uniforms: NDArray[np.float64]) -> Step:
        self._open()
        if not self._rows:
            raise UsageError("this stream has no rows to decode")
        scores = self._run_pending()
        ids, logprobs = sample(self._logits, [row.sampler for row in self._rows], uniforms)
        self._pending = ids
        listed = max(row.top for row in self._rows)
        return Step(ids, logprobs, scores, most_likely(self._logits, listed) if listed else None)

    def settle(self) -> FloatArray:
        self._open()
        return self._run_pending()

    def steer(self, row: int, steering: Steering) -> None:
        self._open()
        self._rows[row].steering = effective(steering)
        self._steer_rows()

    def drop(self, rows: Sequence[int]) -> None:
        self._open()
        # Cells of dropped rows are not freed: a later token in a freed cell would precede earlier ones of its row, and
        # attention, which sums in the order of cells in float16, would give other numbers than without the drop.
        gone = set(rows)
        stay = [number for number in range(len(self._rows)) if number not in gone]
        self._in_order = self._in_order and len(stay) == len(self._rows)
        self._rows = [self._rows[number] for number in stay]
        if self._pending is None or not stay:
            self._pending, self._logits = None, self._logits[stay]
        else:
            self._pending = self._pending[stay]
        if self._late is not None:
            self._late = self._late[stay]
        self._steer_rows()

    def join(self, prompts: Sequence[Prompt], room: int) -> Sequence[FloatArray]:
        raise self._closed_to_rows()

    def prefill(self, prompt: Prompt) -> Held:
        raise self._closed_to_rows()

    def hold(self, row: int, length: int) -> int:
        raise self._closed_to_rows()

    def release(self, held: int) -> None:
        raise self._closed_to_rows()

    def _closed_to_rows(self) -> UsageError:
        self._open()
        return UsageError("no row can join this stream: open it with `reserve`")

    def watch(self, watch: Sequence[Watch]) -> None:
        self._open()
        if self._late is not None:
            self._late = arranged(self._late, self._watch.all, watch)
        self._watch = Watched(watch)

    def close(self) -> None:
        if self._context is not None:
            self._pool.give(self._hand_over())

    def continue_with(self, need: Need, prompts: Sequence[Prompt]) -> tuple[Context, list[Kept]]:
        """Hand the cache, cut to what each of `prompts` keeps, to a new stream, and close this one.

        Returns the context (a new one if this one does not meet `need`), and what it holds of each row.
        """
        context = self._open()
        kept = [
            Kept(row.sequence, context.forget(row.sequence, prompt.keep))
            for row, prompt in zip(self._rows, prompts, strict=True)
        ]
        if self._pool.fits(context, need) and len(kept) == 1 and self._in_order:
            return self._hand_over(), kept
        try:
            return self._moved(context, kept, need)
        finally:
            self.close()

    def _moved(self, context: Context, kept: Sequence[Kept], need: Need) -> tuple[Context, list[Kept]]:
        """A new context with the content of this one, from its first cell on."""
        other = self._pool.take(need)
        alike = self._pool.alike(context, other)
        moved = [Kept(number, row.length if alike else 0) for number, row in enumerate(kept)]
        try:
            for old, new in zip(kept, moved, strict=True):
                if new.length:
                    other.take(context, old.sequence, new.sequence)
        except BaseException:
            self._pool.give(other)
            raise
        return other, moved

    def _hand_over(self) -> Context:
        context = self._open()
        self._context, self._rows, self._pending = None, [], None
        self._logits = np.empty((0, 0), np.float32)  # it was a view into the context
        return context

    def _add(self, prompts: Sequence[Prompt], rows: Sequence[DecodedRow]) -> list[FloatArray]:
        """Prefill prompts, each once for all its copies, and let their `rows` follow those there are. Returns the
        prompts' scores. If a pass fails, the stream is as before but for what the cache holds of `rows`."""
        count = len(self._rows)
        logits = np.empty((count + len(rows), self._model.vocabulary.size), np.float32)
        logits[:count] = self._logits
        self._logits = logits[:count]  # a copy: what llama.cpp keeps is overwritten by the next pass
        edited = self._steer([*self._rows, *rows])
        try:
            scores = [self._fill(*each, edited=edited) for each in _by_prompt(prompts, rows, logits[count:])]
            self._rows, self._logits = [*self._rows, *rows], logits
        finally:
            self._steer_rows()
        return scores

    def _fill(self, prompt: Prompt, rows: Sequence[DecodedRow], logits: FloatArray, *, edited: bool) -> FloatArray:
        """Prefill a prompt into its rows, and set their `logits` (copies, vocabulary). Returns (n - keep, watches)
        scores."""
        first, *copies = rows
        scores, logits[:] = self._prefill_one(prompt, first, edited=edited)
        for copy in copies:
            self._open().share(first.sequence, copy.sequence)
            copy.length = first.length
        return scores

    def _prefill_one(self, prompt: Prompt, row: DecodedRow, *, edited: bool) -> tuple[FloatArray, FloatArray]:
        """Run the part of a prompt that is not cached, one prompt per pass, so that its numbers do not depend on the
        other prompts. Returns (n - keep, watches) scores, and logits (vocabulary,) until the next pass."""
        context, n = self._open(), len(prompt.ids)
        kept = row.length
        scores = np.empty((n - kept, self._watch.count), np.float32)
        every = self._model.layers - 1 in self._watch.layers  # the top block's residual is computed for outputs only
        size = min(context.batch, context.outputs) if every else context.batch
        outputs = np.zeros(0, np.bool_)
        for start in range(kept, n, size):
            stop = min(start + size, n)
            outputs = np.full(stop - start, every)
            outputs[-1] |= stop == n
            edits: dict[int, list[Edit]] = {}
            if edited:
                plan(edits, row.steering, start, stop, 0)
            work = Work(edits, self._watch.readers(scores[start - kept : stop - kept]))
            positions = np.arange(start, stop, dtype=np.int32)
            sequences = np.full(stop - start, row.sequence, np.int32)
            context.decode(prompt.ids[start:stop], positions, sequences, outputs, work)
            row.length = stop
        last: FloatArray = context.logits(int(outputs.sum()))[-1]
        return scores[prompt.keep - kept :], last

    def _run_pending(self) -> FloatArray:
        """Run the tokens sampled last, if they have not been. Returns (rows, watches) scores of them."""
        context = self._open()
        late, self._late = self._late, None
        if late is not None:
            return late
        scores = np.full((len(self._rows), self._watch.count), np.nan, np.float32)
        if self._pending is None:
            return scores
        check_growth(self._model.short_context, [row.length for row in self._rows])
        for number, row in enumerate(self._rows):
            if row.length >= row.limit:
                raise UsageError(f"row {number} is full at {row.length} tokens: open the stream with more room")
        if not self._planned:
            self._edits, self._planned = steps([(row.steering, row.length) for row in self._rows])
        positions = np.array([row.length for row in self._rows], np.int32)
        sequences = np.array([row.sequence for row in self._rows], np.int32)
        outputs = np.ones(len(self._rows), np.bool_)
        try:
            context.decode(self._pending, positions, sequences, outputs, Work(self._edits, self._watch.readers(scores)))
        except BaseException:
            if not self._model.rewinds:
                self.close()  # the rows are lost
            raise
        for row in self._rows:
            row.length += 1
        self._planned -= 1
        self._pending = None
        self._logits = context.logits(len(self._rows))
        return scores

    def _steer_rows(self) -> None:
        """Choose how the rows are steered from now on."""
        if self._rows:
            self._steer(self._rows)

    def _steer(self, rows: Sequence[DecodedRow]) -> bool:
        """Set the control vector if it can steer all rows, each from its position on; else they need edits."""
        deltas = control([(row.steering, row.length) for row in rows])
        served = deltas is not None and (self._model.controls or not deltas)
        self._open().control(deltas if deltas and served else {})
        self._edits, self._planned = {}, sys.maxsize if served else 0
        return not served

    def _open(self) -> Context:
        if self._context is None:
            raise UsageError("this stream is closed: open another")
        return self._context


def need(model: LlamaModel, prompts: Sequence[Prompt], room: int, watch: Sequence[Watch]) -> Need:
    """The size of the context that a stream needs."""
    rows = sum(prompt.copies for prompt in prompts)
    longest = max(len(prompt.ids) for prompt in prompts)
    short = model.short_context
    if short is not None and longest <= short:  # no row is run past it
        rooms = [min(room, short - len(prompt.ids)) for prompt in prompts]
    else:
        rooms = [room for _ in prompts]
    cells = sum(len(prompt.ids) + prompt.copies * own for prompt, own in zip(prompts, rooms, strict=True))
    # The top block's residual is computed for outputs only: to watch it, the whole prompt is output.
    every = model.layers - 1 in Watched(watch).layers
    return Need(cells, rows, longest, model.batch if every else rows)


def _by_prompt(
    prompts: Sequence[Prompt], rows: Sequence[DecodedRow], logits: FloatArray
) -> Iterator[tuple[Prompt, Sequence[DecodedRow], FloatArray]]:
    """Each prompt with its rows and their logits (copies, vocabulary)."""
    first = 0
    for prompt in prompts:
        own = slice(first, first + prompt.copies)
        yield prompt, rows[own], logits[own]
        first = own.stop
