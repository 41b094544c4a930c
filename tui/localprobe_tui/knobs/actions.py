"""What can be done to the knobs, from the chat screen and from the sheet over it."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from textual import on, work
from textual.widgets import Button

from localprobe.errors import Cancelled, LocalprobeError
from localprobe_tui.knobs.card import KnobCard, layer_line
from localprobe_tui.knobs.sampling_sheet import SamplingSheet
from localprobe_tui.shell import ShellScreen
from localprobe_tui.talk import first_vector
from localprobe_tui.widgets.dialogs import Choose, Working
from localprobe_tui.widgets.sheets import TextSheet

if TYPE_CHECKING:
    from localprobe.vectors.vector import Vector


class KnobActions(ShellScreen):
    """A screen that shows the knobs of the chat."""

    @on(KnobCard.Changed)
    def _knob_changed(self) -> None:
        self.talk.changed()

    @on(KnobCard.Removed)
    def _knob_removed(self, event: KnobCard.Removed) -> None:
        self.talk.knobs.remove(event.knob)
        self.talk.changed()

    @work
    async def action_add_vector(self) -> None:
        """Pick a vector: one that the app knows, a file of this folder, or a path that is typed."""
        vectors = self.localprobe.vectors
        options = [(f"{vector.concept}   made for {vector.origin.model}", f"#{i}") for i, vector in enumerate(vectors)]
        files = sorted(path for path in Path().iterdir() if path.suffix in (".safetensors", ".gguf"))
        options += [(str(path), str(path)) for path in files]
        chosen = await self.app.push_screen_wait(
            Choose("Add a vector", options, "type to find, or the path of a file (~/empathy.safetensors)", free=True)
        )
        if chosen is None:
            return
        try:
            self.localprobe.use_vector(vectors[int(chosen[1:])] if chosen.startswith("#") else _read(chosen))
        except LocalprobeError as error:
            self.localprobe.show_error(error)

    @work
    async def action_watch(self) -> None:
        """Choose the layer that the probe reads at, of the first knob's vector."""
        read = self.talk.reading()
        if read is None:
            self.notify("There is no vector to read by: add one.")
            return
        knob = self.talk.knobs[0]
        options = [(f"a little above the steered layer: {knob.reading().layer}", "")]
        options += [(layer_line(knob, layer), str(layer)) for layer in sorted(knob.vector.directions)]
        chosen = await self.app.push_screen_wait(Choose(f"Read {read.concept} at", options))
        if chosen is not None:
            self.talk.watched = int(chosen) if chosen else None
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
        chosen = await self.app.push_screen_wait(SamplingSheet(self.talk.sampling))
        if chosen is not None:
            self.talk.sampling = chosen
            self.talk.changed()

    @work
    async def action_system(self) -> None:
        about = "The model reads this before the chat. It counts from the next answer on."
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
        """Fit empathy on the model, under a dialog that can cancel it."""
        cancelled = threading.Event()
        working = Working("Fitting empathy", cancelled.set)
        await self.app.push_screen(working)
        try:
            vector = await first_vector.fit(self.session, working.tell, cancelled)
        except LocalprobeError as error:
            working.finish()
            if isinstance(error, Cancelled):
                self.notify("Fitting was cancelled. What was captured is kept for the next time.")
            else:
                self.localprobe.show_error(error)
            return
        working.finish()
        self.localprobe.use_vector(vector)


def _read(path: str) -> Vector:
    from localprobe.vectors import files as vector_files

    return vector_files.load(Path(path).expanduser())
