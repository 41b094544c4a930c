"""What steering costs a decode: each operator, against the same engine's decode without it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.common import LAYER
from benchmarks.timing import PROMPT, interleaved, row
from localprobe.engine import Coordinates, Operator, Sampler, Steering, Term
from localprobe.generation.decode import Decoding, Request
from localprobe.generation.events import Token
from localprobe.model import Model

TOKENS, ROWS = 24, 16
THREADS = 1
"""As in `sweep_torch`."""
NAMES = {"torch": "torch", "mlx": "mlx", "llama": "llama.cpp"}


@dataclass(frozen=True)
class Terms:
    """Terms of each operator for a model, along random directions and of a dose at which it still speaks."""

    model: Model

    def direction(self, seed: int = 0) -> np.ndarray:
        """(width,) float32, of length 1."""
        v = np.random.default_rng(seed).standard_normal(self.model.info.width)
        return np.asarray(v / np.linalg.norm(v), dtype=np.float32)

    def add(self, seed: int = 0, *, keep_norm: bool = False) -> Steering:
        """An addition at one layer."""
        delta = np.float32(0.05 * self.model.scale[LAYER]) * self.direction(seed)
        return (Term(LAYER, delta, keep_norm=keep_norm),)

    def ablate(self, seed: int = 0) -> Steering:
        """One direction ablated at every layer."""
        return self._everywhere(Coordinates(self.direction(seed)[None], np.zeros(1, np.float32), share=1.0))

    def cap(self, seed: int = 0) -> Steering:
        """A coordinate capped at every layer."""
        high = 0.01 * float(self.model.scale[LAYER])
        return self._everywhere(Coordinates(self.direction(seed)[None], np.zeros(1, np.float32), low=-high, high=high))

    def mixed(self) -> list[Steering]:
        """ROWS rows: each operator along directions of its own."""
        makers = (self.add, self.ablate, self.cap, lambda seed: self.add(seed, keep_norm=True))
        return [makers[number % 4](number) for number in range(ROWS)]

    def _everywhere(self, coordinates: Coordinates) -> Steering:
        info = self.model.info
        return tuple(Term.along(layer, coordinates) for layer in range(info.capabilities.first_layer, info.layers))


def costs(model: Model, goal: float, rounds: int = 9) -> list[dict[str, Any]]:
    """A row for each operator that the engine has; the others are named as absent."""
    terms, engine = Terms(model), NAMES[model.info.engine]
    none: list[Steering] = [()]
    added = [terms.add(seed) for seed in range(ROWS)]
    compared: dict[str, tuple[set[Operator], list[Steering], list[Steering]]] = {
        "one row, an addition at one layer, against unsteered": ({"add"}, [terms.add()], none),
        "one row, an ablation at every layer, against unsteered": ({"ablate"}, [terms.ablate()], none),
        "one row, a cap at every layer, against unsteered": ({"cap"}, [terms.cap()], none),
        "one row, an addition that keeps the norm at one layer, against unsteered": (
            {"keep-norm"},
            [terms.add(keep_norm=True)],
            none,
        ),
        f"{ROWS} rows of mixed operators, against {ROWS} additions": (
            {"add", "ablate", "cap", "keep-norm"},
            terms.mixed(),
            added,
        ),
    }
    found = []
    for what, (needed, ours, other) in compared.items():
        if lacking := needed - set(model.info.capabilities.operators):
            found.append({"absent": f"{engine}: {what} (it cannot {', '.join(sorted(lacking))})"})
            continue
        seconds = interleaved(decode(model, ours), decode(model, other), rounds if len(ours) == 1 else rounds // 2 + 1)
        found.append(row(f"{engine}: {what}", *seconds, 1, "tok/s", goal))
    return found


def decode(model: Model, steerings: list[Steering]) -> Callable[[], float]:
    """Seconds a token of the rows of one prompt, from their first token on."""
    ids = model.ids(PROMPT)
    sampler = Sampler(temperature=0.7)
    asked = [Request(ids, steering, sampler, f"row {n}", TOKENS) for n, steering in enumerate(steerings)]

    def seconds() -> float:
        decoding = Decoding(model.engine, asked)
        try:
            decoding.step()  # the first token needs no pass
            start, tokens = time.perf_counter(), 0
            while not decoding.done:
                tokens += sum(isinstance(event, Token) for event in decoding.step())
            return (time.perf_counter() - start) / tokens
        finally:
            decoding.close()

    return seconds
