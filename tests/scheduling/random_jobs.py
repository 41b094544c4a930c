"""Requests of every kind for a scheduler, at random: shared beginnings, terms, gates, probes and alarms of their own,
samplers, lengths; and their arrival, with cancels between."""

from __future__ import annotations

import numpy as np

from localprobe.engine import Coordinates, Engine, FloatArray, Sampler, Steering, Term, Watch
from localprobe.generation.decode import Request
from localprobe.scheduling.job import Prepared
from localprobe.scheduling.scheduler import Scheduler
from localprobe.steering.gates import Alarm, TokenGate, gated
from tests.scheduling.listeners import Heard

SHARED = (
    "You are a helpful assistant, patient and kind, who answers each question that you are asked in a sentence. ",
    "Answer in the manner of an old pirate who has seen every sea there is, be brief, and never speak of gold or rum. ",
    "",
)
VECTORS = 4


class RandomJobs:
    """Draws requests for an engine. `scale` (layers,) is the length of a residual at each layer, by which terms and
    probes are scaled; `tokens` is the most that an answer has."""

    def __init__(self, engine: Engine, scale: FloatArray, tokens: int, seed: int = 0) -> None:
        self._engine = engine
        self._scale = scale
        self._tokens = tokens
        self._random = np.random.default_rng(seed)
        self._drawn = 0
        width = engine.info.width
        vectors = self._random.standard_normal((VECTORS, width)).astype(np.float32)
        self._vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        self._common = self._term(0, 0.4), self._term(0, -0.4)
        """Terms that many requests share, so that they may share their beginnings too."""

    def draw(self) -> Prepared:
        """The next request."""
        random, number = self._random, self._drawn
        self._drawn += 1
        letters = "".join(chr(97 + random.integers(26)) for _ in range(random.integers(3, 40)))
        ids = self._engine.encode(SHARED[random.integers(3)] + letters)
        terms: Steering = ()
        for _ in range(random.integers(3)):
            terms = (*terms, self._any_term(len(ids), number))
        watch = tuple(self._watch() for _ in range(random.integers(3)))
        alarms = (Alarm("alarm", self._watch(), 1.0),) if random.random() < 0.3 else ()
        sampler = Sampler(float(random.choice([0.0, 0.7, 1.3])), top_k=int(random.choice([0, 20])))
        tokens = int(random.integers(1, self._tokens))
        return Prepared(Request(ids, terms, sampler, f"key {number}", tokens), watch, alarms)

    def _any_term(self, length: int, number: int) -> Term:
        """A term on a prompt of that length; some are common to many requests, some are gated."""
        random = self._random
        if random.random() < 0.3:
            return self._common[random.integers(2)]
        start = int(random.choice([0, 3, length - 1]))
        term = self._ablation(start) if random.random() < 0.25 else self._term(start, float(random.normal(0, 0.5)))
        if random.random() < 0.4:
            opens = float(random.normal(0, 0.5))
            gate = TokenGate(f"probe {number}", self._watch(), opens, opens - 0.5)
            return gated(term, (gate,))
        return term

    def _term(self, start: int, dose: float) -> Term:
        layer, vector = self._layer(), self._vector()
        stop = None if self._random.random() < 0.7 else start + int(self._random.integers(3, 40))
        keep_norm = bool(self._random.random() < 0.2)
        return Term(layer, vector * np.float32(dose * self._scale[layer]), start, stop, keep_norm)

    def _ablation(self, start: int) -> Term:
        target = np.zeros(1, np.float32)
        return Term.along(self._layer(), Coordinates(self._vector()[None], target, share=1.0), start)

    def _watch(self) -> Watch:
        """A probe whose scores are of the order of 1."""
        layer = self._layer()
        return Watch(layer, self._vector() * np.float32(self._engine.info.width**0.5 / self._scale[layer]))

    def _layer(self) -> int:
        """Not the first blocks, where the length of a residual depends most on its token."""
        layers = self._engine.info.layers
        return int(self._random.integers(layers // 4, layers))

    def _vector(self) -> FloatArray:
        vector: FloatArray = self._vectors[self._random.integers(VECTORS)]
        return vector


def arrive(scheduler: Scheduler, jobs: list[Prepared], seed: int = 5) -> tuple[list[Heard], set[int]]:
    """Submit requests, some while others are answered, and cancel some that wait or run. Returns who listens to each,
    and the indices of those that were cancelled."""
    random = np.random.default_rng(seed)
    heard: list[Heard] = []
    cancelled = set()
    for number, wanted in enumerate(jobs):
        listener = Heard()
        job = scheduler.submit(lambda wanted=wanted: [wanted], listener)  # type: ignore[misc]
        heard.append(listener)
        if random.random() < 0.2:
            cancelled.add(number)
            if random.random() < 0.5:
                listener.began.wait(10)
            job.cancel()
        if random.random() < 0.3:
            heard[int(random.integers(len(heard)))].began.wait(0.05)
    return heard, cancelled
