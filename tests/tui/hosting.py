"""The app with one of its screens, on the fake engine in this process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from textual.screen import Screen

from localprobe.engines.spec import ModelSpec
from localprobe.vectors.vector import Vector
from localprobe_tui.app import LocalprobeApp
from localprobe_tui.engine.session import EngineSession


class Host(LocalprobeApp):
    """Shows one screen. Vectors that are taken into the chat are kept, and the chat stays away."""

    MODES: ClassVar[dict[str, str | Callable[[], Screen[Any]]]] = {}
    DEFAULT_MODE = ""

    def __init__(self, mode: str, *, remote: bool = False) -> None:
        self.MODES = {mode: LocalprobeApp.MODES[mode]}  # type: ignore[misc]
        self.DEFAULT_MODE = mode  # type: ignore[misc]
        super().__init__(None, session=EngineSession(remote=remote))
        self.used: list[Vector] = []

    def use_vector(self, vector: Vector) -> None:
        self.used.append(vector)

    async def load_fake(self) -> None:
        """Load the fake model, as a person would have before."""
        await self.session.load(ModelSpec("fake", "fake"))
