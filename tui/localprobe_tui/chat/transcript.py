"""The chat on the screen: messages with their answers, side by side if there are two."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.widget import Widget

from localprobe_tui.chat.answer import AnswerView, arrows
from localprobe_tui.widgets.growing import GrowsDown
from localprobe_tui.widgets.plain import Static, plain

if TYPE_CHECKING:
    from localprobe.chats.turns import Turn
    from localprobe_tui.talk.controller import ChatController


class Transcript(VerticalScroll, GrowsDown):
    """Follows the end of the chat until the user scrolls away from it."""

    DEFAULT_CSS = """
    Transcript {
        height: 1fr; padding: 0 1; scrollbar-size-vertical: 1;
        & > .said { padding: 0 1; margin: 0 0 1 0; border-left: outer $primary; color: $foreground; }
        & > .said.-system { color: $text-muted; border-left: outer $foreground 20%; }
        & > .empty { color: $text-muted; padding: 1 2; }
        & > Horizontal { height: auto; }
    }
    """

    FOCUS_ON_CLICK = False  # a click on an answer must not take the keys from the prompt

    def __init__(self, talk: ChatController) -> None:
        super().__init__(id="transcript")
        self._talk = talk
        self._shown: list[object] = []
        self.tinted = True
        """Whether tokens are coloured by their scores."""

    def on_mount(self) -> None:
        self.anchor()

    async def show(self) -> None:
        """Redraw the chat: new tokens only, or everything below the first turn that changed."""
        entries = self._entries()
        if [key for key, _ in entries] != self._shown:
            await self._rebuild(entries)
        going = {turn.id for turn in self._talk.answering}
        for answer in self.query(AnswerView):
            answer.tinted = self.tinted
            answer.paint(going=answer.turn.id in going)

    def _entries(self) -> list[tuple[object, Callable[[], Widget]]]:
        """The widgets to show, from the top: (identity, factory)."""
        chat = self._talk.chat
        turns = chat.path()
        if not turns and not chat.system:
            return [((), lambda: Static(Content.from_markup(_HINT), classes="empty"))]
        system = [((chat.id, chat.system), partial(_system, chat.system))] if chat.system else []
        return [*system, *((self._key(turn), partial(self._widget, turn)) for turn in turns)]

    def _key(self, turn: Turn) -> tuple[object, ...]:
        chat = self._talk.chat
        return chat.id, turn.id, turn.beside, len(chat.siblings(turn))

    async def _rebuild(self, entries: list[tuple[object, Callable[[], Widget]]]) -> None:
        """Rebuild the first widget that changed and all below it."""
        keys = [key for key, _ in entries]
        same = next((i for i, (old, new) in enumerate(zip(self._shown, keys, strict=False)) if old != new), None)
        kept = min(len(self._shown), len(keys)) if same is None else same
        self._shown = keys
        with self.app.batch_update():
            await self.remove_children(self.children[kept:])
            await self.mount_all([make() for _, make in entries[kept:]])
        self.anchor()

    def _widget(self, turn: Turn) -> Widget:
        return self._question(turn) if turn.role == "user" else self._answers(turn)

    def _question(self, turn: Turn) -> Widget:
        siblings = self._talk.chat.siblings(turn)
        number = arrows(turn, siblings.index(turn) + 1, len(siblings))
        return Static(Content.assemble(plain(turn.content), number), classes="said")

    def _answers(self, turn: Turn) -> Widget:
        """An answer, or the unsteered and the steered answers of one batch side by side."""
        other = self._talk.chat.turns.get(turn.beside or "")
        if other is None:
            return self._answer(turn)
        pair = sorted((turn, other), key=lambda item: bool(item.parts and item.parts[0].knobs))
        answers = [self._answer(item) for item in pair]
        for item, answer in zip(pair, answers, strict=True):
            answer.set_class(item is turn, "-kept")
        return Horizontal(*answers)

    def _answer(self, turn: Turn) -> AnswerView:
        siblings = self._talk.chat.siblings(turn)
        return AnswerView(turn, (siblings.index(turn) + 1, len(siblings)), tinted=self.tinted)


def _system(prompt: str) -> Widget:
    return Static(f"system: {prompt}", classes="said -system", markup=False)


_HINT = """\
Say something below. The knobs steer the answer while it is generated: [b]\\[[/b] and [b]][/b] turn the first one.

[b]ctrl+b[/b] answers twice, unsteered and steered, side by side.
[b]ctrl+e[/b] steers in words: ablate refusal, or 0.2 empathy when calm > 1.5.
[b]ctrl+l[/b] watches for a probe: you are told of the tokens at which it fires.
[b]ctrl+g[/b] puts a scenario of the paper into the prompt.
[b]ctrl+p[/b] finds everything else, [b]?[/b] shows the keys."""
