"""Actions on the whole chat: begin, find, branch, copy and export it, and browse its answers."""

from __future__ import annotations

from pathlib import Path

from textual import work

from localprobe_tui.chat.chat_list import ChatList
from localprobe_tui.chat.prompt import PromptBox
from localprobe_tui.shell import ShellScreen, errors_shown
from localprobe_tui.talk import export


class ChatActions(ShellScreen):
    """A screen that shows a chat."""

    def action_new(self) -> None:
        if not self.answering():
            self.talk.new()
            self.query_one(PromptBox).focus()

    def action_copy(self) -> None:
        """Copy the last answer to the clipboard."""
        answers = [turn for turn in self.talk.chat.path() if turn.role == "assistant"]
        if answers:
            self.app.copy_to_clipboard(answers[-1].content)
            self.notify("The last answer is on the clipboard.")

    def action_variant(self, step: int) -> None:
        """Browse the answers to the last message, or, if there is only one, the versions of that message."""
        path = self.talk.chat.path()
        for turn in reversed(path):
            if len(self.talk.chat.siblings(turn)) > 1:
                self.action_sibling(turn.id, step)
                return

    def action_sibling(self, turn: str, step: int) -> None:
        """Switch to a sibling of a turn: another answer, or another version of a message."""
        siblings = self.talk.chat.siblings(self.talk.chat.turns[turn])
        at = next(i for i, sibling in enumerate(siblings) if sibling.id == turn)
        if not self.answering():
            self.talk.choose(siblings[(at + step) % len(siblings)])

    @work
    async def action_chats(self) -> None:
        """Find an earlier chat and open it."""
        chats = self.talk.writer.chats
        if chats is None:
            self.notify("Chats are not kept in this session.", severity="warning")
            return
        if self.answering():
            return
        choice = await self.app.push_screen_wait(ChatList(chats))
        if choice is not None:
            with errors_shown(self):
                self.talk.open(chats.read(choice))

    def action_branch(self) -> None:
        """Continue in a new chat that begins as this one."""
        if not self.answering():
            self.talk.open(self.talk.chat.branch())
            self.talk.keep()
            self.notify("This is a new chat. The original is kept (ctrl+o).")

    def action_export(self, kind: str) -> None:
        """Write the chat to a file in the folder that localprobe was started in."""
        with errors_shown(self):
            self.notify(f"Written to {export.write(self.talk.chat, Path.cwd(), kind)}")

    def answering(self) -> bool:
        """Whether an answer is being generated; notifies the user that it must be stopped first."""
        if self.talk.answering:
            self.notify("An answer is being generated: stop it first.", severity="warning")
        return bool(self.talk.answering)
