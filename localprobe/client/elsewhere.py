"""What stands where a model has its engine, if the engine is a server's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from localprobe.engine import Info, IntArray, Output, Row
from localprobe.errors import UsageError


@dataclass(frozen=True, slots=True, eq=False)
class Elsewhere:
    """An engine that only says what it is: whatever needs more than the server's API raises UsageError in words."""

    info: Info
    at: str
    """Host and port of the server."""
    release: Callable[[], None]
    """Closes the connections."""

    def encode(self, text: str, *, template: bool = False) -> IntArray:
        self._refuse()

    def decode(self, ids: Sequence[int] | IntArray) -> str:
        self._refuse()

    def forward(self, rows: Sequence[Row], layers: Sequence[int] = ()) -> list[Output]:
        self._refuse()

    def open(self, *arguments: Any, **named: Any) -> NoReturn:
        self._refuse()

    def close(self) -> None:
        self.release()

    def _refuse(self) -> NoReturn:
        raise UsageError(
            f"{self.info.model} runs on the server {self.at}, which answers and captures: probing, sweeps and what "
            "else needs its engine take a model of this machine (localprobe.load, or localprobe without --url)"
        )
