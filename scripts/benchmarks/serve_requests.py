"""What the servers are asked: each request has its own message, steering and probe."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.common import LAYER
from benchmarks.timing import PROMPT
from localprobe.engine import Watch
from localprobe.generation.request import Request
from localprobe.model import Model
from localprobe.vectors.library import Library
from localprobe.vectors.vector import Direction, Origin, Vector

TOKENS, MOST = 64, 16
DOSE = 0.05
READ = LAYER + 3
"""The probes' layer."""
THINGS = (
    *("a lighthouse keeper", "a baker", "two sisters", "a train", "an old map", "the last whale", "a clock", "a fox"),
    *("a violin", "a desert", "a letter", "a garden", "a storm", "a mirror", "a bridge", "a snowman"),
)
_SAID = (
    "I read this to my children at night, so it should be calm, have a beginning that one can picture, some people who "
    "talk with each other, and an end that is neither sad nor loud. Please mind the names: they must be easy to say, "
    "and no two of them may begin with the same letter. Write in the past tense, in short paragraphs, and tell what "
    "things look like, how they smell, and what they sound like, before you tell what happens. "
)


@contextmanager
def library(model: Model) -> Iterator[None]:
    """A library of its own, for this process and for the ones that it starts: random directions `steer-0`, `probe-0`
    and so on."""
    with tempfile.TemporaryDirectory() as folder:
        before = os.environ.get("LOCALPROBE_DATA")
        os.environ["LOCALPROBE_DATA"] = folder
        try:
            for number in range(MOST):
                _keep(model, f"steer-{number}", LAYER, number)
                _keep(model, f"probe-{number}", READ, MOST + number)
            yield
        finally:
            os.environ.pop("LOCALPROBE_DATA")
            if before is not None:
                os.environ["LOCALPROBE_DATA"] = before


def _keep(model: Model, name: str, layer: int, seed: int) -> None:
    info = model.info
    v = np.random.default_rng(seed).standard_normal(info.width)
    direction = Direction(np.asarray(v / np.linalg.norm(v), np.float32), scale=float(model.scale[layer]))
    origin = Origin.of(info, method="mean-difference", pooling="mean")
    Library().keep(Vector(name, origin, {layer: direction}, best=layer))


@dataclass
class Asked:
    """Requests that no cache has the beginning of: their strengths differ a little from round to round."""

    model: Model
    rounds: int = field(default=0, init=False)

    def bodies(self, count: int, *, long: bool = False) -> list[dict[str, Any]]:
        """The requests as a server takes them; `long` ones tell how the story should be."""
        self.rounds += 1
        return [
            {
                "messages": [{"role": "user", "content": message}],
                "max_tokens": TOKENS,
                "seed": number,
                "steering": steering,
                "probes": [f"probe-{number}"],
            }
            for number, (message, steering) in enumerate(self._each(count, long))
        ]

    def requests(self, count: int, *, long: bool = False) -> tuple[list[Request], list[Watch]]:
        """The same for `generate`, with their probes."""
        self.rounds += 1
        requests = [
            self.model.request(message, self.model.steering(steering), key=f"seed {number}", tokens=TOKENS)
            for number, (message, steering) in enumerate(self._each(count, long))
        ]
        return requests, [self.model.alarm(f"probe-{number} > 0").watch for number in range(count)]

    def _each(self, count: int, long: bool) -> Sequence[tuple[str, str]]:
        dose = DOSE + 1e-4 * self.rounds
        return [
            (f"{_SAID if long else ''}{PROMPT.replace('a lighthouse keeper', thing)}", f"{dose:.4f} steer-{number}")
            for number, thing in enumerate(THINGS[:count])
        ]


def unsteered(bodies: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same requests for servers that cannot steer."""
    return [{name: value for name, value in body.items() if name not in ("steering", "probes")} for body in bodies]
