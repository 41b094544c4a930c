"""A stream of prompts that were opened together: rows may leave it, and none can join."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

import numpy as np
import torch
from numpy.typing import NDArray

from localprobe.batches import copied
from localprobe.engine import FloatArray, Held, Prompt, Step, Watch
from localprobe.errors import UsageError
from localprobe_torch.kv import ColumnCache
from localprobe_torch.memory import out_of_memory
from localprobe_torch.network import Network
from localprobe_torch.sampling import BatchSampler
from localprobe_torch.steering import RowSteering
from localprobe_torch.stream import FULL, TorchStream


class BatchStream(TorchStream):
    """A batch, in a cache that holds just its rows. Created by `open`; the engine checks the arguments."""

    def __init__(
        self,
        network: Network,
        prompts: Sequence[Prompt],
        room: int,
        watch: Sequence[Watch],
        reuse: BatchStream | None = None,
    ) -> None:
        super().__init__(network, watch)
        self._room = room
        self._sampled = 0
        copies = copied(prompts)
        self._order = np.arange(len(copies))
        steerings = [RowSteering(prompt.steering) for prompt in prompts]
        self._steerings = [steerings[row] for row in copies]
        self._sampler = BatchSampler(
            [prompts[row].sampler for row in copies], network.device, [prompts[row].top for row in copies]
        )
        self._lengths = np.array([len(prompts[row].ids) for row in copies])
        self._columns = max(prompt.keep for prompt in prompts) + max(len(p.ids) - p.keep for p in prompts)
        self._capacity = max(int(self._lengths.max()) + room, self._columns)
        with out_of_memory(FULL):
            if reuse:
                self._cache = reuse._hand_over(prompts, self._capacity)
            else:
                network.check_columns(len(copies) * self._capacity, FULL)
                self._cache = ColumnCache(network.layers)
            self._prefill(prompts, copies)

    def _hand_over(self, prompts: Sequence[Prompt], capacity: int) -> ColumnCache:
        """Hand the cache to a stream that resumes this one, and close this one."""
        cache = self._cache
        cache.take(range(len(prompts)), max(prompt.keep for prompt in prompts), capacity)
        self.close()
        return cache

    def _prefill(self, prompts: Sequence[Prompt], copies: Sequence[int]) -> None:
        once = len(copies) == len(prompts)
        capacity = self._capacity if once else self._columns
        self._hidden, self._prompt_scores = self._run_prompts(prompts, self._cache, capacity)
        if not once:
            self._cache.take(copies, self._columns, self._capacity)
            self._hidden = self._hidden[torch.tensor(copies, device=self._hidden.device)]

    def step(self, uniforms: NDArray[np.float64]) -> Step:
        self._check_open()
        if self._sampled == self._room and self._rows:
            raise UsageError(f"the stream was opened with room for {self._room} tokens, and they are used up")
        step = super().step(uniforms)
        self._sampled += 1
        return step

    @torch.inference_mode()
    def drop(self, rows: Sequence[int]) -> None:
        self._check_open()
        self._check_rows(rows)
        stay = [row for row in range(self._rows) if row not in set(rows)]
        if len(stay) == self._rows:
            return
        with out_of_memory(FULL):
            self._cache.take(stay, int(self._lengths.max()), self._capacity)
        self._keep_slots(stay)
        self._order = np.arange(len(stay))

    def join(self, prompts: Sequence[Prompt], room: int) -> Sequence[FloatArray]:
        self._refuse()

    def prefill(self, prompt: Prompt) -> Held:
        self._refuse()

    def hold(self, row: int, length: int) -> int:
        self._refuse()

    def release(self, held: int) -> None:
        self._refuse()

    def _refuse(self) -> NoReturn:
        self._check_open()
        raise UsageError("no row can join this stream: open it with `reserve`")
