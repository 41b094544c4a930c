"""One knob on the panel: what it does to which vector and where, its slider, its strength, and its gates."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message

from localprobe.errors import UsageError
from localprobe_tui.talk import words
from localprobe_tui.talk.panel_knob import PanelKnob
from localprobe_tui.widgets.dialogs import Choose, TextDialog
from localprobe_tui.widgets.links import Links
from localprobe_tui.widgets.plain import Static
from localprobe_tui.widgets.slider import Slider

if TYPE_CHECKING:
    from localprobe_tui.talk.controller import ChatController

POSITIONS = ("all", "prompt", "response")


class Said(Links, can_focus=True):
    """What a knob does, in words; Enter edits it."""

    DEFAULT_CSS = "Said { width: 1fr; &:focus { background: $boost; } }"
    FOCUS_ON_CLICK = False  # what is typed next goes to the prompt
    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "do('edit')", "Edit the text", id="knob.said")]


class KnobCard(Vertical):
    """A `PanelKnob` on the panel. Every change posts `Changed`."""

    DEFAULT_CSS = """
    KnobCard {
        height: auto; padding: 0 1; margin: 0 0 1 0;
        & > Horizontal { height: 1; }
        & Static { height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
        & .remove { width: 2; text-align: right; }
        & .gates { height: auto; display: none; }
        & Slider.-none { visibility: hidden; }
        &:focus-within { border-left: outer $accent; padding: 0 1 0 0; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,d", "type", "Type a dose", id="knob.type"),
        Binding("e", "edit", "Edit the text", id="knob.edit"),
        Binding("o", "operator", "Add/ablate", id="knob.operator"),
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

    @dataclass
    class Edited(Message):
        """The user wants to edit the knob's text."""

        knob: PanelKnob

    def __init__(self, knob: PanelKnob, talk: ChatController) -> None:
        super().__init__()
        self.knob = knob
        self._talk = talk

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield Said(classes="name")
            yield Links(Content.from_markup("[@click=do('remove') dim]✕[/]"), classes="remove")
        yield Slider(self.knob.value, self.knob.reach)
        yield Links(classes="strength")
        yield Static(classes="source")
        yield Links(classes="gates")

    def on_mount(self) -> None:
        self.show()

    def show(self) -> None:
        """Draw the knob as it is now."""
        if not self.is_mounted:
            return
        knob = self.knob
        slider = self.query_one(Slider)
        slider.reach, slider.signed = knob.reach, knob.operator == "add"
        slider.value = knob.value
        slider.set_class(not knob.on, "-off")
        slider.set_class(knob.operator == "cap", "-none")
        switch = "●" if knob.on else "○"
        self.query_one(".name", Said).update(
            Content.from_markup(
                f"[@click=do('switch')]{switch}[/] [@click=do('operator')]{knob.does}[/] "
                f"[@click=do('edit')][b]$named[/b][/]  [@click=do('layer')]{knob.place}[/]  "
                f"[@click=do('positions')]$where[/]",
                named=knob.named,
                where=knob.where,
            ),
            layout=False,
        )
        self.query_one(".strength", Links).update(self._strength(), layout=False)
        self.query_one(".source", Static).update(Content.styled(knob.about(), "dim"), layout=False)
        self.show_gates()

    def show_gates(self) -> None:
        """Draw its gates as they are now: open or closed while an answer comes, then how often they opened."""
        if not self.is_mounted:
            return
        gates, knob = self.query_one(".gates", Links), self.knob
        if gates.display != bool(knob.gates):
            gates.display = bool(knob.gates)
        if knob.gates:
            turn = self._talk.last
            going = turn is not None and turn in self._talk.answering
            states = [words.state(gate, turn, going) for gate in knob.gates]
            lines = [
                Content.from_markup("[@click=do('edit')]$gate[/]  $state", gate=gate, state=state)
                for gate, state in zip(knob.gates, states, strict=True)
            ]
            gates.update(Content("\n").join(lines), layout=len(lines) != gates.size.height)

    def _strength(self) -> Content:
        knob = self.knob
        if knob.operator == "cap":
            return Content.from_markup(
                "[@click=do('edit')][b]$bounds[/b][/]  [dim]$off[/]", bounds=knob.bounds, off="" if knob.on else "off"
            )
        alpha = None if knob.unit != "dose" else knob.alpha(self._talk.model)
        suffix = "" if alpha is None else f"  alpha {alpha:+.1f}"
        number = f"{knob.value:+.2f}" if knob.operator == "add" else f"{knob.value:.2f}"
        colour = {"usable": "$text-success", "strong": "$text-warning", "": "dim"}.get(knob.range(), "$text-error")
        expect = knob.range() if knob.on else "off"
        strength = f"[@click=do('type')]{knob.unit} [b]{number}[/b][/]{suffix}  [{colour}]{expect}[/]"
        return Content.from_markup(strength)

    @on(Slider.Changed)
    def _slid(self, event: Slider.Changed) -> None:
        event.stop()
        self.knob.value = event.value
        self._changed()

    @work
    async def action_type(self) -> None:
        """Type a strength: a dose, or `a` and an alpha; of an ablation its share. Of a cap, edit the text."""
        knob = self.knob
        if knob.operator == "cap":
            self.action_edit()
            return
        adds = knob.operator == "add"
        hint = "a dose such as 0.22, or an alpha such as a20" if adds else "a share from 0 to 1"
        now = f"{knob.value:+.2f}" if adds else f"{knob.value:g}"
        typed = await self.app.push_screen_wait(TextDialog("Dose" if adds else "Share", now, hint))
        if typed is None:
            return
        try:
            self._turn_to(typed)
        except UsageError as error:
            self.notify(str(error), severity="error")
        self._changed()

    def action_edit(self) -> None:
        self.post_message(self.Edited(self.knob))

    def action_operator(self) -> None:
        """Ablate instead of add, and so on; what the engine cannot do is passed over, and told."""
        before = self.knob.does
        try:
            self.knob.next_operator()
            while self._talk.model is not None and not self.knob.able(self._talk.model):
                self.notify(f"{self._talk.model.info.engine} cannot {self.knob.does}.")
                self.knob.next_operator()
        except UsageError as error:
            self.notify(f"{error}.")
        if self.knob.does != before:
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
        typed = [str(self.knob.typed.positions)] if self.knob.typed else []
        places = list(dict.fromkeys([*POSITIONS, *typed]))
        at = places.index(self.knob.positions) if self.knob.positions in places else -1
        self.knob.positions = places[(at + 1) % len(places)]
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
        unit = "dose" if self.knob.operator == "add" else "share"
        text = typed.strip().lower().removeprefix(unit).strip()
        is_alpha = text.startswith("a")
        try:
            value = float(text.removeprefix("alpha").removeprefix("a").strip())
        except ValueError:
            value = math.nan
        if self.knob.operator != "add" and (is_alpha or not 0 <= value <= 1):
            raise UsageError(f"{typed!r} is not a share: type a number from 0 to 1")
        if not math.isfinite(value):
            raise UsageError(f"{typed!r} is not a strength: type a dose such as 0.22, or an alpha such as a20")
        if is_alpha:
            self.knob.turn_to_alpha(value, self._talk.model)
        else:
            self.knob.value = value


def layer_line(knob: PanelKnob, layer: int) -> str:
    """A layer in a list, with its AUROC."""
    auroc = knob.vector.directions[layer].measures.get("auroc")
    measured = "" if auroc is None else f"   AUROC {auroc:.3f}"
    return f"layer {layer:>2}{measured}" + ("   best" if layer == knob.vector.best else "")
