"""The four screens, each imported when it is first shown: the first frame needs none but the chat."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

from textual.binding import Binding
from textual.dom import DOMNode
from textual.screen import Screen

_CLASSES = {"chat": "ChatScreen", "probing": "ProbingScreen", "runs": "RunsScreen", "models": "ModelsScreen"}


def _made(mode: str) -> Screen[Any]:
    screen: type[Screen[Any]] = getattr(import_module(f"localprobe_tui.{mode}.screen"), _CLASSES[mode])
    return screen()


MODES: dict[str, str | Callable[[], Screen[Any]]] = {mode: partial(_made, mode) for mode in _CLASSES}
"""The screens by the app's names for them."""


def binding_ids(app: type[DOMNode]) -> frozenset[str]:
    """The ids of the bindings that a user can set in `config.toml`: of the app, and of its screens and widgets."""
    from localprobe_tui.chat.prompt import PromptBox
    from localprobe_tui.chat.screen import ChatScreen
    from localprobe_tui.knobs.card import KnobCard, Said
    from localprobe_tui.models.screen import ModelList, ModelsScreen
    from localprobe_tui.probing.screen import ProbingScreen
    from localprobe_tui.runs.run_list import RunList
    from localprobe_tui.runs.screen import RunsScreen
    from localprobe_tui.widgets.slider import Slider

    screens = ChatScreen, ProbingScreen, RunsScreen, ModelsScreen
    bindings = [
        binding
        for node in (app, *screens, KnobCard, ModelList, PromptBox, RunList, Said, Slider)
        for binding in node.BINDINGS
    ]
    return frozenset(binding.id for binding in bindings if isinstance(binding, Binding) and binding.id)
