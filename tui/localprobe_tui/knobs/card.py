"""One knob on the panel: its vector and layer, its slider, and its strength as dose and as alpha."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, get_args

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from localprobe.errors import UsageError
from localprobe.steering.positions import Positions
from localprobe_tui.talk.dials import Dial
from localprobe_tui.widgets.dialogs import Ask, Choose
from localprobe_tui.widgets.links import Links
from localprobe_tui.widgets.slider import Slider

if TYPE_CHECKING:
    from localprobe_tui.talk.controller import ChatController

POSITIONS: tuple[str, ...] = get_args(Positions)


class DialCard(Vertical):
    """A `Dial` to turn. Every change posts `Turned`."""

    DEFAULT_CSS = """
    DialCard {
        height: auto; padding: 0 1; margin: 0 0 1 0;
        & > Static { height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
        &:focus-within { border-left: outer $accent; padding: 0 1 0 0; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,d", "type", "Type a dose", id="dial.type"),
        Binding("l", "layer", "Layer", id="dial.layer"),
        Binding("p", "positions", "Positions", id="dial.positions"),
        Binding("space", "switch", "On/off", id="dial.switch"),
        Binding("delete,backspace", "remove", "Remove", id="dial.remove"),
    ]

    @dataclass
    class Turned(Message):
        """The dial was changed."""

        dial: Dial

    @dataclass
    class Removed(Message):
        """The dial is to go."""

        dial: Dial

    def __init__(self, dial: Dial, talk: ChatController) -> None:
        super().__init__()
        self.dial = dial
        self._talk = talk

    def compose(self) -> ComposeResult:
        yield Links(classes="name")
        yield Slider(self.dial.dose, self.dial.reach)
        yield Links(classes="strength")
        yield Static(classes="source")

    def on_mount(self) -> None:
        self.show()

    def show(self) -> None:
        """Draw the dial as it is now."""
        if not self.is_mounted:
            return
        dial = self.dial
        slider = self.query_one(Slider)
        slider.reach = dial.reach
        slider.value = dial.dose
        slider.set_class(not dial.on, "-off")
        switch = "●" if dial.on else "○"
        self.query_one(".name", Links).update(
            Content.from_markup(
                f"[@click=do('switch')]{switch}[/] [b]$concept[/b]  [@click=do('layer')]{dial.place}[/]  "
                f"[@click=do('positions')]{dial.positions}[/]  [@click=do('remove') dim]✕[/]",
                concept=dial.vector.concept,
            ),
            layout=False,
        )
        alpha = dial.alpha(self._talk.model)
        known = "" if alpha is None else f"  alpha {alpha:+.1f}"
        name, shown = ("alpha", "") if dial.layer is None else ("dose", known)
        colour = {"usable": "$text-success", "strong": "$text-warning", "": "dim"}.get(dial.range(), "$text-error")
        expect = dial.range() if dial.on else "off"
        strength = f"[@click=do('type')]{name} [b]{dial.dose:+.2f}[/b][/]{shown}  [{colour}]{expect}[/]"
        self.query_one(".strength", Links).update(Content.from_markup(strength), layout=False)
        self.query_one(".source", Static).update(Content.styled(dial.source(), "dim"), layout=False)

    @on(Slider.Changed)
    def _slid(self, event: Slider.Changed) -> None:
        event.stop()
        self.dial.dose = event.value
        self._changed()

    @work
    async def action_type(self) -> None:
        """Type a strength: a dose, or `a` and an alpha."""
        hint = "a dose such as 0.22, or an alpha such as a20"
        typed = await self.app.push_screen_wait(Ask("Dose", f"{self.dial.dose:+.2f}", hint))
        if typed is None:
            return
        try:
            self._turn_to(typed)
        except UsageError as error:
            self.notify(str(error), severity="error")
        self._changed()

    @work
    async def action_layer(self) -> None:
        found = self.dial.vector.directions
        options = [(layer_line(self.dial, layer), str(layer)) for layer in sorted(found)]
        if self.dial.vector.best is None and len(found) > 1:
            options.insert(0, ("all layers together, as control vectors are used", ""))
        chosen = await self.app.push_screen_wait(Choose(f"Layer of {self.dial.vector.concept}", options))
        if chosen is not None:
            self.dial.move(int(chosen) if chosen else None)
            self._changed()

    def action_positions(self) -> None:
        at = POSITIONS.index(self.dial.positions)
        self.dial.positions = POSITIONS[(at + 1) % len(POSITIONS)]
        self._changed()

    def action_switch(self) -> None:
        self.dial.on = not self.dial.on
        self._changed()

    def action_remove(self) -> None:
        self.post_message(self.Removed(self.dial))

    def _changed(self) -> None:
        self.show()
        self.post_message(self.Turned(self.dial))

    def _turn_to(self, typed: str) -> None:
        """Set the strength that was typed; UsageError if it is none."""
        text = typed.strip().lower().removeprefix("dose").strip()
        is_alpha = text.startswith("a")
        try:
            value = float(text.removeprefix("alpha").removeprefix("a").strip())
        except ValueError:
            value = float("nan")
        if not abs(value) < float("inf"):
            raise UsageError(f"{typed!r} is no strength: type a dose such as 0.22, or an alpha such as a20")
        if is_alpha:
            self.dial.turn_to_alpha(value, self._talk.model)
        else:
            self.dial.dose = value


def layer_line(dial: Dial, layer: int) -> str:
    """A layer in a list, with what was measured there."""
    auroc = dial.vector.directions[layer].measures.get("auroc")
    measured = "" if auroc is None else f"   AUROC {auroc:.3f}"
    return f"layer {layer:>2}{measured}" + ("   best" if layer == dial.vector.best else "")
