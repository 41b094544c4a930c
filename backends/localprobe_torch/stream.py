"""Decoding: rows with their own length, steering and sampler, one token per row and step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from localprobe.checks import check_growth
from localprobe.engine import FloatArray, Prompt, Steering, Step, Top, Watch
from localprobe.errors import UsageError
from localprobe.watches import arranged
from localprobe_torch.kv import ColumnCache, Frame
from localprobe_torch.memory import out_of_memory
from localprobe_torch.network import Network
from localprobe_torch.residuals import Projections
from localprobe_torch.rows import pad
from localprobe_torch.sampling import BatchSampler
from localprobe_torch.steering import LayerSteering, RowSteering, plan_steering, plan_step
from localprobe_torch.taps import Plan

FULL = "the KV cache does not fit into memory: use fewer rows, shorter prompts or less room"


class TorchStream:
    """Rows being decoded over one `ColumnCache`. `BatchStream` and `JoinStream` say how rows get into it and out.

    A row is known to the caller by its number, and here by its slot: its row of the cache and of every tensor.
    """

    _cache: ColumnCache

    def __init__(self, network: Network, watch: Sequence[Watch]) -> None:
        self.network = network
        self._watch = tuple(watch)
        self._projections = Projections(watch, network.devices)
        self._adds: dict[int, LayerSteering] = {}
        self._stale = 0.0  # steps until `_adds` must be updated
        self._order = np.arange(0)  # (rows,): the slot of each row
        self._steerings: list[RowSteering] = []  # by slot, as what follows
        self._lengths = np.arange(0)  # positions run
        self._sampler = BatchSampler([], network.device)
        self._hidden = torch.empty(0, network.width, dtype=network.dtype, device=network.device)
        self._pending: Tensor | None = None  # (rows,) int64: sampled, not yet run
        self._late: Tensor | None = None  # (rows, watches): scores of tokens that were run without a step
        self._prompt_scores: Sequence[FloatArray] = []
        self._capacity = 0
        """Columns of a row in the cache."""
        self._closed = False

    def _run_prompts(
        self, prompts: Sequence[Prompt], cache: ColumnCache, capacity: int, first: int = 0, *, long: bool = False
    ) -> tuple[Tensor, list[FloatArray]]:
        """Run what is not kept of prompts, each in a row of the cache from row `first` on.

        `long` is as in `Network.extend`. Returns the hidden states of their last positions (prompts, width), and their
        scores.
        """
        network = self.network
        starts = [prompt.keep for prompt in prompts]
        fresh = [prompt.ids[prompt.keep :] for prompt in prompts]
        lengths = [len(ids) for ids in fresh]
        frame = Frame(starts, max(lengths), capacity, network.device, first)
        adds = plan_steering([prompt.steering for prompt in prompts], starts, lengths, network.devices)
        plan = Plan(adds, self._projections.reads())
        longest = max(len(prompt.ids) for prompt in prompts)
        ids = pad(fresh, network.device)  # (prompts, columns)
        states = network.extend(ids, frame, cache, plan, longest, long=long)  # (prompts, columns, width)
        rows = torch.arange(len(prompts), device=states.device)
        hidden = states[rows, torch.tensor(lengths, device=states.device) - 1]  # (prompts, width)
        return hidden, self._scores_of_prompts(lengths)

    def _scores_of_prompts(self, lengths: Sequence[int]) -> list[FloatArray]:
        if not self._projections.count:
            return [np.empty((length, 0), dtype=np.float32) for length in lengths]
        scores = self._projections.take(self.network.device).cpu().numpy()  # (prompts, columns, watches)
        return [scores[row, :length] for row, length in enumerate(lengths)]

    @property
    def lengths(self) -> Sequence[int]:
        """Positions in the cache, by row."""
        self._check_open()
        return [int(length) for length in self._lengths[self._order]]

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
        by_slot = np.empty(self._rows)
        by_slot[self._order] = uniforms
        with out_of_memory(FULL):
            self._late = self._run_pending()
            logits = self.network.head(self._hidden)  # (rows, vocabulary)
            self._pending, logprobs = self._sampler.draw(logits, by_slot)
            listed = self._sampler.listed(logits)
            # ids are below 2^24, so float32 holds them: everything crosses to the host at once
            packed = torch.cat([self._pending[:, None].float(), logprobs[:, None], self._late], -1).cpu().numpy()
        self._late = None
        packed = packed[self._order]
        top = None
        if listed is not None:
            ids, likely = (part.cpu().numpy()[self._order] for part in listed)
            top = Top(ids.astype(np.int32), likely)
        return Step(packed[:, 0].astype(np.int32), packed[:, 1], packed[:, 2:], top)

    @torch.inference_mode()
    def settle(self) -> FloatArray:
        self._check_open()
        with out_of_memory(FULL):
            scores, self._late = self._run_pending(), None
            return scores.cpu().numpy()[self._order]

    def _run_pending(self) -> Tensor:
        """Run the tokens sampled last. Returns their scores (rows, watches), or those that are late; NaN if there are
        neither."""
        network, count = self.network, self._projections.count
        if self._pending is None:
            return self._no_scores(self._rows) if self._late is None else self._late
        check_growth(network.rope_length, self.lengths)
        if self._stale <= 0:
            self._steer_anew()
        frame = Frame(self._lengths, 1, self._capacity, network.device)
        plan = Plan(self._adds, self._projections.reads())
        self._hidden = network.extend(self._pending[:, None], frame, self._cache, plan)[:, -1]  # (rows, width)
        self._lengths = self._lengths + 1
        self._stale -= 1
        self._pending = None
        return self._projections.take(network.device)[:, -1] if count else self._no_scores(self._rows)

    @property
    def _rows(self) -> int:
        return len(self._order)

    def _no_scores(self, rows: int) -> Tensor:
        return torch.full((rows, self._projections.count), torch.nan, device=self.network.device)

    def _steer_anew(self) -> None:
        """Compute the edits for the next positions; they stay valid until a term begins or ends."""
        starts = [int(length) for length in self._lengths]
        self._adds, self._stale = plan_step(self._steerings, starts, self.network.devices)

    def steer(self, row: int, steering: Steering) -> None:
        self._check_open()
        self._check_rows([row])
        self._steerings[self._order[row]] = RowSteering(steering)
        self._stale = 0

    @torch.inference_mode()
    def watch(self, watch: Sequence[Watch]) -> None:
        self._check_open()
        projections = Projections(watch, self.network.devices)
        if self._late is not None:
            late = arranged(self._late.cpu().numpy(), self._watch, watch)
            self._late = torch.from_numpy(late).to(self.network.device)
        self._watch, self._projections = tuple(watch), projections

    def _keep_slots(self, slots: Sequence[int]) -> None:
        """Keep what belongs to these slots, in this order; the cache and the order of rows are left as they are."""

        def picked(values: Tensor) -> Tensor:
            return values[torch.tensor(slots, dtype=torch.int64, device=values.device)]

        self._hidden = picked(self._hidden)
        self._pending = picked(self._pending) if slots and self._pending is not None else None
        self._late = None if self._late is None else picked(self._late)
        self._lengths = self._lengths[list(slots)]
        self._steerings = [self._steerings[slot] for slot in slots]
        self._sampler = self._sampler.take(slots)
        self._stale = 0

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            del self._cache, self._hidden
            self._pending = self._late = None
            self._adds = {}

    def _check_open(self) -> None:
        if self._closed:
            raise UsageError("this stream is closed: open a new one")
        self.network.check_open()

    def _check_rows(self, rows: Sequence[int]) -> None:
        for row in rows:
            if not 0 <= row < self._rows:
                raise UsageError(f"row {row} is out of range: the stream has {self._rows} rows")
