"""A stream that rows join and leave all the time, as in a server."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from localprobe.batches import capacities
from localprobe.checks import check_place, check_prompts, check_side
from localprobe.engine import FloatArray, Held, Info, Prompt, Reserve, Watch
from localprobe.errors import OutOfMemory, UsageError
from localprobe_torch.memory import out_of_memory
from localprobe_torch.network import Network
from localprobe_torch.sampling import BatchSampler
from localprobe_torch.slots import Positions, SlotCache
from localprobe_torch.steering import RowSteering
from localprobe_torch.stream import FULL, TorchStream


class JoinStream(TorchStream):
    """Rows in the first slots of a cache with spare ones: a row that joins or leaves moves no other, or the last one.

    Created by `open` with a `reserve`; the engine checks the arguments.
    """

    _cache: SlotCache

    def __init__(
        self,
        network: Network,
        info: Info,
        prompts: Sequence[Prompt],
        room: int,
        watch: Sequence[Watch],
        reserve: Reserve,
    ) -> None:
        super().__init__(network, watch)
        self._info = info
        self._reserve = reserve
        self._long = info.is_long(reserve.longest)
        self._limits = np.arange(0)  # by slot: the most positions that it may hold
        self._held: dict[int, Positions] = {}
        self._holds = 0  # numbers given so far
        self._cache = SlotCache(network.layers)
        network.check_columns(reserve.tokens, FULL)
        if prompts:
            self._prompt_scores = self.join(prompts, room)

    @torch.inference_mode()
    def join(self, prompts: Sequence[Prompt], room: int) -> Sequence[FloatArray]:
        self._check_open()
        check_prompts(self._info, prompts, room)
        check_side(self._info.rope_length, long=self._long, prompts=prompts)
        self._check_begun(prompts)
        limits = capacities(prompts, room)
        self._check_reserve(limits)
        padded = max(prompt.keep for prompt in prompts) + max(len(prompt.ids) - prompt.keep for prompt in prompts)
        with out_of_memory(FULL):
            self._make_place(len(limits), max(padded, *limits))
            self._late = self._run_pending()
            hidden, scores = self._prefill(prompts)
        self._append(prompts, limits, hidden)
        return scores

    def _prefill(self, prompts: Sequence[Prompt]) -> tuple[Tensor, list[FloatArray]]:
        """Run prompts in the slots after those of the rows. Returns the hidden states (prompts, width) and scores."""
        cache, first = self._cache, self._rows
        for slot in range(first, first + sum(prompt.copies for prompt in prompts)):
            cache.clear(slot)
        for slot, prompt in enumerate(prompts, first):
            if prompt.held is not None:
                cache.put(self._held[prompt.held], prompt.keep, slot)
        found = self._run_prompts(prompts, cache, cache.columns, first)
        spare = first + len(prompts)
        for slot, prompt in enumerate(prompts, first):
            for _ in range(prompt.copies - 1):
                cache.copy(slot, spare)
                spare += 1
        return found

    def _append(self, prompts: Sequence[Prompt], limits: Sequence[int], hidden: Tensor) -> None:
        """Count the prompts that were run among the rows, the first of their copies before the others."""
        first, device = self._rows, self.network.device
        others = [number for number, prompt in enumerate(prompts) for _ in range(prompt.copies - 1)]
        slots = [*range(len(prompts)), *others]  # the prompt in each new slot
        hidden = hidden[torch.tensor(slots, device=hidden.device)] if others else hidden
        self._hidden = torch.cat([self._hidden, hidden]) if first else hidden
        late = self._no_scores(first) if self._late is None else self._late
        self._late = torch.cat([late, self._no_scores(len(slots))])
        self._lengths = np.append(self._lengths, [len(prompts[number].ids) for number in slots])
        steerings = [RowSteering(prompt.steering) for prompt in prompts]
        self._steerings += [steerings[number] for number in slots]
        samplers = [*self._sampler.samplers, *(prompts[number].sampler for number in slots)]
        tops = [*self._sampler.tops, *(prompts[number].top for number in slots)]
        self._sampler = BatchSampler(samplers, device, tops)
        in_order = np.argsort(slots, kind="stable")  # the slots of each prompt's rows follow each other
        self._limits = np.append(self._limits, np.array(limits)[np.argsort(in_order)])
        self._order = np.append(self._order, first + in_order)
        self._stale = 0

    @torch.inference_mode()
    def drop(self, rows: Sequence[int]) -> None:
        self._check_open()
        self._check_rows(rows)
        gone = set(rows)
        if not gone:
            return
        slots = list(range(self._rows))
        for slot in sorted((int(self._order[row]) for row in gone), reverse=True):
            last = len(slots) - 1
            if slot != last:
                self._cache.copy(last, slot)
                slots[slot] = slots[last]
            slots.pop()
        self._keep_slots(slots)
        self._limits = self._limits[slots]
        moved = {old: new for new, old in enumerate(slots)}
        self._order = np.array([moved[slot] for slot in self._order.tolist() if slot in moved], np.int64)
        self._shrink()

    @torch.inference_mode()
    def prefill(self, prompt: Prompt) -> Held:
        self._check_open()
        prompt = replace(prompt, copies=1)
        check_prompts(self._info, [prompt], 1)
        self._check_begun([prompt])
        length = len(prompt.ids)
        self._check_reserve([length])
        # the model takes a row for a long one by the positions of a pass: those of the beginning of one may be small
        long = self._long and not self._info.is_long(length)
        run = replace(prompt, ids=np.append(prompt.ids, prompt.ids[-1])) if long else prompt
        with out_of_memory(FULL):
            self.network.check_columns(len(run.ids), FULL)
            cache = SlotCache(self.network.layers)
            cache.resize(1, len(run.ids), 0)
            if prompt.held is not None:
                cache.put(self._held[prompt.held], prompt.keep, 0)
            _, (scores,) = self._run_prompts([run], cache, cache.columns, long=long)
        return Held(self._keep(cache.only(length)), scores[: length - prompt.keep])

    @torch.inference_mode()
    def hold(self, row: int, length: int) -> int:
        self._check_open()
        self._check_rows([row])
        slot = int(self._order[row])
        if not 1 <= length <= self._lengths[slot]:
            raise UsageError(f"cannot hold {length} positions of row {row}: its cache has {self._lengths[slot]}")
        self._check_reserve([length])
        with out_of_memory(FULL):
            self.network.check_columns(length, FULL)
            return self._keep(self._cache.cut(slot, length))

    def release(self, held: int) -> None:
        self._check_open()
        self._check_held(held)
        del self._held[held]

    def close(self) -> None:
        super().close()
        self._held = {}

    def _run_pending(self) -> Tensor:
        if self._pending is not None:
            for row, slot in enumerate(self._order):
                if self._lengths[slot] == self._limits[slot]:
                    raise UsageError(f"row {row} has no room for more than {self._limits[slot]} tokens: drop it")
        return super()._run_pending()

    def _keep(self, positions: Positions) -> int:
        self._holds += 1
        self._held[self._holds] = positions
        return self._holds

    def _make_place(self, more: int, columns: int) -> None:
        """Have slots for `more` rows, and as many columns. Raises OutOfMemory, with the cache as it was.

        What grows is doubled, so that it rarely does; but not beyond the reserve, or twice of what is needed.
        """
        cache, reserve = self._cache, self._reserve
        rows = self._rows + more
        columns = max(columns, int(self._limits.max(initial=0)))
        if rows <= cache.slots and columns <= cache.columns:
            return
        slots = _doubled(cache.slots, rows, reserve.rows)
        wide = _doubled(cache.columns, columns, reserve.longest)
        most = max(reserve.tokens, 2 * rows * columns)
        sizes = [size for size in ((slots, wide), (slots, columns)) if size[0] * size[1] <= most]
        for size in [*sizes, (rows, columns)]:
            try:
                self._resize(*size)
                return
            except OutOfMemory as error:
                refused = error
        raise refused

    def _shrink(self) -> None:
        """Give memory back that long rows have left and that is beyond the reserve."""
        rows, columns = max(self._rows, 1), max(int(self._limits.max(initial=0)), 1)
        if self._cache.size > max(self._reserve.tokens, 4 * rows * columns):
            with suppress(OutOfMemory):
                self._resize(rows, columns)

    def _resize(self, slots: int, columns: int) -> None:
        more = max(slots * columns - self._cache.size, 0)
        with out_of_memory(FULL):  # layer by layer: the old one is freed after the new one is made
            self.network.check_columns(more + self._cache.size // self.network.layers, FULL)
            self._cache.resize(slots, columns, self._rows)
        self._capacity = columns

    def _check_begun(self, prompts: Sequence[Prompt]) -> None:
        """Raises UsageError if prompts are not what this stream's rows and held positions can begin."""
        for prompt in prompts:
            if prompt.held is not None:
                self._check_held(prompt.held)
            length = 0 if prompt.held is None else self._held[prompt.held].length
            if prompt.keep > length:
                raise UsageError(f"cannot keep {prompt.keep} positions: {length} are held for the prompt")

    def _check_held(self, held: int) -> None:
        if held not in self._held:
            raise UsageError(f"no positions are held under the number {held}: they were released")

    def _check_reserve(self, limits: Sequence[int]) -> None:
        """Raises OutOfMemory if there is no place for more rows of up to these numbers of tokens."""
        taken = [*self._limits.tolist(), *(held.length for held in self._held.values())]
        check_place(self._reserve, taken, limits)


def _doubled(old: int, needed: int, most: int) -> int:
    """The next size: the old one if that is enough, else twice as much, up to `most`, and at least what is needed."""
    return old if needed <= old else max(needed, min(2 * old, most))
