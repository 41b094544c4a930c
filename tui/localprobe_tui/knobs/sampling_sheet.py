"""The sampling settings, as a sheet over the chat."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Input

from localprobe_tui.talk.sampling import LIMITS, PRESETS, Sampling
from localprobe_tui.widgets.links import closes
from localprobe_tui.widgets.plain import Label, Static
from localprobe_tui.widgets.sheets import SHEET


class SamplingSheet(ModalScreen[Sampling | None]):
    """The sampling settings, with presets; returns None if nothing changes."""

    DEFAULT_CSS = (
        "SamplingSheet {"
        + SHEET
        + "& Label { width: 16; } & Input { width: 1fr; } & #wrong { color: $text-error; height: auto; } }"
    )
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Close", id="sheet.close")]

    def __init__(self, sampling: Sampling) -> None:
        super().__init__()
        self._sampling = sampling

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            box.border_title = "How answers are drawn"
            box.border_subtitle = closes()
            with Horizontal():
                for name in PRESETS:
                    yield Button(name, name=name, classes="preset", compact=True)
            for field in fields(Sampling):
                with Horizontal():
                    yield Label(field.name.replace("_", "-"))
                    yield Input(f"{getattr(self._sampling, field.name):g}", id=field.name, compact=True)
            yield Static(id="wrong")
            yield Button("Use these", variant="primary", id="use", compact=True)

    @on(Button.Pressed, ".preset")
    def _preset(self, event: Button.Pressed) -> None:
        for name, value in PRESETS[event.button.name or ""].items():
            self.query_one(f"#{name}", Input).value = f"{value:g}"

    @on(Button.Pressed, "#use")
    @on(Input.Submitted)
    def _use(self) -> None:
        values: dict[str, int | float] = {}
        for field in fields(Sampling):
            typed = self.query_one(f"#{field.name}", Input).value
            least, most = LIMITS[field.name]
            kind = type(getattr(self._sampling, field.name))
            try:
                value = kind(typed)
            except ValueError:
                value = None
            if value is None or not least <= value <= most:
                what = "a whole number" if kind is int else "a number"
                self.query_one("#wrong", Static).update(
                    f"{field.name.replace('_', '-')} {typed!r}: give {what} from {least:g} to {most:g}"
                )
                self.query_one(f"#{field.name}", Input).focus()
                return
            values[field.name] = value
        self.dismiss(replace(self._sampling, **values))  # type: ignore[arg-type]  # each value has its field's type
