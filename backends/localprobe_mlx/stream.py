"""Decoding a batch of rows: one token per row and step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from localprobe.batches import capacities, copied
from localprobe.checks import check_growth, check_side
from localprobe.engine import FloatArray, Held, Prompt, Reserve, Steering, Step, Top, Watch
from localprobe.errors import UsageError
from localprobe.watches import arranged
from localprobe_mlx.cache import LayerCache
from localprobe_mlx.memory import Memory, memory_errors
from localprobe_mlx.network import Network
from localprobe_mlx.prefill import Prefilled, Watches, prefill
from localprobe_mlx.rows import ADVICE, Rows
from localprobe_mlx.sampling import BatchSampler
from localprobe_mlx.steering import Steerings
from localprobe_mlx.worker import Worker

T = TypeVar("T")
_begin: Callable[..., None] = mx.async_eval  # computes in the background


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
        reserve: Reserve | None = None,
    ) -> None:
        """Call on the worker's thread only."""
        self._worker = worker
        self._network = network
        self._watch = tuple(watch)
        self._watches = Watches(watch)
        self._sampler = BatchSampler([])
        self._steerings = Steerings([])
        self._lengths: list[int] = []  # positions in the cache
        self._room: list[int] = []  # tokens that may still be sampled
        # A row that joined may sample one more than its room, which is never run: others may go on when it is full.
        self._beyond = int(reserve is not None)
        self._long = network.is_long(reserve.longest if reserve else len(prompts[0].ids))
        self._logits = mx.zeros((0, network.vocabulary), mx.float32)  # (rows, vocabulary), of the token to sample next
        self._pending: mx.array | None = None  # (rows,) tokens sampled last, if they have not been run
        self._ahead: _Run | None = None  # the run of those, if it has started
        self._late: mx.array | None = None  # (rows, watches) scores of tokens that were run when a row joined
        self._closed = False
        self._rows = Rows(network, memory, reserve)
        if reserve:
            self._rows.check(capacities(prompts, room))
            self._rows.check_reserve()
            check_side(self._network.rope_length, long=self._long, prompts=prompts)
        self._prompt_scores: Sequence[FloatArray] = []
        if prompts:
            caches = self._rows.begin(prompts, room, reuse.hand_over(len(prompts)) if reuse else None)
            self._prompt_scores = self._add(prompts, room, caches, self._prefill(prompts, caches))

    def _prefill(self, prompts: Sequence[Prompt], caches: list[LayerCache]) -> Prefilled:
        return prefill(self._network, caches, prompts, self._watches, long=self._long)

    def _add(
        self, prompts: Sequence[Prompt], room: int, caches: list[LayerCache], filled: Prefilled
    ) -> Sequence[FloatArray]:
        """Let prompts that have been run become the last rows. Returns their scores."""
        self._rows.add(prompts, room, caches)
        copies = copied(prompts)
        rows = [prompts[number] for number in copies]
        self._sampler = self._sampler.joined([prompt.sampler for prompt in rows], [prompt.top for prompt in rows])
        self._steerings = self._steerings.joined([prompt.steering for prompt in rows])
        self._lengths += [len(prompt.ids) for prompt in rows]
        self._room += [room + self._beyond] * len(rows)
        self._logits = mx.concatenate([self._logits, filled.logits[mx.array(copies)]])
        if self._late is not None:
            self._late = mx.concatenate([self._late, self._watches.nothing(len(rows))])
        return filled.scores

    def hand_over(self, rows: int) -> list[LayerCache]:
        """Hand the caches to a stream of `rows` rows, and close this one. Call on the worker's thread only."""
        if self._closed:
            raise UsageError("the stream to reuse is closed: open without `reuse`")
        if rows != len(self._lengths):
            raise UsageError(f"the stream to reuse has {len(self._lengths)} rows, not {rows}")
        caches = self._rows.hand_over()
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

    def join(self, prompts: Sequence[Prompt], room: int) -> Sequence[FloatArray]:
        return self._work(lambda: self._join(prompts, room), "a cache with more rows")

    def prefill(self, prompt: Prompt) -> Held:
        return self._work(lambda: self._hold_prompt(prompt), f"a prefix of {len(prompt.ids)} tokens")

    def hold(self, row: int, length: int) -> int:
        return self._work(lambda: self._hold(row, length), f"a copy of {length} tokens")

    def release(self, held: int) -> None:
        self._work(lambda: self._rows.release(held))

    def watch(self, watch: Sequence[Watch]) -> None:
        self._work(lambda: self._read(tuple(watch)))

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            if not self._worker.closed:
                self._worker.run(self._forget)

    def _work(self, job: Callable[[], T], what: str = "") -> T:
        """Run a job on the worker's thread; `what` is what may not fit into memory."""

        def guarded() -> T:
            with memory_errors(what or f"a step of {len(self._lengths)} rows", ADVICE):
                return job()

        if self._closed:
            raise UsageError("this stream is closed: open another")
        return self._worker.run(guarded)

    def _step(self, uniforms: NDArray[np.float64]) -> Step:
        if not self._lengths:
            raise UsageError("this stream has no rows left: open another")
        self._check_room()
        scores = self._land()
        ids, logprobs = self._sampler(self._logits, uniforms)
        listed = self._sampler.listed(self._logits)
        _begin(ids, logprobs, scores, *(listed or ()))
        self._pending = ids
        self._room = [room - 1 for room in self._room]
        if all(self._room) and self._network.rope_length not in self._lengths:
            self._ahead = self._run(ids)
            _begin(self._ahead.logits, self._ahead.scores)
        top = Top(np.array(listed[0]), np.array(listed[1])) if listed else None
        return Step(np.array(ids), np.array(logprobs), np.array(scores), top)

    def _land(self) -> mx.array:
        """Run the pending tokens into the cache. Returns scores (rows, watches) of the tokens sampled last, NaN if they
        were given before."""
        if self._pending is None:
            late, self._late = self._late, None
            return self._watches.nothing(len(self._lengths)) if late is None else late
        run = self._ahead or self._run(self._pending)
        self._pending = self._ahead = None
        self._lengths = [length + 1 for length in self._lengths]
        self._logits = run.logits
        return run.scores

    def _run(self, ids: mx.array) -> _Run:
        """Run a token of each row, ids (rows,), at the position after those in the cache."""
        check_growth(self._network.rope_length, self._lengths)
        if self._beyond:
            self._check_room()
        last = self._network.layers - 1
        watched = self._watches.layers
        residuals = self._network.climb(
            ids[:, None],
            self._lengths,
            self._rows.caches,
            deepest=last,
            wanted=watched,
            steerings=self._steerings,
            long=self._long,
        )
        return _Run(self._network.logits(residuals[last][:, 0]), self._watches.scores(residuals)[:, 0])

    def _check_room(self) -> None:
        if not all(self._room):
            raise UsageError(
                f"row {self._room.index(0)} has no room for another token: drop it, or begin it with more room"
            )

    def _steer(self, row: int, steering: Steering) -> None:
        self._steerings.replace(row, steering)
        self._ahead = None  # it ran under the old steering

    def _drop(self, rows: set[int]) -> None:
        live = [row for row in range(len(self._lengths)) if row not in rows]
        if len(live) == len(self._lengths):
            return
        index = mx.array(live, mx.int32)
        self._rows.take(live)
        self._lengths, self._room = [self._lengths[row] for row in live], [self._room[row] for row in live]
        self._steerings, self._sampler = self._steerings.take(live), self._sampler.take(live)
        self._logits = self._logits[index]
        self._pending = None if self._pending is None or not live else self._pending[index]
        self._ahead = None if self._ahead is None or not live else self._ahead.take(index)
        self._late = None if self._late is None or not live else self._late[index]

    def _join(self, prompts: Sequence[Prompt], room: int) -> Sequence[FloatArray]:
        self._rows.check(capacities(prompts, room))
        check_side(self._network.rope_length, long=self._long, prompts=prompts)
        if not prompts:
            return []
        if self._lengths:
            self._late = self._land()
            self._rows.check_memory(capacities(prompts, room))
        caches = self._rows.begin(prompts, 0 if self._lengths else room)
        return self._add(prompts, room, caches, self._prefill(prompts, caches))

    def _hold_prompt(self, prompt: Prompt) -> Held:
        self._rows.check([len(prompt.ids)])
        caches = self._rows.begin([prompt], 0)
        filled = self._prefill([prompt], caches)
        return Held(self._rows.keep(caches, len(prompt.ids)), filled.scores[0])

    def _hold(self, row: int, length: int) -> int:
        if not 1 <= length <= self._lengths[row]:
            raise UsageError(f"row {row} has run {self._lengths[row]} tokens, so {length} of them cannot be held")
        self._rows.check([length])
        return self._rows.hold(row, length)

    def _read(self, watch: tuple[Watch, ...]) -> None:
        before, self._watch, self._watches = self._watch, watch, Watches(watch)
        if self._late is not None:
            self._late = mx.array(arranged(np.array(self._late), before, watch))
        if self._ahead is not None:
            scores = arranged(np.array(self._ahead.scores), before, watch)
            # A score that was not read takes another run.
            self._ahead = None if np.isnan(scores).any() else _Run(self._ahead.logits, mx.array(scores))

    def _forget(self) -> None:
        self._rows.clear()
        self._logits = mx.zeros(0)
        self._pending = self._ahead = self._late = None
