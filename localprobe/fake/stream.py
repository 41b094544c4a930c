"""Decoding with the fake engine: one KV cache per row, and one token per row and step."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from localprobe.batches import capacities
from localprobe.checks import check_growth, check_place
from localprobe.engine import FloatArray, Held, Prompt, Reserve, Sampler, Steering, Step, Watch
from localprobe.errors import UsageError
from localprobe.fake.transformer import BASE, Cache, Transformer
from localprobe.sampling import most_likely, sample
from localprobe.watches import arranged

LONG_BASE = 30.0  # of the RoPE of rows beyond `rope_length`: far from the usual one, so that a mix of the two shows


@dataclass(slots=True)
class _Row:
    cache: Cache
    steering: Steering
    sampler: Sampler
    logits: FloatArray
    """(vocabulary,): next-token logits after the last token run."""
    top: int = 0
    pending: int | None = None
    """The token sampled last, if it has not been run yet."""
    late: FloatArray | None = None
    """(watches,): scores of a token that was run when another row joined."""


class FakeStream:
    """Rows being decoded. See `localprobe.engine.Stream` for what each verb promises."""

    def __init__(
        self,
        model: Transformer,
        prompts: Sequence[Prompt],
        caches: Sequence[Cache],
        watch: Sequence[Watch],
        *,
        room: int,
        reserve: Reserve | None = None,
        delay: float = 0.0,
        fault: str | None = None,
        rope_length: int | None = None,
    ) -> None:
        self._model = model
        self._watch = tuple(watch)
        self._delay = delay
        self._fault = fault
        self._rope_length = rope_length
        self._rows: list[_Row] = []
        self._reserve = reserve
        self._base = LONG_BASE if rope_length and reserve and reserve.longest > rope_length else BASE
        self._held: dict[int, Cache] = {}
        self._holds = 0  # numbers given so far
        self._closed = False
        if reserve:
            self._check_reserve(capacities(prompts, room))
        self._prompt_scores = [self._prefill(prompt, cache) for prompt, cache in zip(prompts, caches, strict=True)]

    @property
    def prompt_scores(self) -> Sequence[FloatArray]:
        self._refuse_closed()
        return self._prompt_scores

    def step(self, uniforms: NDArray[np.float64]) -> Step:
        self._refuse_closed()
        if self._delay:
            time.sleep(self._delay)
        if not self._rows:
            raise UsageError("this stream has no rows to decode")
        scores = self._run_pending()
        logits = np.stack([row.logits for row in self._rows])  # (rows, vocabulary)
        ids, logprobs = sample(logits, [row.sampler for row in self._rows], uniforms)
        for row, token in zip(self._rows, ids, strict=True):
            row.pending = int(token)
        listed = max(row.top for row in self._rows)
        return Step(ids, logprobs, scores, most_likely(logits, listed) if listed else None)

    def settle(self) -> FloatArray:
        self._refuse_closed()
        return self._run_pending()

    def steer(self, row: int, steering: Steering) -> None:
        self._refuse_closed()
        # The token sampled last has not been run, so it is the first to be steered anew, and the next sample depends on
        # it. Keys and values already in the cache keep the old steering.
        self._rows[row].steering = steering

    def drop(self, rows: Sequence[int]) -> None:
        self._refuse_closed()
        self._rows = [row for number, row in enumerate(self._rows) if number not in rows]

    def join(self, prompts: Sequence[Prompt], room: int) -> Sequence[FloatArray]:
        self._refuse_closed()
        self._check_reserve(capacities(prompts, room))
        for row, scores in zip(self._rows, self._run_pending(), strict=True):
            row.late = scores
        return [self._prefill(prompt, self._begin(prompt, room)) for prompt in prompts]

    def prefill(self, prompt: Prompt) -> Held:
        self._refuse_closed()
        self._check_reserve([len(prompt.ids)])
        cache = self._begin(prompt, 0)
        residuals = self._model.run(prompt.ids[cache.length :], cache, prompt.steering)  # (layers, n - keep, width)
        return Held(self._keep(cache), self._project(residuals))

    def hold(self, row: int, length: int) -> int:
        self._refuse_closed()
        self._check_reserve([length])
        return self._keep(self._rows[row].cache.grown(length, length))

    def release(self, held: int) -> None:
        self._refuse_closed()
        del self._held[held]

    def watch(self, watch: Sequence[Watch]) -> None:
        self._refuse_closed()
        for row in self._rows:
            if row.late is not None:
                row.late = arranged(row.late[None], self._watch, watch)[0]
        self._watch = tuple(watch)

    def close(self) -> None:
        self._closed = True
        self._rows = []
        self._held = {}

    def _begin(self, prompt: Prompt, room: int) -> Cache:
        """A cache for a prompt, with what it takes from held positions."""
        capacity = len(prompt.ids) + room
        return (
            Cache(capacity, self._base) if prompt.held is None else self._held[prompt.held].grown(capacity, prompt.keep)
        )

    def _keep(self, cache: Cache) -> int:
        self._holds += 1
        self._held[self._holds] = cache
        return self._holds

    def _check_reserve(self, more: Sequence[int]) -> None:
        """Raise OutOfMemory if there is no place for rows of so many tokens besides what there is."""
        if self._reserve is None:
            raise UsageError("no row can join this stream: open it with `reserve`")
        caches = [*(row.cache for row in self._rows), *self._held.values()]
        check_place(self._reserve, (cache.keys.shape[1] for cache in caches), more)

    def take_caches(self, prompts: Sequence[Prompt], room: int) -> list[Cache]:
        """Hand the caches, cut to what each of `prompts` keeps, to a new stream, and close this one."""
        self._refuse_closed()
        caches = [
            row.cache.grown(len(prompt.ids) + room, prompt.keep)
            for row, prompt in zip(self._rows, prompts, strict=True)
        ]
        self.close()
        return caches

    def _prefill(self, prompt: Prompt, cache: Cache) -> FloatArray:
        """Run the part of a prompt that is not cached, once for all its copies. Returns (n - keep, watches) scores."""
        steering = () if self._fault == "steering ignored" else prompt.steering
        residuals = self._model.run(prompt.ids[cache.length :], cache, steering)  # (layers, n - keep, width)
        logits = self._model.logits(residuals[-1, -1])
        for copy in range(prompt.copies):
            own = cache if copy == 0 else cache.grown(cache.keys.shape[1], cache.length)
            self._rows.append(_Row(own, prompt.steering, prompt.sampler, logits, prompt.top))
        return self._project(residuals)

    def _run_pending(self) -> FloatArray:
        """Run each row's pending token, if there is one. Returns (rows, watches) scores of them."""
        scores = np.full((len(self._rows), len(self._watch)), np.nan, np.float32)
        if any(row.pending is not None for row in self._rows):
            check_growth(self._rope_length, [row.cache.length for row in self._rows])
        for number, row in enumerate(self._rows):
            if row.late is not None:
                scores[number], row.late = row.late, None
            if row.pending is None:
                continue
            if row.cache.length == row.cache.keys.shape[1]:
                raise UsageError(f"row {number} is full at {row.cache.length} tokens: open the stream with more room")
            steering = () if self._fault else row.steering  # both faults leave decoding unsteered
            residuals = self._model.run(np.array([row.pending], np.int32), row.cache, steering)  # (layers, 1, width)
            row.logits, row.pending = self._model.logits(residuals[-1, -1]), None
            scores[number] = self._project(residuals)[0]
        return scores

    def _project(self, residuals: FloatArray) -> FloatArray:
        """Watched projections (n, watches) of residuals (layers, n, width)."""
        scores = np.empty((residuals.shape[1], len(self._watch)), np.float32)
        for number, watched in enumerate(self._watch):
            scores[:, number] = residuals[watched.layer] @ watched.vector
        return scores

    def _refuse_closed(self) -> None:
        if self._closed:
            raise UsageError("this stream is closed: open another")
