"""The sampling settings of the chat, and presets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from localprobe.chats.turns import generated_by

if TYPE_CHECKING:
    from localprobe.engine import Info, Sampler


@dataclass(frozen=True, slots=True)
class Sampling:
    """The settings of the sampling panel, see `localprobe.engine.Sampler`."""

    temperature: float = 0.7
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    seed: int = 0
    tokens: int = 400
    """The most tokens of an answer."""

    def sampler(self) -> Sampler:
        """The part for the engine."""
        from localprobe.engine import Sampler

        return Sampler(self.temperature, self.top_k, self.top_p, self.min_p)

    def details(self, info: Info) -> dict[str, object]:
        """The settings that an answer is generated with, to be stored with it."""
        return {
            **generated_by(info),
            "temperature": self.temperature,
            "top_k": self.top_k,
            "top_p": self.top_p,
            "min_p": self.min_p,
        }

    def summary(self) -> str:
        """The settings in one short line, without cuts that have no effect."""
        cuts = [("top-k", self.top_k, 0), ("top-p", self.top_p, 1.0), ("min-p", self.min_p, 0.0)]
        parts = [f"temp {self.temperature:g}", *(f"{name} {value:g}" for name, value, off in cuts if value != off)]
        return "  ".join([*parts, f"seed {self.seed}"])


PRESETS: dict[str, dict[str, Any]] = {
    "paper": {"temperature": 0.7, "top_k": 0, "top_p": 1.0, "min_p": 0.0},
    "most likely": {"temperature": 0.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0},
    "careful": {"temperature": 0.5, "top_k": 0, "top_p": 0.9, "min_p": 0.0},
    "varied": {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.05},
}
"""Presets of the panel. `paper` has the paper's settings."""

LIMITS: dict[str, tuple[float, float]] = {
    "temperature": (0, 5),
    "top_k": (0, 1_000_000),
    "top_p": (0.01, 1),
    "min_p": (0, 1),
    "seed": (0, 2**31),
    "tokens": (1, 100_000),
}
"""The least and the largest value of each field."""
