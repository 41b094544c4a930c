"""Decoding with the fake engine: one KV cache per row, and one token per row and step."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from localprobe.checks import check_growth
from localprobe.engine import FloatArray, Prompt, Sampler, Steering, Step, Watch
from localprobe.errors import UsageError
from localprobe.fake.transformer import Cache, Transformer
from localprobe.sampling import sample


@dataclass(slots=True)
class _Row:
    cache: Cache
    steering: Steering
    sampler: Sampler
    logits: FloatArray
    """(vocabulary,): next-token logits after the last token run."""
    pending: int | None = None
    """The token sampled last, if it has not been run yet."""


class FakeStream:
    """Rows being decoded. See `localprobe.engine.Stream` for what each verb promises."""

    def __init__(
        self,
        model: Transformer,
        prompts: Sequence[Prompt],
        caches: Sequence[Cache],
        watch: Sequence[Watch],
        *,
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
        self._closed = False
        self._prompt_scores = [self._prefill(prompt, cache) for prompt, cache in zip(prompts, caches, strict=True)]

    @property
    def prompt_scores(self) -> Sequence[FloatArray]:
        self._refuse_closed()
        return self._prompt_scores

    def step(self, uniforms: NDArray[np.float64]) -> Step:
        self._refuse_closed()
        if self._delay:
            time.sleep(self._delay)
        scores = self._run_pending()
        logits = np.stack([row.logits for row in self._rows])  # (rows, vocabulary)
        ids, logprobs = sample(logits, [row.sampler for row in self._rows], uniforms)
        for row, token in zip(self._rows, ids, strict=True):
            row.pending = int(token)
        return Step(ids, logprobs, scores)

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

    def close(self) -> None:
        self._closed = True
        self._rows = []

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
            self._rows.append(_Row(own, prompt.steering, prompt.sampler, logits))
        return self._project(residuals)

    def _run_pending(self) -> FloatArray:
        """Run each row's pending token, if there is one. Returns (rows, watches) scores of them."""
        scores = np.full((len(self._rows), len(self._watch)), np.nan, np.float32)
        if any(row.pending is not None for row in self._rows):
            check_growth(self._rope_length, [row.cache.length for row in self._rows])
        for number, row in enumerate(self._rows):
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
