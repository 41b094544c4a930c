"""The panel beside the chat: each vector with its slider, the probe's scores, and the sampling settings."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Button

from localprobe_tui.knobs.card import KnobCard
from localprobe_tui.talk import words
from localprobe_tui.widgets.links import Links
from localprobe_tui.widgets.plain import Static
from localprobe_tui.widgets.scores import spark

if TYPE_CHECKING:
    from localprobe.chats.turns import Turn
    from localprobe_tui.talk.controller import ChatController

_ADD = "[@click=do('add_vector')]+ add a vector[/]  [@click=do('add_steering')]+ in words ^e[/]"
_FIT = "Fit empathy on this model"


class KnobsPanel(VerticalScroll, can_focus=False):
    """Shows the knobs of a chat; `show` redraws them."""

    DEFAULT_CSS = """
    KnobsPanel {
        width: 40; padding: 0; border-left: solid $foreground 20%; scrollbar-size-vertical: 1;
        & .title { color: $text-secondary; text-style: bold; padding: 0 1; }
        & .line { padding: 0 1; }
        & .none { padding: 0 1; color: $text-muted; }
        & Button { margin: 0 1; height: 1; border: none; min-width: 10; }
        & #knobs { height: auto; min-height: 5; }
        & #probe { padding: 0 1; }
        & #applies, & #settings, & #alarms { margin: 0 0 1 0; }
        & #alarms { text-wrap: nowrap; text-overflow: ellipsis; }
    }
    """
    # `#knobs` has the height of a card even when empty, and the probe, which grows, is last: no line may move away
    # under the mouse.

    def __init__(self, talk: ChatController) -> None:
        super().__init__()
        self._talk = talk
        self._shown: list[object] | None = None

    def compose(self) -> ComposeResult:
        yield Static("Steering", classes="title")
        yield Vertical(id="knobs")
        yield Links(Content.from_markup(_ADD), classes="line")
        yield Links(id="applies", classes="line")
        yield Static("Answers", classes="title")
        yield Links(id="settings", classes="line")
        yield Links(id="alarms", classes="line")
        yield Static("Probe", classes="title", id="probe-title")
        yield Links(id="watch", classes="line")
        yield Static(id="probe")

    async def on_mount(self) -> None:
        await self.show()

    async def show(self) -> None:
        """Redraw everything."""
        talk = self._talk
        if self._shown != talk.knobs:
            self._shown = list(talk.knobs)
            with self.app.batch_update():
                await self._show_cards()
        for card in self.query(KnobCard):
            card.show()
        for button in self.query("#fit"):
            button.disabled = talk.model is None
        self.query_one("#applies", Links).update(
            Content.from_markup(f"[@click=do('applies')]a turn applies to the[/] [b]{talk.applies}[/b]")
        )
        self.show_live()
        system = " ".join(talk.chat.system.split())
        self.query_one("#settings", Links).update(
            Content.from_markup(
                "[@click=do('sampling')]$sampling[/]\n[@click=do('system')]system[/] $system\n"
                "[@click=do('split')]split view[/] [b]$split[/b]",
                sampling=talk.sampling.summary(),
                system=(system[:28] + "…" if len(system) > 29 else system) or "none",
                split="on: unsteered beside" if talk.split else "off",
            )
        )

    async def _show_cards(self) -> None:
        """Add and remove cards; those that stay keep the focus."""
        place, knobs = self.query_one("#knobs"), self._talk.knobs
        shown = {id(card.knob): card for card in self.query(KnobCard)}
        await place.remove_children([each for each in place.children if getattr(each, "knob", None) not in knobs])
        for at, knob in enumerate(knobs):
            if id(knob) not in shown:
                await place.mount(KnobCard(knob, self._talk), before=at if at < len(place.children) else None)
        if not knobs:
            await place.mount_all(_without())

    def show_live(self) -> None:
        """Draw what an answer that comes changes: gates, what was watched for, and the probe's scores."""
        for card in self.query(KnobCard):
            card.show_gates()
        self._show_alarms()
        self._show_probe()

    def _show_alarms(self) -> None:
        """Draw what is watched for, and how often it fired in the answers of the chat."""
        fired = Counter(alert.probe for turn in self._talk.chat.path() for alert in turn.alerts)
        lines = [
            Content.from_markup(
                f"[@click=do('unwatch({number})') dim]✕[/] ⚑ $text  [$text-warning]$times[/]",
                text=alarm.text,
                times=f"fired {fired[alarm.text]}" if fired[alarm.text] else "",
            )
            for number, alarm in enumerate(self._talk.alarms)
        ]
        add = Content.from_markup("[@click=do('watch_for')]+ watch for a probe ^l[/]")
        alarms = self.query_one("#alarms", Links)
        alarms.update(Content("\n").join([add, *lines]), layout=len(lines) + 1 != alarms.size.height)

    def _show_probe(self) -> None:
        """Draw the probe's scores of the answers at the end of the chat."""
        talk = self._talk
        read = talk.reading()
        for name in ("#probe-title", "#watch", "#probe"):
            self.query_one(name).display = read is not None
        if read is None:
            return
        last = self._last()
        where = Content.from_markup(f"[@click=do('watch')]$concept at layer {read.layer}[/]", concept=read.concept)
        self.query_one("#watch", Links).update(where, layout=False)
        poles = f"\u00b1{read.norm / 2:.1f} are its two poles" if read.norm else "its poles are not known"
        lines = [Content.styled(poles, "dim"), *map(_line, last)]
        if added := [turn.parts[-1].added for turn in last if turn.parts and turn.parts[-1].added]:
            lines.append(Content.styled(f"without the {added[-1]:+.1f} that was added", "dim"))
        if any(words.conditional(turn.parts[-1].knobs) for turn in last if turn.parts):
            lines.append(Content.styled("with what is added only at times", "dim"))
        probe = self.query_one("#probe", Static)
        probe.update(Content("\n").join(lines), layout=len(lines) != probe.size.height)

    def _last(self) -> list[Turn]:
        """The answer at the end of the chat, and the one beside it."""
        path = self._talk.chat.path()
        if not path or path[-1].role != "assistant":
            return []
        other = self._talk.chat.turns.get(path[-1].beside or "")
        return sorted(filter(None, (path[-1], other)), key=lambda turn: bool(turn.parts and turn.parts[0].knobs))


def _without() -> list[Widget]:
    """Shown while there is no knob."""
    return [
        Static("No direction is loaded for this model.", classes="none"),
        Button(_FIT, id="fit", variant="primary", compact=True),
    ]


def _line(turn: Turn) -> Content:
    name = "steered" if turn.parts and turn.parts[-1].knobs else "plain"
    return Content.assemble(f"{name:8}", *spark(turn, 18))
