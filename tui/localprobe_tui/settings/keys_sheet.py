"""The active keys, their actions, and their ids in `config.toml`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import ActiveBinding, Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen

from localprobe_tui.settings import config
from localprobe_tui.widgets.links import closes
from localprobe_tui.widgets.plain import Static
from localprobe_tui.widgets.sheets import SHEET


class KeysSheet(ModalScreen[None]):
    """Lists bindings that have an id: the app's own, not those of a text being typed."""

    DEFAULT_CSS = (
        "KeysSheet {" + SHEET + "& > Vertical { width: 76; } & VerticalScroll { height: auto; max-height: 30; } }"
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q", "dismiss(None)", "Close", id="sheet.close"),
    ]

    def __init__(self, active: Iterable[ActiveBinding]) -> None:
        super().__init__()
        self._active = list(active)

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            box.border_title = "Keys"
            box.border_subtitle = closes()
            with VerticalScroll():
                yield Static(self._lines())
            yield Static(f"\nOther keys are set by these ids in config.toml:\n{config.path()}", markup=False)

    def _lines(self) -> Content:
        keys: dict[str, list[str]] = {}
        words: dict[str, str] = {}
        for _, binding, enabled, _ in self._active:
            if binding.id and binding.description and enabled:
                keys.setdefault(binding.id, []).append(self.app.get_key_display(binding))
                words[binding.id] = binding.description
        keys["app.palette"], words["app.palette"] = ["^p"], "All commands"
        lines = [
            Content.assemble(
                (f"{' '.join(dict.fromkeys(pressed))[:16]:>16}", "bold"), f"  {words[each]:<24}", (each, "dim")
            )
            for each, pressed in sorted(keys.items())
        ]
        return Content("\n").join(lines)
