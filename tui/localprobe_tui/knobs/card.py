"""One knob on the panel: its vector and layer, its slider, and its strength as dose and as alpha."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message

from localprobe.errors import UsageError
from localprobe_tui.talk.panel_knob import PanelKnob
from localprobe_tui.widgets.dialogs import Choose, TextDialog
from localprobe_tui.widgets.links import Links
from localprobe_tui.widgets.plain import Static
from localprobe_tui.widgets.slider import Slider

if TYPE_CHECKING:
    from localprobe_tui.talk.controller import ChatController

POSITIONS = ("all", "prompt", "response")


class KnobCard(Vertical):
    """A `PanelKnob` on the panel. Every change posts `Changed`."""

    DEFAULT_CSS = """
    KnobCard {
        height: auto; padding: 0 1; margin: 0 0 1 0;
        & > Static { height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
        &:focus-within { border-left: outer $accent; padding: 0 1 0 0; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,d", "type", "Type a dose", id="knob.type"),
        Binding("l", "layer", "Layer", id="knob.layer"),
        Binding("p", "positions", "Positions", id="knob.positions"),
        Binding("space", "switch", "On/off", id="knob.switch"),
        Binding("delete,backspace", "remove", "Remove", id="knob.remove"),
    ]

    class Changed(Message):
        """The knob was changed."""

    @dataclass
    class Removed(Message):
        """The user removed the knob."""

        knob: PanelKnob

    def __init__(self, knob: PanelKnob, talk: ChatController) -> None:
        super().__init__()
        self.knob = knob
        self._talk = talk

    def compose(self) -> ComposeResult:
        yield Links(classes="name")
        yield Slider(self.knob.dose, self.knob.reach)
        yield Links(classes="strength")
        yield Static(classes="source")

    def on_mount(self) -> None:
        self.show()

    def show(self) -> None:
        """Draw the knob as it is now."""
        if not self.is_mounted:
            return
        knob = self.knob
        slider = self.query_one(Slider)
        slider.reach = knob.reach
        slider.value = knob.dose
        slider.set_class(not knob.on, "-off")
        switch = "●" if knob.on else "○"
        self.query_one(".name", Links).update(
            Content.from_markup(
                f"[@click=do('switch')]{switch}[/] [b]$concept[/b]  [@click=do('layer')]{knob.place}[/]  "
                f"[@click=do('positions')]{knob.positions}[/]  [@click=do('remove') dim]✕[/]",
                concept=knob.vector.concept,
            ),
            layout=False,
        )
        alpha = knob.alpha(self._talk.model)
        alpha_text = "" if alpha is None else f"  alpha {alpha:+.1f}"
        name, suffix = ("alpha", "") if knob.layer is None else ("dose", alpha_text)
        colour = {"usable": "$text-success", "strong": "$text-warning", "": "dim"}.get(knob.range(), "$text-error")
        expect = knob.range() if knob.on else "off"
        strength = f"[@click=do('type')]{name} [b]{knob.dose:+.2f}[/b][/]{suffix}  [{colour}]{expect}[/]"
        self.query_one(".strength", Links).update(Content.from_markup(strength), layout=False)
        self.query_one(".source", Static).update(Content.styled(knob.source(), "dim"), layout=False)

    @on(Slider.Changed)
    def _slid(self, event: Slider.Changed) -> None:
        event.stop()
        self.knob.dose = event.value
        self._changed()

    @work
    async def action_type(self) -> None:
        """Type a strength: a dose, or `a` and an alpha."""
        hint = "a dose such as 0.22, or an alpha such as a20"
        typed = await self.app.push_screen_wait(TextDialog("Dose", f"{self.knob.dose:+.2f}", hint))
        if typed is None:
            return
        try:
            self._turn_to(typed)
        except UsageError as error:
            self.notify(str(error), severity="error")
        self._changed()

    @work
    async def action_layer(self) -> None:
        directions = self.knob.vector.directions
        options = [(layer_line(self.knob, layer), str(layer)) for layer in sorted(directions)]
        if self.knob.vector.best is None and len(directions) > 1:
            options.insert(0, ("all layers together, as control vectors are used", ""))
        choice = await self.app.push_screen_wait(Choose(f"Layer of {self.knob.vector.concept}", options))
        if choice is not None:
            self.knob.move(int(choice) if choice else None)
            self._changed()

    def action_positions(self) -> None:
        at = POSITIONS.index(self.knob.positions) if self.knob.positions in POSITIONS else -1
        self.knob.positions = POSITIONS[(at + 1) % len(POSITIONS)]
        self._changed()

    def action_switch(self) -> None:
        self.knob.on = not self.knob.on
        self._changed()

    def action_remove(self) -> None:
        self.post_message(self.Removed(self.knob))

    def _changed(self) -> None:
        self.show()
        self.post_message(self.Changed())

    def _turn_to(self, typed: str) -> None:
        """Set the typed strength; UsageError if it is not one."""
        text = typed.strip().lower().removeprefix("dose").strip()
        is_alpha = text.startswith("a")
        try:
            value = float(text.removeprefix("alpha").removeprefix("a").strip())
        except ValueError:
            value = float("nan")
        if not abs(value) < float("inf"):
            raise UsageError(f"{typed!r} is not a strength: type a dose such as 0.22, or an alpha such as a20")
        if is_alpha:
            self.knob.turn_to_alpha(value, self._talk.model)
        else:
            self.knob.dose = value


def layer_line(knob: PanelKnob, layer: int) -> str:
    """A layer in a list, with its AUROC."""
    auroc = knob.vector.directions[layer].measures.get("auroc")
    measured = "" if auroc is None else f"   AUROC {auroc:.3f}"
    return f"layer {layer:>2}{measured}" + ("   best" if layer == knob.vector.best else "")
