"""The chat as it is read: what the user said, and the answers under it, side by side where there are two."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.containers import Horizontal, VerticalScroll
from textual.widget import Widget
from textual.widgets import Static

from localprobe_tui.answer import Answer

if TYPE_CHECKING:
    from localprobe.turns import Turn
    from localprobe_tui.talk import Talk


class Transcript(VerticalScroll):
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

    def __init__(self, talk: Talk) -> None:
        super().__init__(id="transcript")
        self._talk = talk
        self._shown: list[object] = []
        self.tinted = True
        """Whether tokens wear their scores."""

    def on_mount(self) -> None:
        self.anchor()

    async def show(self) -> None:
        """Draw the chat as it is now: what is new is painted, and all is made anew if its turns are others."""
        turns = self._talk.chat.path()
        wanted: list[object] = [self._talk.chat.id, self._talk.chat.system, *self._groups(turns)]
        if wanted != self._shown:
            self._shown = wanted
            await self._rebuild(turns)
        going = {turn.id for turn in self._talk.answering}
        for answer in self.query(Answer):
            answer.tinted = self.tinted
            answer.paint(going=answer.turn.id in going)

    def _groups(self, turns: list[Turn]) -> list[tuple[str, ...]]:
        """What tells one list of turns from another: ids, what stands beside them, and how many siblings there are."""
        chat = self._talk.chat
        return [(turn.id, turn.beside or "", str(len(chat.siblings(turn)))) for turn in turns]

    async def _rebuild(self, turns: list[Turn]) -> None:
        widgets: list[Widget] = []
        if self._talk.chat.system:
            widgets.append(Static(f"system: {self._talk.chat.system}", classes="said -system", markup=False))
        widgets += [self._question(turn) if turn.role == "user" else self._answers(turn) for turn in turns]
        if not turns:
            widgets.append(Static(_HINT, classes="empty"))
        with self.app.batch_update():
            await self.remove_children()
            await self.mount_all(widgets)
        self.anchor()

    def _question(self, turn: Turn) -> Widget:
        siblings = self._talk.chat.siblings(turn)
        number = f"   ◂ {siblings.index(turn) + 1} of {len(siblings)} ▸" if len(siblings) > 1 else ""
        return Static(turn.content + number, classes="said", markup=False)

    def _answers(self, turn: Turn) -> Widget:
        """An answer, or the unsteered and the steered one of one batch beside each other."""
        other = self._talk.chat.turns.get(turn.beside or "")
        if other is None:
            return self._answer(turn)
        pair = sorted((turn, other), key=lambda each: bool(each.parts and each.parts[0].knobs))
        answers = [self._answer(each) for each in pair]
        for each, answer in zip(pair, answers, strict=True):
            answer.set_class(each is turn, "-kept")
        return Horizontal(*answers)

    def _answer(self, turn: Turn) -> Answer:
        siblings = self._talk.chat.siblings(turn)
        return Answer(turn, (siblings.index(turn) + 1, len(siblings)), tinted=self.tinted)


_HINT = """\
Say something below. The knobs steer the answer while it comes: [b]\\[[/b] and [b]][/b] turn the first one.

[b]ctrl+b[/b] answers twice, unsteered and steered, side by side.
[b]ctrl+g[/b] puts a scenario of the paper into the prompt.
[b]ctrl+p[/b] finds everything else, [b]?[/b] shows the keys."""
