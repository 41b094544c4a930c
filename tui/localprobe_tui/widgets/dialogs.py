"""Dialogs: a message, a question, a line to type, a list to choose from, and the progress of some work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Input, ProgressBar
from textual.widgets.option_list import Option

from localprobe_tui.widgets.links import closes
from localprobe_tui.widgets.plain import Label, OptionList, Static, plain

_CSS = """
{name} {{ align: center middle; }}
{name} > Vertical {{
    width: 76; max-width: 94%; height: auto; max-height: 90%; padding: 1 2; background: $surface;
    border: round $primary; border-title-color: $foreground; border-title-style: bold;
}}
{name} Button {{ margin: 1 1 0 0; }}
{name} Horizontal {{ height: auto; }}
"""


class Notice(ModalScreen[str]):
    """A message with buttons; returns the label of the button, or "" if dismissed."""

    DEFAULT_CSS = _CSS.format(name="Notice") + "Notice.-error > Vertical { border: round $error; }"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss('')", "Close", id="dialog.close")]

    def __init__(self, title: str, message: str, buttons: Sequence[str] = ("OK",), *, error: bool = False) -> None:
        super().__init__(classes="-error" if error else "")
        self.message = message
        self._title, self._buttons = title, buttons

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            box.border_title = plain(self._title)
            yield Static(self.message, markup=False)
            with Horizontal():
                for number, label in enumerate(self._buttons):
                    yield Button(label, variant="default" if number else "primary", name=label)

    @on(Button.Pressed)
    def _chosen(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.name or "")


class TextDialog(ModalScreen[str | None]):
    """One line to type; returns None if cancelled."""

    DEFAULT_CSS = _CSS.format(name="TextDialog")
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Close", id="dialog.close")]

    def __init__(self, title: str, value: str = "", hint: str = "") -> None:
        super().__init__()
        self._title, self._value, self._hint = title, value, hint

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            box.border_title = plain(self._title)
            box.border_subtitle = closes()
            yield Input(self._value, placeholder=self._hint)

    @on(Input.Submitted)
    def _typed(self, event: Input.Submitted) -> None:
        self.dismiss(event.value)


class Choose(ModalScreen[str | None]):
    """A list to search by typing; returns the id of the selected item. `free` also accepts text that is not listed."""

    DEFAULT_CSS = _CSS.format(name="Choose") + "Choose OptionList { height: auto; max-height: 16; margin: 1 0 0 0; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Close", id="dialog.close"),
        Binding("down", "down", "Down", show=False),
        Binding("up", "up", "Up", show=False),
    ]

    def __init__(self, title: str, options: Sequence[tuple[str, str]], hint: str = "", *, free: bool = False) -> None:
        super().__init__()
        self._title, self._hint, self._free = title, hint, free
        self._options = list(options)

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            box.border_title = plain(self._title)
            box.border_subtitle = closes()
            yield Input(placeholder=self._hint or "type to find")
            yield OptionList()

    def on_mount(self) -> None:
        self._fill("")

    @on(Input.Changed)
    def _search(self, event: Input.Changed) -> None:
        self._fill(event.value)

    def _fill(self, text: str) -> None:
        option_list = self.query_one(OptionList)
        option_list.clear_options()
        words = text.lower().split()
        matches = [(label, key) for label, key in self._options if all(word in label.lower() for word in words)]
        option_list.add_options([Option(label, id=key) for label, key in matches])
        option_list.highlighted = 0 if matches else None

    @on(Input.Submitted)
    def _entered(self, event: Input.Submitted) -> None:
        option_list = self.query_one(OptionList)
        if option_list.highlighted is not None:
            self.dismiss(option_list.get_option_at_index(option_list.highlighted).id)
        elif self._free and event.value.strip():
            self.dismiss(event.value.strip())

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(event.option_id)

    def action_down(self) -> None:
        self.query_one(OptionList).action_cursor_down()

    def action_up(self) -> None:
        self.query_one(OptionList).action_cursor_up()


class Working(ModalScreen[None]):
    """Running work: its stage, its progress, and a button that cancels it.

    Its opener calls `tell`, and `finish` at the end. `on_cancel` is called once.
    """

    DEFAULT_CSS = _CSS.format(name="Working") + "Working ProgressBar { margin: 1 0 0 0; }"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", "Cancel", id="dialog.cancel")]

    def __init__(self, title: str, on_cancel: Callable[[], None]) -> None:
        super().__init__()
        self._title = title
        self._on_cancel: Callable[[], None] | None = on_cancel
        self.stage = title

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            box.border_title = plain(self._title)
            yield Label(self.stage, id="stage", markup=False)
            yield ProgressBar(show_eta=False)
            yield Button("Cancel", id="cancel")

    def tell(self, what: str, done: int, total: int) -> None:
        """Show a stage; `total` 0 means that its length is unknown."""
        self.stage = what
        if not self.is_mounted:
            return
        amount = f"  {done / 1e6:,.0f} of {total / 1e6:,.0f} MB" if total > 1_000_000 else ""
        self.query_one("#stage", Label).update(what + amount)
        self.query_one(ProgressBar).update(total=total or None, progress=done)

    def finish(self) -> None:
        """Close the dialog and everything opened over it."""
        if self in self.app.screen_stack:
            self.pop_until_active()
            self.dismiss()

    @on(Button.Pressed)
    def action_cancel(self) -> None:
        self.query_one("#stage", Label).update("cancelling ...")
        on_cancel, self._on_cancel = self._on_cancel, None
        if on_cancel:
            on_cancel()
