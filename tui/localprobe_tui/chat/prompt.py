"""The text box of the chat: Enter sends, and while it is empty the keys of the knobs work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import TextArea


class PromptBox(TextArea):
    """A text area that grows with its text up to a few lines.

    While it is empty, `[`, `]` and `?` are keys of the screen, so that a dose can be changed during an answer.
    """

    DEFAULT_CSS = """
    PromptBox { height: auto; min-height: 1; max-height: 7; width: 1fr; padding: 0 1 0 0; background: $background; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "send", "Send", id="prompt.send", show=False),
        Binding("up", "up", "Edit the last message", id="prompt.edit", show=False),
        Binding("shift+enter,ctrl+j,alt+enter", "line", "New line", id="prompt.line", show=False),
    ]
    THROUGH = frozenset({"left_square_bracket", "right_square_bracket", "question_mark"})

    @dataclass
    class Sent(Message):
        """The user sent a text, which has left the prompt."""

        text: str
        editing: bool
        """Whether it replaces the last message."""

    class Edit(Message):
        """The user wants to edit the last message."""

    def __init__(self) -> None:
        super().__init__(id="prompt", placeholder="Say something", compact=True, highlight_cursor_line=False)
        self.editing = False
        """Whether the text replaces the last message."""

    def check_consume_key(self, key: str, character: str | None = None) -> bool:
        """Whether a key is text: while the box is empty, the keys of the knobs are not."""
        if not self.text and key in self.THROUGH:
            return False
        return super().check_consume_key(key, character)

    async def _on_key(self, event: events.Key) -> None:
        """Run the key's binding in order: with priority it would come before text typed earlier, and bubbling after
        text typed later."""
        active = self.screen.active_bindings.get(event.key)
        own = active is not None and active.node is self and active.binding.action in ("send", "line")
        if own or (not self.text and event.key in self.THROUGH):
            event.prevent_default()  # TextArea's own method, which comes next, would type it
            event.stop()
            if active is not None:
                await self.app.run_action(active.binding.action, active.node)

    def action_send(self) -> None:
        text = self.text.strip()
        if text:
            self.post_message(self.Sent(text, self.editing))
            self.text, self.editing = "", False

    def put_back(self, sent: Sent) -> None:
        """Put a text that could not be sent back, before what was typed since."""
        self.text, self.editing = sent.text + self.text, sent.editing
        self.move_cursor(self.document.end)

    def action_up(self) -> None:
        """In an empty prompt, take the last message back to edit it."""
        if self.text:
            self.action_cursor_up()
        else:
            self.post_message(self.Edit())

    def action_line(self) -> None:
        self.insert("\n")
