"""Decoding: rows with their own length, steering and sampler, one token per row and step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from localprobe.checks import check_growth
from localprobe.engine import FloatArray, Prompt, Steering, Step, Watch
from localprobe.errors import UsageError
from localprobe_torch.kv import ColumnCache, Frame
from localprobe_torch.memory import check_room, out_of_memory
from localprobe_torch.network import Network
from localprobe_torch.residuals import Projections
from localprobe_torch.rows import pad
from localprobe_torch.sampling import BatchSampler
from localprobe_torch.steering import LayerSteering, next_change, plan_steering
from localprobe_torch.taps import Plan

_FULL = "the KV cache does not fit into memory: use fewer rows, shorter prompts or less room"


class TorchStream:
    """A batch being decoded over one `ColumnCache`. Created by `open`; the engine checks the arguments."""

    def __init__(
        self,
        network: Network,
        prompts: Sequence[Prompt],
        room: int,
        watch: Sequence[Watch],
        reuse: TorchStream | None = None,
    ) -> None:
        self.network = network
        self._room = room
        self._projections = Projections(watch, network.devices)
        self._adds: dict[int, LayerSteering] = {}
        self._stale = 0.0  # steps until `_adds` must be updated
        self._sampled = 0
        self._pending: Tensor | None = None  # (rows,) int64: sampled, not yet run
        self._closed = False
        copies = [row for row, prompt in enumerate(prompts) for _ in range(prompt.copies)]
        self._steerings = [prompts[row].steering for row in copies]
        self._sampler = BatchSampler([prompts[row].sampler for row in copies], network.device)
        self._lengths = np.array([len(prompts[row].ids) for row in copies])  # (rows,): positions run
        longest = max(prompt.keep for prompt in prompts) + max(len(p.ids) - p.keep for p in prompts)
        self._capacity = max(int(self._lengths.max()) + room, longest)
        with out_of_memory(_FULL):
            if reuse:
                self._cache = reuse._hand_over(prompts, self._capacity)
            else:
                check_room(len(copies) * self._capacity * network.column_bytes, network.device, _FULL)
                self._cache = ColumnCache(network.layers)
            self._prefill(prompts, copies)

    def _hand_over(self, prompts: Sequence[Prompt], capacity: int) -> ColumnCache:
        """Hand the cache to a stream that resumes this one, and close this one."""
        cache = self._cache
        cache.take(range(len(prompts)), max(prompt.keep for prompt in prompts), capacity)
        self.close()
        return cache

    def _prefill(self, prompts: Sequence[Prompt], copies: Sequence[int]) -> None:
        network = self.network
        starts = [prompt.keep for prompt in prompts]
        fresh = [prompt.ids[prompt.keep :] for prompt in prompts]
        lengths = [len(ids) for ids in fresh]
        columns = max(lengths)
        once = len(copies) == len(prompts)
        frame = Frame(starts, columns, self._capacity if once else max(starts) + columns, network.device)
        adds = plan_steering([prompt.steering for prompt in prompts], starts, lengths, network.devices)
        plan = Plan(adds, self._projections.reads())
        longest = int(self._lengths.max())
        ids = pad(fresh, network.device)  # (prompts, columns)
        states = network.extend(ids, frame, self._cache, plan, longest)  # (prompts, columns, width)
        rows = torch.arange(len(prompts), device=states.device)
        self._hidden = states[rows, torch.tensor(lengths, device=states.device) - 1]  # (prompts, width)
        self._prompt_scores = self._scores_of_prompts(lengths)
        if not once:
            self._cache.take(copies, frame.length, self._capacity)
            self._hidden = self._hidden[torch.tensor(copies, device=states.device)]

    def _scores_of_prompts(self, lengths: Sequence[int]) -> list[FloatArray]:
        if not self._projections.count:
            return [np.empty((length, 0), dtype=np.float32) for length in lengths]
        scores = self._projections.take(self.network.device).cpu().numpy()  # (prompts, columns, watches)
        return [scores[row, :length] for row, length in enumerate(lengths)]

    @property
    def lengths(self) -> Sequence[int]:
        """Positions in the cache, by row."""
        self._check_open()
        return [int(length) for length in self._lengths]

    @property
    def prompt_scores(self) -> Sequence[FloatArray]:
        self._check_open()
        return self._prompt_scores

    @torch.inference_mode()
    def step(self, uniforms: NDArray[np.float64]) -> Step:
        self._check_open()
        if len(uniforms) != self._rows:
            raise UsageError(f"a step needs one uniform number per row: {self._rows}, not {len(uniforms)}")
        if self._rows == 0:
            return Step(
                np.empty(0, np.int32), np.empty(0, np.float32), np.empty((0, self._projections.count), np.float32)
            )
        if self._sampled == self._room:
            raise UsageError(f"the stream was opened with room for {self._room} tokens, and they are used up")
        with out_of_memory(_FULL):
            scores = self._run_pending()
            logits = self.network.head(self._hidden)  # (rows, vocabulary)
            self._pending, logprobs = self._sampler.draw(logits, uniforms)
            # ids are below 2^24, so float32 holds them: everything crosses to the host at once
            packed = torch.cat([self._pending[:, None].float(), logprobs[:, None], scores], -1).cpu().numpy()
        self._sampled += 1
        return Step(packed[:, 0].astype(np.int32), packed[:, 1], packed[:, 2:])

    @torch.inference_mode()
    def settle(self) -> FloatArray:
        self._check_open()
        with out_of_memory(_FULL):
            return self._run_pending().cpu().numpy()

    def _run_pending(self) -> Tensor:
        """Run the tokens sampled last. Returns their scores (rows, watches), NaN if none are pending."""
        network, count = self.network, self._projections.count
        if self._pending is None:
            return self._no_scores()
        check_growth(network.rope_length, self.lengths)
        if self._stale <= 0:
            self._steer_anew()
        frame = Frame(self._lengths, 1, self._capacity, network.device)
        plan = Plan(self._adds, self._projections.reads())
        self._hidden = network.extend(self._pending[:, None], frame, self._cache, plan)[:, -1]  # (rows, width)
        self._lengths = self._lengths + 1
        self._stale -= 1
        self._pending = None
        return self._projections.take(network.device)[:, -1] if count else self._no_scores()

    @property
    def _rows(self) -> int:
        return len(self._steerings)

    def _no_scores(self) -> Tensor:
        return torch.full((self._rows, self._projections.count), torch.nan, device=self.network.device)

    def _steer_anew(self) -> None:
        """Compute the edits for the next positions; they stay valid until a term begins or ends."""
        starts = [int(length) for length in self._lengths]
        self._adds = plan_steering(self._steerings, starts, [1] * self._rows, self.network.devices)
        changes = (next_change(terms, start) - start for terms, start in zip(self._steerings, starts, strict=True))
        self._stale = min(changes)

    def steer(self, row: int, steering: Steering) -> None:
        self._check_open()
        self._check_rows([row])
        self._steerings[row] = steering
        self._stale = 0

    @torch.inference_mode()
    def drop(self, rows: Sequence[int]) -> None:
        self._check_open()
        self._check_rows(rows)
        stay = [row for row in range(self._rows) if row not in set(rows)]
        if len(stay) == self._rows:
            return
        index = torch.tensor(stay, dtype=torch.int64, device=self.network.device)
        with out_of_memory(_FULL):
            self._cache.take(stay, int(self._lengths.max()), self._capacity)
        self._hidden = self._hidden[index.to(self._hidden.device)]
        self._pending = self._pending[index] if stay and self._pending is not None else None
        self._lengths = self._lengths[stay]
        self._steerings = [self._steerings[row] for row in stay]
        self._sampler = self._sampler.take(stay)
        self._stale = 0

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            del self._cache, self._hidden
            self._pending = None
            self._adds = {}

    def _check_open(self) -> None:
        if self._closed:
            raise UsageError("this stream is closed: open a new one")
        self.network.check_open()

    def _check_rows(self, rows: Sequence[int]) -> None:
        for row in rows:
            if not 0 <= row < self._rows:
                raise UsageError(f"row {row} is out of range: the stream has {self._rows} rows")
