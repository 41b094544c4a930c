"""The four screens, each imported when it is first shown: the first frame needs none but the chat."""

from __future__ import annotations

from typing import Any

from textual.dom import DOMNode
from textual.screen import Screen


def chat() -> Screen[Any]:
    from localprobe_tui.chat.screen import ChatScreen

    return ChatScreen()


def probing() -> Screen[Any]:
    from localprobe_tui.probing.screen import ProbingScreen

    return ProbingScreen()


def runs() -> Screen[Any]:
    from localprobe_tui.runs.screen import RunsScreen

    return RunsScreen()


def models() -> Screen[Any]:
    from localprobe_tui.models.screen import ModelsScreen

    return ModelsScreen()


def with_keys() -> tuple[type[DOMNode], ...]:
    """The screens and widgets whose keys a user can set."""
    from localprobe_tui.chat.prompt import PromptBox
    from localprobe_tui.chat.screen import ChatScreen
    from localprobe_tui.knobs.card import KnobCard
    from localprobe_tui.models.screen import ModelList, ModelsScreen
    from localprobe_tui.probing.screen import ProbingScreen
    from localprobe_tui.runs.run_list import RunList
    from localprobe_tui.runs.screen import RunsScreen
    from localprobe_tui.widgets.slider import Slider

    return ChatScreen, ProbingScreen, RunsScreen, ModelsScreen, KnobCard, ModelList, PromptBox, RunList, Slider
