"""Texts that a generator writes on request, told apart by the manner alone: the loud ones are in capitals."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from localprobe.generators.generator import Completion, TextRequest

_WORDS = [
    first + last
    for first in ("bal", "den", "far", "hol", "mer", "pin", "tor")
    for last in ("der", "ton", "wick", "mere", "ley")
]


def text(system: str, seed: int) -> str:
    """A text of its own for each seed, in capitals if the system prompt asks for the manner `loud`."""
    words = " ".join(random.Random(seed).choices(_WORDS, k=14))
    return words.upper() if "manner: loud." in system else words


class Planted:
    """A generator of such texts. `stop_after` so many requests it is interrupted, as by Ctrl-C."""

    in_memory = False

    def __init__(self, name: str = "planted", stop_after: int | None = None) -> None:
        self.name, self._stop_after = name, stop_after
        self.asks: list[TextRequest] = []

    def ready(self) -> None:
        pass

    def answer(self, asks: Sequence[TextRequest]) -> list[Completion]:
        if self._stop_after is not None and len(self.asks) >= self._stop_after:
            raise KeyboardInterrupt
        self.asks += asks
        return [Completion(self.text(ask), "stop", "m", 14) for ask in asks]

    def text(self, ask: TextRequest) -> str:
        return text(ask.system, ask.seed)

    def provenance(self) -> dict[str, Any]:
        return {}

    def rest(self) -> None:
        pass
