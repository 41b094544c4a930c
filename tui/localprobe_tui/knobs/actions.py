"""Actions on the knobs, of the chat screen and of the sheet over it."""

from __future__ import annotations

import threading
from pathlib import Path

from textual import on, work
from textual.widgets import Button

from localprobe.errors import Cancelled, LocalprobeError
from localprobe.steering.parser import parse, parse_watch
from localprobe.vectors.library import Library, is_path
from localprobe_tui.knobs.card import KnobCard, layer_line
from localprobe_tui.knobs.said import SaidDialog
from localprobe_tui.knobs.sampling_sheet import SamplingSheet
from localprobe_tui.shell import ShellScreen, errors_shown
from localprobe_tui.talk import first_vector, spoken
from localprobe_tui.talk.panel_knob import PanelKnob
from localprobe_tui.widgets.dialogs import Choose, Working
from localprobe_tui.widgets.sheets import TextSheet

_STEERING = """\
0.2 empathy    ablate refusal    ablate 0.5 refusal to mean
cap empathy [-1, 2]    set empathy to 2    alpha 20 empathy
and after each, in any order:
@18  @3,9  @all    response  prompt  first 5  on "my friend"
when calm > 1.5 until 0.5    if harmful > 3    outside thinking
Several are separated by + or ;"""
_WATCH = """\
refusal > 2.5    calm@12 < 0.5    refusal > fpr 0.01
fpr 0.01 is the score that 1 of 100 neutral tokens exceeds;
a probe alone means that. It applies from the next answer on."""


class KnobActions(ShellScreen):
    """A screen that shows the knobs of the chat."""

    @on(KnobCard.Changed)
    def _knob_changed(self) -> None:
        self.talk.changed()

    @on(KnobCard.Removed)
    def _knob_removed(self, event: KnobCard.Removed) -> None:
        self.talk.knobs.remove(event.knob)
        self.talk.changed()

    @on(KnobCard.Edited)
    def _knob_edited(self, event: KnobCard.Edited) -> None:
        self._say(event.knob)

    def action_add_steering(self) -> None:
        """Type what is done to the residuals, where, and when."""
        self._say(None)

    def _say(self, knob: PanelKnob | None) -> None:
        """Type terms of the steering language, to add them or in place of a knob."""

        def accept(text: str) -> None:
            for warning in spoken.steer(self.talk, text, knob):
                self.notify(warning, severity="warning")
            self.localprobe.look_up_ranges()

        title = "Add steering" if knob is None else "Edit steering"
        text = "" if knob is None else str(knob.term)
        self.app.push_screen(SaidDialog(title, text, "0.2 empathy when calm > 1.5", _STEERING, parse, accept))

    def action_watch_for(self) -> None:
        """Type a condition, of whose tokens the user is told."""

        def accept(text: str) -> None:
            for warning in spoken.watch_for(self.talk, text):
                self.notify(warning, severity="warning")

        self.app.push_screen(SaidDialog("Watch for", "", "refusal > fpr 0.01", _WATCH, parse_watch, accept))

    def action_unwatch(self, number: int) -> None:
        """Watch for one of the conditions no longer."""
        del self.talk.alarms[number]
        self.talk.changed()

    @work
    async def action_add_vector(self) -> None:
        """Pick a vector: one that the app knows, a file of this folder, or a typed path or name."""
        vectors = self.localprobe.vectors
        options = [(f"{vector.concept}   made for {vector.origin.model}", f"#{i}") for i, vector in enumerate(vectors)]
        files = sorted(path for path in Path().iterdir() if path.suffix in (".safetensors", ".gguf"))
        options += [(str(path), str(path)) for path in files]
        choice = await self.app.push_screen_wait(
            Choose(
                "Add a vector",
                options,
                "type to find, or a file (~/empathy.gguf), or a name (empathy)",
                free=True,
            )
        )
        if choice is None:
            return
        if choice.startswith("#"):
            self.localprobe.use_vector(vectors[int(choice[1:])])
        elif is_path(choice):
            with errors_shown(self):
                self.localprobe.use_vector(Library().vector(choice))
        else:
            await self._fit(choice)

    @work
    async def action_watch(self) -> None:
        """Choose the layer that the probe reads at, of the first knob's vector."""
        reading = self.talk.reading()
        if reading is None:
            self.notify("There is no vector to score with: add one.")
            return
        knob = self.talk.knobs[0]
        options = [(f"a little above the steered layer: {knob.reading().layer}", "")]
        options += [(layer_line(knob, layer), str(layer)) for layer in sorted(knob.vector.directions)]
        choice = await self.app.push_screen_wait(Choose(f"Read {reading.concept} at", options))
        if choice is not None:
            self.talk.watched = int(choice) if choice else None
            self.talk.changed()

    def action_applies(self) -> None:
        self.talk.applies = "next answer" if self.talk.applies == "next token" else "next token"
        self.talk.changed()

    def action_split(self) -> None:
        self.talk.split = not self.talk.split
        self.talk.changed()
        self.notify("The next answer comes " + ("twice: unsteered and steered." if self.talk.split else "once."))

    @work
    async def action_sampling(self) -> None:
        choice = await self.app.push_screen_wait(SamplingSheet(self.talk.sampling))
        if choice is not None:
            self.talk.sampling = choice
            self.talk.changed()

    @work
    async def action_system(self) -> None:
        about = "The model reads this before the chat. It applies from the next answer on."
        text = await self.app.push_screen_wait(TextSheet("System prompt", self.talk.chat.system, about))
        if text is not None:
            self.talk.chat.system = text
            self.talk.flush()
            self.talk.changed()

    @on(Button.Pressed, "#fit")
    def _fit_pressed(self) -> None:
        self.action_fit()

    @work
    async def action_fit(self) -> None:
        await self._fit("empathy")

    async def _fit(self, name: str) -> None:
        """Add the vector of a name, fitting it first if it is not in the library, with a dialog that can cancel."""
        cancelled = threading.Event()
        working = Working(f"Fitting {name}", cancelled.set)
        await self.app.push_screen(working)
        try:
            vector = await first_vector.fit(self.session, working.tell, cancelled, name)
        except LocalprobeError as error:
            working.finish()
            if isinstance(error, Cancelled):
                self.notify("Fitting was cancelled. The captured residuals are kept: the next fit resumes.")
            else:
                self.localprobe.show_error(error)
            return
        working.finish()
        self.localprobe.use_vector(vector)
