"""The knobs in one line, for a small terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.content import Content

from localprobe_tui.widgets.links import Links

if TYPE_CHECKING:
    from localprobe_tui.talk.controller import ChatController


class KnobLine(Links):
    """`● empathy +0.22 @19 (alpha +48.3) usable · temp 0.7`; a click opens the knobs."""

    DEFAULT_CSS = """
    KnobLine { height: 1; padding: 0 1; background: $panel; text-wrap: nowrap; text-overflow: ellipsis; }
    """

    def __init__(self, talk: ChatController) -> None:
        super().__init__()
        self._talk = talk

    def on_mount(self) -> None:
        self.show()

    def show(self) -> None:
        """Draw the knobs as they are now."""
        parts = []
        for knob in self._talk.knobs:
            state = knob.range() if knob.on else "off"
            parts.append(f"{knob.line(self._talk.model)} {state}".rstrip())
        parts += [f"⚑ {alarm.text}" for alarm in self._talk.alarms]
        words = " · ".join([*(parts or ["no vector"]), self._talk.sampling.summary()])
        self.update(Content.from_markup("[@click=do('knobs')]$words[/]", words=words), layout=False)
