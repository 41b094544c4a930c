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
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from localprobe.checks import check_growth
from localprobe.engine import FloatArray, IntArray, Prompt, Sampler, Steering, Step, Watch
from localprobe.errors import UsageError
from localprobe.sampling import sample
from localprobe_llama.callback import Reader, Work
from localprobe_llama.context import Context
from localprobe_llama.edits import Edit
from localprobe_llama.model import LlamaModel
from localprobe_llama.pool import Need, Pool
from localprobe_llama.steering import control, effective, plan, steps


@dataclass(slots=True)
class _Row:
    sequence: int
    """Its sequence number in the cache."""
    length: int
    """Number of positions in the cache."""
    limit: int
    steering: Steering
    sampler: Sampler


@dataclass(frozen=True, slots=True)
class Held:
    """The part of a row that a cache holds: its sequence number, and its number of positions."""

    sequence: int
    length: int = 0


class LlamaStream:
    """Rows being decoded. See `localprobe.engine.Stream`.

    `held` describes what `context` holds of each row.
    """

    def __init__(
        self,
        model: LlamaModel,
        pool: Pool,
        context: Context,
        held: Sequence[Held],
        prompts: Sequence[Prompt],
        *,
        room: int,
        watch: Sequence[Watch],
    ) -> None:
        self._model, self._pool = model, pool
        self._context: Context | None = context
        self._watch = _Watched(watch)
        self._rows = list(_rows(prompts, held, room))
        self._edits: Mapping[int, Sequence[Edit]] = {}  # in a step: what the control vector does not do
        self._planned = 0  # for how many steps they hold
        self._dropped = False
        self._pending: IntArray | None = None
        self._prompt_scores: list[FloatArray] = []
        self._logits = self._prefill(prompts)
        """(rows, vocabulary) logits of the tokens run last, until they are sampled from."""
        self._steer_rows()

    @property
    def prompt_scores(self) -> Sequence[FloatArray]:
        self._open()
        return self._prompt_scores

    def step(self, uniforms: NDArray[np.float64]) -> Step:
        self._open()
        scores = self._run_pending()
        ids, logprobs = sample(self._logits, [row.sampler for row in self._rows], uniforms)
        self._pending = ids
        return Step(ids, logprobs, scores)

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
        stay = [number for number in range(len(self._rows)) if number not in set(rows)]
        self._dropped = self._dropped or len(stay) < len(self._rows)
        self._rows = [self._rows[number] for number in stay]
        if self._pending is None:
            self._logits = self._logits[stay]
        else:
            self._pending = self._pending[stay]
        self._steer_rows()

    def close(self) -> None:
        if self._context is not None:
            self._pool.give(self._hand_over())

    def continue_with(self, need: Need, prompts: Sequence[Prompt]) -> tuple[Context, list[Held]]:
        """Hand the cache, cut to what each of `prompts` keeps, to a new stream, and close this one.

        Returns the context (a new one if this one does not meet `need`), and what it holds of each row.
        """
        context = self._open()
        held = [
            Held(row.sequence, context.forget(row.sequence, prompt.keep))
            for row, prompt in zip(self._rows, prompts, strict=True)
        ]
        if self._pool.fits(context, need) and len(held) == 1 and not self._dropped:
            return self._hand_over(), held
        try:
            return self._moved(context, held, need)
        finally:
            self.close()

    def _moved(self, context: Context, held: Sequence[Held], need: Need) -> tuple[Context, list[Held]]:
        """A new context with the content of this one, from its first cell on."""
        other = self._pool.take(need)
        alike = self._pool.alike(context, other)
        moved = [Held(number, row.length if alike else 0) for number, row in enumerate(held)]
        try:
            for old, new in zip(held, moved, strict=True):
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

    def _prefill(self, prompts: Sequence[Prompt]) -> FloatArray:
        """Run the part of each prompt that is not cached, once for all its copies. Returns logits (rows,
        vocabulary)."""
        context = self._open()
        firsts = [sum(prompt.copies for prompt in prompts[:number]) for number in range(len(prompts))]
        rows = [self._rows[first] for first in firsts]
        edited = self._steer([(row.steering, row.length) for row in rows])
        logits = np.empty((len(self._rows), self._model.vocabulary.size), np.float32)
        for first, prompt in zip(firsts, prompts, strict=True):
            row, *copies = self._rows[first : first + prompt.copies]
            logits[first : first + prompt.copies] = self._prefill_one(prompt, row, edited=edited)
            for copy in copies:
                context.share(row.sequence, copy.sequence)
                copy.length = row.length
        return logits

    def _prefill_one(self, prompt: Prompt, row: _Row, *, edited: bool) -> FloatArray:
        """One prompt per pass, so that its numbers do not depend on the other prompts. Returns logits (vocabulary,)."""
        context, n = self._open(), len(prompt.ids)
        held = row.length
        scores = np.empty((n - held, self._watch.count), np.float32)
        outputs = np.zeros(0, np.bool_)
        for start in range(held, n, context.batch):
            stop = min(start + context.batch, n)
            outputs = np.full(stop - start, self._model.layers - 1 in self._watch.layers)  # the top block needs them
            outputs[-1] |= stop == n
            edits: dict[int, list[Edit]] = {}
            if edited:
                plan(edits, row.steering, start, stop, 0)
            work = Work(edits, self._watch.readers(scores[start - held : stop - held]))
            positions = np.arange(start, stop, dtype=np.int32)
            sequences = np.full(stop - start, row.sequence, np.int32)
            context.decode(prompt.ids[start:stop], positions, sequences, outputs, work)
            row.length = stop
        self._prompt_scores.append(scores[prompt.keep - held :])
        last: FloatArray = context.logits(int(outputs.sum()))[-1]
        return last

    def _run_pending(self) -> FloatArray:
        """Run the tokens sampled last, if they have not been. Returns (rows, watches) scores of them."""
        context = self._open()
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
            edited = self._steer([(row.steering, row.length) for row in self._rows])
            self._edits, self._planned = {}, 0 if edited else sys.maxsize

    def _steer(self, rows: Sequence[tuple[Steering, int]]) -> bool:
        """Set the control vector if it can steer all rows, each from its position on; else they need edits."""
        deltas = control(rows)
        served = deltas is not None and (self._model.controls or not deltas)
        self._open().control(deltas if deltas and served else {})
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
    every = model.layers - 1 in _Watched(watch).layers
    return Need(cells, rows, longest, model.batch if every else rows)


