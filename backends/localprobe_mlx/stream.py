"""Decoding a batch of rows: one token per row and step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from localprobe.checks import check_growth
from localprobe.engine import FloatArray, Prompt, Steering, Step, Watch
from localprobe.errors import UsageError
from localprobe_mlx.cache import LayerCache
from localprobe_mlx.memory import Memory, memory_errors
from localprobe_mlx.network import Network
from localprobe_mlx.prefill import Watches, prefill
from localprobe_mlx.sampling import BatchSampler
from localprobe_mlx.steering import Steerings
from localprobe_mlx.worker import Worker

T = TypeVar("T")
_begin: Callable[..., None] = mx.async_eval  # computes in the background
_ADVICE = "open fewer rows, shorter prompts or less room"


@dataclass(frozen=True, slots=True)
class _Run:
    """The result of running one token of each row, possibly still being computed."""

    logits: mx.array  # (rows, vocabulary) float32, of the token that follows
    scores: mx.array  # (rows, watches) float32

    def take(self, rows: mx.array) -> _Run:
        return _Run(self.logits[rows], self.scores[rows])


class MlxStream:
    """See `localprobe.engine.Stream`. All work happens on the engine's thread.

    Once tokens are sampled, the device starts to run them while the caller reads them, so that the next step has its
    logits sooner. No token is sampled ahead of time. After `steer` the same tokens are simply run again, which
    overwrites their slots of the cache.
    """

    def __init__(
        self,
        worker: Worker,
        network: Network,
        memory: Memory,
        prompts: Sequence[Prompt],
        *,
        room: int,
        watch: Sequence[Watch],
        reuse: MlxStream | None,
    ) -> None:
        """Call on the worker's thread only."""
        rows = [prompt for prompt in prompts for _ in range(prompt.copies)]
        self._worker = worker
        self._network = network
        self._watches = Watches(watch)
        self._sampler = BatchSampler([prompt.sampler for prompt in rows])
        self._steerings = Steerings([prompt.steering for prompt in rows])
        self._lengths = [len(prompt.ids) for prompt in rows]  # positions in the cache
        self._room = room  # tokens that may still be sampled
        self._pending: mx.array | None = None  # (rows,) tokens sampled last, if they have not been run
        self._ahead: _Run | None = None  # the run of those, if it has started
        self._closed = False
        self._caches = self._make_caches(prompts, memory, reuse)
        filled = prefill(network, self._caches, prompts, self._watches)
        self._prompt_scores = filled.scores
        copies = mx.array([number for number, prompt in enumerate(prompts) for _ in range(prompt.copies)])
        self._logits = filled.logits[copies]  # (rows, vocabulary), of the token to sample next
        if len(rows) > len(prompts):
            for cache in self._caches:
                cache.take(copies)

    def _make_caches(self, prompts: Sequence[Prompt], memory: Memory, reuse: MlxStream | None) -> list[LayerCache]:
        longest = max(len(prompt.ids) - prompt.keep for prompt in prompts)
        # Padding is run too, so it needs slots beyond the end of the row.
        slots = max(max(len(prompt.ids) + self._room, prompt.keep + longest) for prompt in prompts)
        rows = len(self._lengths)
        memory.check(rows * slots * self._network.slot_bytes, f"a cache of {rows} rows of {slots} tokens", _ADVICE)
        if reuse is None:
            return self._network.caches(len(prompts), slots)
        caches = reuse.hand_over(len(prompts))
        for cache in caches:
            cache.grow(slots)
        return caches

    def hand_over(self, rows: int) -> list[LayerCache]:
        """Hand the caches to a stream of `rows` rows, and close this one. Call on the worker's thread only."""
        if self._closed:
            raise UsageError("the stream to reuse is closed: open without `reuse`")
        if rows != len(self._lengths):
            raise UsageError(f"the stream to reuse has {len(self._lengths)} rows, not {rows}")
        caches = self._caches
        self._closed = True
        self._forget()
        return caches

    @property
    def lengths(self) -> Sequence[int]:
        """Positions in the cache, by row."""
        return self._lengths

    @property
    def prompt_scores(self) -> Sequence[FloatArray]:
        return self._prompt_scores

    def step(self, uniforms: NDArray[np.float64]) -> Step:
        return self._work(lambda: self._step(uniforms))

    def settle(self) -> FloatArray:
        return self._work(lambda: np.array(self._land()))

    def steer(self, row: int, steering: Steering) -> None:
        self._work(lambda: self._steer(row, steering))

    def drop(self, rows: Sequence[int]) -> None:
        self._work(lambda: self._drop(set(rows)))

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            if not self._worker.closed:
                self._worker.run(self._forget)

    def _work(self, job: Callable[[], T]) -> T:
        def guarded() -> T:
            with memory_errors(f"a step of {len(self._lengths)} rows", _ADVICE):
                return job()

        if self._closed:
            raise UsageError("this stream is closed: open another")
        return self._worker.run(guarded)

    def _step(self, uniforms: NDArray[np.float64]) -> Step:
        if not self._lengths or not self._room:
            raise UsageError("this stream has no rows left, or no room for another token: open another")
        scores = self._land()
        ids, logprobs = self._sampler(self._logits, uniforms)
        _begin(ids, logprobs, scores)
        self._pending = ids
        self._room -= 1
        if self._room and self._network.rope_length not in self._lengths:
            self._ahead = self._run(ids)
            _begin(self._ahead.logits, self._ahead.scores)
        return Step(np.array(ids), np.array(logprobs), np.array(scores))

    def _land(self) -> mx.array:
        """Run the pending tokens into the cache. Returns scores (rows, watches) of them, NaN if none are pending."""
        if self._pending is None:
            return self._watches.nothing(len(self._lengths))
        run = self._ahead or self._run(self._pending)
        self._pending = self._ahead = None
        self._lengths = [length + 1 for length in self._lengths]
        self._logits = run.logits
        return run.scores

    def _run(self, ids: mx.array) -> _Run:
        """Run a token of each row, ids (rows,), at the position after those in the cache."""
        check_growth(self._network.rope_length, self._lengths)
        last = self._network.layers - 1
        watched = self._watches.layers
        residuals = self._network.climb(
            ids[:, None],
            self._lengths,
            self._caches,
            deepest=last,
            wanted=watched,
            steerings=self._steerings,
            long=self._network.is_long(self._lengths[0] + 1),
        )
        return _Run(self._network.logits(residuals[last][:, 0]), self._watches.scores(residuals)[:, 0])

    def _steer(self, row: int, steering: Steering) -> None:
        self._steerings.replace(row, steering)
        self._ahead = None  # it ran under the old steering

    def _drop(self, rows: set[int]) -> None:
        live = [row for row in range(len(self._lengths)) if row not in rows]
        if len(live) == len(self._lengths):
            return
        index = mx.array(live, mx.int32)
        self._lengths = [self._lengths[row] for row in live]
        self._steerings, self._sampler = self._steerings.take(live), self._sampler.take(live)
        if not live:
            self._forget()
            return
        for cache in self._caches:
            cache.take(index)
        self._logits = self._logits[index]
        self._pending = None if self._pending is None else self._pending[index]
        self._ahead = None if self._ahead is None else self._ahead.take(index)

    def _forget(self) -> None:
        self._caches = []
        self._logits = mx.zeros(0)
        self._pending = self._ahead = None
