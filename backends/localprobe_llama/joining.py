"""A stream that rows may join while others decode, and that holds positions for later rows.

Rows and held positions are sequences of one context, which has the size of the reserve for the stream's life. Those
that begin alike share the cells of their beginning, so copying held positions costs nothing; against the reserve every
sequence counts whole. A sequence that ends leaves its cells to later ones, and llama.cpp fills free cells one by one,
so they need not lie together. Attention sums positions in float16 in the order of their cells: a row that took cells
before its own rounds otherwise than the row alone, and no worse (against sums in float32 both lie equally far off, a
median of 4.6e-3 nats for a tiny Llama); any other row is as in a batch. Of 16 greedy answers of 48 tokens by
SmolLM2-135M in Q4_1 that joined and left, 10 were those of the rows alone; the others parted from token 4 on, each at a
token that lay within 0.14 nats of the next likely.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from localprobe.batches import capacities
from localprobe.checks import check_place
from localprobe.engine import FloatArray, Held, Prompt, Reserve, Watch
from localprobe_llama.context import Context
from localprobe_llama.model import LlamaModel
from localprobe_llama.pool import Need, Pool
from localprobe_llama.rows import Kept, rows_of
from localprobe_llama.stream import LlamaStream
from localprobe_llama.watched import Watched

_OUTPUTS = 32  # of a pass, at least: a prompt whose top block is read is prefilled in pieces of so many tokens


class JoinableStream(LlamaStream):
    """A stream that was opened with a `reserve`. See `localprobe.engine.Stream`."""

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
        reserve: Reserve,
    ) -> None:
        used = {place.sequence for place in kept}
        self._free = [sequence for sequence in reversed(range(context.rows)) if sequence not in used]
        self._reserve = reserve
        self._held: dict[int, Kept] = {}
        self._holds = 0  # numbers given so far
        self._rows = []
        self._check_place(capacities(prompts, room))
        super().__init__(model, pool, context, kept, prompts, room=room, watch=watch)
        self._in_order = False

    def join(self, prompts: Sequence[Prompt], room: int) -> Sequence[FloatArray]:
        self._open()
        self._check_place(capacities(prompts, room))
        self._late = self._run_pending()
        places = [place for prompt in prompts for place in self._begin(prompt, prompt.copies)]
        try:
            scores = self._add(prompts, list(rows_of(prompts, places, room)))
        except BaseException:
            for place in places:
                self._vacate(place.sequence)
            raise
        unread = np.full((len(places), self._watch.count), np.nan, np.float32)
        self._late = np.concatenate([self._late, unread])
        return scores

    def prefill(self, prompt: Prompt) -> Held:
        self._open()
        self._check_place([len(prompt.ids)])
        (place,) = self._begin(prompt, 1)
        (row,) = rows_of([replace(prompt, copies=1)], [place], 0)
        if self._pending is None:
            self._logits = self._logits.copy()  # what llama.cpp keeps is overwritten by the next pass
        # Rows that a control vector steered get edits from now on if this prompt needs them: to set the vector again
        # after each piece of a long prompt takes as long as twenty steps gain by it.
        edited = self._steer([*self._rows, row])
        try:
            scores, _ = self._prefill_one(prompt, row, edited=edited)
        except BaseException:
            self._vacate(place.sequence)
            raise
        return Held(self._keep(Kept(row.sequence, row.length)), scores)

    def hold(self, row: int, length: int) -> int:
        context = self._open()
        self._check_place([length])
        sequence = self._free.pop()
        return self._keep(Kept(sequence, context.begin(self._rows[row].sequence, sequence, length)))

    def release(self, held: int) -> None:
        self._open()
        self._vacate(self._held.pop(held).sequence)

    def drop(self, rows: Sequence[int]) -> None:
        self._open()
        left = [self._rows[number].sequence for number in set(rows)]
        super().drop(rows)
        for sequence in left:
            self._vacate(sequence)

    def _begin(self, prompt: Prompt, copies: int) -> list[Kept]:
        """Take sequences for a prompt; the first begins with what the prompt keeps of held positions."""
        sequences, kept = [self._free.pop() for _ in range(copies)], 0
        if prompt.held is not None:
            held = self._held[prompt.held]
            if prompt.keep <= held.length:  # else they could not be held, and are computed again
                kept = self._open().begin(held.sequence, sequences[0], prompt.keep)
        return [Kept(sequence, kept) for sequence in sequences]

    def _keep(self, kept: Kept) -> int:
        self._holds += 1
        self._held[self._holds] = kept
        return self._holds

    def _vacate(self, sequence: int) -> None:
        """Free a sequence and its cells."""
        if self._context is not None:  # a pass that failed may have closed the stream
            self._context.forget(sequence)
        self._free.append(sequence)

    def _check_place(self, more: Sequence[int]) -> None:
        """Raise OutOfMemory if the reserve has no place for rows of so many tokens besides what there is."""
        taken = [*(row.limit for row in self._rows), *(held.length for held in self._held.values())]
        check_place(self._reserve, taken, more)


def need(model: LlamaModel, reserve: Reserve, watch: Sequence[Watch]) -> Need:
    """The size of the context that a stream with this reserve needs."""
    every = model.layers - 1 in Watched(watch).layers  # then whole prompts are output
    return Need(reserve.tokens, reserve.rows, reserve.longest, model.batch if every else max(reserve.rows, _OUTPUTS))