class _Watched:
    def __init__(self, watch: Sequence[Watch]) -> None:
        self.count = len(watch)
        self.layers = sorted({watched.layer for watched in watch})
        numbers = {layer: [n for n, watched in enumerate(watch) if watched.layer == layer] for layer in self.layers}
        self._vectors = {
            layer: np.stack([watch[n].vector for n in columns], axis=1) for layer, columns in numbers.items()
        }  # (width, columns)
        self._columns = {layer: _together(columns) for layer, columns in numbers.items()}

    def readers(self, scores: FloatArray) -> Mapping[int, Reader]:
        """Readers that project residuals into `scores` (rows, watches)."""

        def reader(layer: int) -> Reader:
            columns, vectors = self._columns[layer], self._vectors[layer]

            def read(residual: FloatArray) -> None:  # (rows, width)
                scores[:, columns] = residual @ vectors

            return read

        return {layer: reader(layer) for layer in self.layers}


def _together(numbers: list[int]) -> slice | list[int]:
    """Numbers as a slice if they follow each other, which numpy finds its way to in a fraction of the time."""
    first, last = numbers[0], numbers[-1]
    return slice(first, last + 1) if last - first == len(numbers) - 1 else numbers


def _rows(prompts: Sequence[Prompt], held: Sequence[Held], room: int) -> Iterator[_Row]:
    places = iter(held)
    for prompt in prompts:
        steering = effective(prompt.steering)
        for _ in range(prompt.copies):
            place = next(places)
            yield _Row(place.sequence, place.length, len(prompt.ids) + room, steering, prompt.sampler)
