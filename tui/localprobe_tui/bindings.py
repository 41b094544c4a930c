"""The keys that a user can set in `config.toml`."""

from __future__ import annotations

from textual.binding import Binding


def ids() -> frozenset[str]:
    """The ids that keys can be set for."""
    from localprobe_tui.app import LocalprobeApp
    from localprobe_tui.chat import ChatScreen
    from localprobe_tui.dial_card import DialCard
    from localprobe_tui.models import ModelsScreen, ModelTable
    from localprobe_tui.probing import ProbingScreen
    from localprobe_tui.prompt import Prompt
    from localprobe_tui.runs import RunsScreen
    from localprobe_tui.runs_list import RunList
    from localprobe_tui.slider import Slider

    screens = (LocalprobeApp, ChatScreen, ProbingScreen, RunsScreen, ModelsScreen)
    every = [each for node in (*screens, DialCard, ModelTable, Prompt, RunList, Slider) for each in node.BINDINGS]
    return frozenset(each.id for each in every if isinstance(each, Binding) and each.id)
