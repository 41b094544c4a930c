"""The saved chats: search them by any word, open and delete them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input
from textual.widgets.option_list import Option

from localprobe.terminal_text import visible
from localprobe_tui.shell import errors_shown
from localprobe_tui.widgets.dialogs import Notice
from localprobe_tui.widgets.links import closes
from localprobe_tui.widgets.plain import OptionList, Static, plain
from localprobe_tui.widgets.sheets import SHEET

if TYPE_CHECKING:
    from localprobe.chats.store import Chats, Summary


class ChatList(ModalScreen[str | None]):
    """Returns the id of the selected chat."""

    DEFAULT_CSS = (
        "ChatList {"
        + SHEET
        + "& > Vertical { width: 90; } & OptionList { height: auto; max-height: 18; border: none; } }"
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Close", id="sheet.close"),
        Binding("down", "move('down')", show=False),
        Binding("up", "move('up')", show=False),
        Binding("ctrl+d", "delete", "Delete", id="chats.delete", priority=True),
    ]

    def __init__(self, chats: Chats) -> None:
        super().__init__()
        self._chats = chats

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            box.border_title = "Chats"
            box.border_subtitle = f"enter opens · [@click=screen.delete]ctrl+d deletes[/] · {closes()}"
            yield Input(placeholder="search titles and messages")
            yield OptionList()
            yield Static("No chat holds these words.", id="none")

    def on_mount(self) -> None:
        self._fill()

    @on(Input.Changed)
    def _fill(self) -> None:
        with errors_shown(self):
            summaries = self._chats.find(self.query_one(Input).value)
            options = self.query_one(OptionList)
            options.clear_options()
            options.add_options([Option(_line(chat), id=chat.id) for chat in summaries])
            options.highlighted = 0 if summaries else None
            self.query_one("#none").display = not summaries

    @on(Input.Submitted)
    @on(OptionList.OptionSelected)
    def _open(self) -> None:
        if (selected := self._highlighted()) is not None:
            self.dismiss(selected)

    def action_move(self, way: str) -> None:
        options = self.query_one(OptionList)
        (options.action_cursor_down if way == "down" else options.action_cursor_up)()

    @work
    async def action_delete(self) -> None:
        selected = self._highlighted()
        if selected is None:
            return
        answer = await self.app.push_screen_wait(
            Notice("Delete", "Delete this chat for good?", ("Keep it", "Delete it"))
        )
        if answer == "Delete it":
            with errors_shown(self):
                self._chats.delete(selected)
            self._fill()

    def _highlighted(self) -> str | None:
        options = self.query_one(OptionList)
        return None if options.highlighted is None else options.get_option_at_index(options.highlighted).id


def _line(chat: Summary) -> Content:
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(chat.updated))
    return Content.assemble(
        (when, "dim"),
        plain(f"  {chat.title or 'untitled'}  "),
        (visible(f"{chat.model}, {chat.turns} messages"), "dim"),
    )
