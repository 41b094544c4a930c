"""The chat screen: the answers, the knobs that steer them, and the probe's scores."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Iterable
from functools import partial
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content

from localprobe_tui.chat.actions import ChatActions
from localprobe_tui.chat.prompt import PromptBox
from localprobe_tui.chat.transcript import Transcript
from localprobe_tui.frame.page import Page
from localprobe_tui.frame.top_bar import TopBar
from localprobe_tui.knobs.actions import KnobActions
from localprobe_tui.knobs.card import KnobCard
from localprobe_tui.knobs.line import KnobLine
from localprobe_tui.knobs.panel import KnobsPanel
from localprobe_tui.knobs.sheet import KnobsSheet
from localprobe_tui.shell import errors_shown
from localprobe_tui.widgets.dialogs import Choose
from localprobe_tui.widgets.links import Links
from localprobe_tui.widgets.slider import COARSE, Slider

FRAME = 1 / 30
"""Seconds between two redraws of an answer that is being generated."""
_NUMBERS = 1.0  # seconds between two updates of numbers, which cannot be read 30 times a second
_FEW = (os.cpu_count() or 1) <= 4  # cores: the engine's threads need them all, and wait for each other
_SHARE = 30 if _FEW else 6  # a frame that took this thread t seconds is followed by a pause of at least this many t
_SLOWEST = 0.2  # seconds: still looks like flowing text


class ChatScreen(ChatActions, KnobActions, Page):
    """Transcript, prompt, and the knobs: a panel, or on a small terminal a line and a sheet."""

    MODE = "chat"
    CSS = """
    ChatScreen {
        & #talk { width: 1fr; }
        & #say { height: auto; border-top: solid $foreground 20%; }
        & #say:focus-within { border-top: solid $accent; }
        & #mark { width: 3; padding: 0 1; color: $accent; text-style: bold; }
        & KnobLine { display: none; }
        &.-narrow KnobLine { display: block; }
        &.-narrow #body > KnobsPanel { display: none; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s,escape", "stop", "Stop", id="chat.stop", key_display="^s"),
        Binding("ctrl+r", "regenerate", "Again", id="chat.regenerate"),
        Binding("ctrl+t", "go_on", "Continue", id="chat.continue"),
        Binding("ctrl+b", "split", "Split", id="chat.split"),
        Binding("left_square_bracket", f"dose({-COARSE})", "Dose -", id="chat.less", key_display="["),
        Binding("right_square_bracket", f"dose({COARSE})", "Dose +", id="chat.more", key_display="]"),
        Binding("ctrl+k", "knobs", "Knobs", id="chat.knobs", priority=True),
        Binding("ctrl+o", "chats", "Chats", id="chat.chats"),
        Binding("ctrl+n", "new", "New chat", id="chat.new", show=False),
        Binding("ctrl+g", "scenario", "Scenario", id="chat.scenario", show=False),
        Binding("alt+left", "variant(-1)", "Earlier answer", id="chat.earlier", show=False),
        Binding("alt+right", "variant(1)", "Later answer", id="chat.later", show=False),
        Binding("ctrl+e", "add_steering", "Add steering", id="chat.steer", show=False, priority=True),
        Binding("ctrl+l", "watch_for", "Watch for a probe", id="chat.watch_for", show=False, priority=True),
        Binding("f5", "type_dose", "Type a dose", id="chat.type_dose", show=False, priority=True),
        Binding("f6", "sampling", "Sampling", id="chat.sampling", show=False, priority=True),
        Binding("f7", "system", "System prompt", id="chat.system", show=False, priority=True),
        Binding("f8", "tint", "Scores in the text", id="chat.tint", show=False, priority=True),
        Binding("f9", "watch", "Probe's layer", id="chat.watch", show=False, priority=True),
        Binding("ctrl+y", "copy", "Copy the answer", id="chat.copy", show=False, priority=True),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._due = False  # whether a redraw is scheduled
        self._pause = FRAME
        self._spent = 0.0  # this thread's time at the last painting
        self._numbers = 0.0  # when the numbers were shown
        self._told = ""  # the error that the user was notified of

    def body(self) -> ComposeResult:
        with Horizontal(id="body"):
            with Vertical(id="talk"):
                yield Transcript(self.talk)
                yield KnobLine(self.talk)
                with Horizontal(id="say"):
                    yield Links(Content.from_markup("[@click=do('send')]>[/]"), id="mark")
                    yield PromptBox()
            yield KnobsPanel(self.talk)

    def on_mount(self) -> None:
        self.talk.listen(self._changed)
        self.query_one(PromptBox).focus()

    def session_changed(self) -> None:
        self._changed()

    def on_screen_resume(self) -> None:
        self._changed()

    def _changed(self) -> None:
        if not self._due and self.is_mounted:
            self._due = True
            self.set_timer(self._pause, self._paint)

    async def _paint(self) -> None:
        """Redraw what is new, at most 30 times per second, and less often if a frame takes long."""
        self._due = False
        if self not in self.app.screen_stack:  # another screen is shown: this one is redrawn when it returns
            return
        talk = self.talk
        await self.query_one(Transcript).show()
        if not talk.answering or time.monotonic() - self._numbers >= _NUMBERS:
            self._numbers = time.monotonic()
            await self._show_numbers()
        if talk.writer.trouble is not None and str(talk.writer.trouble) != self._told:
            self._told = str(talk.writer.trouble)
            self.notify(f"{talk.writer.trouble}. Trying again.", severity="error")
        for line in talk.notices.take():
            self.notify(line, severity="warning")
        self._pace()

    async def _show_numbers(self) -> None:
        """Update the numbers around the transcript. Textual redraws everything between two changes."""
        panel = self.query_one("#body > KnobsPanel", KnobsPanel)
        if self.talk.answering:
            panel.show_live()
        else:
            await panel.show()
        self.query_one(KnobLine).show()
        self.query_one(TopBar).details = self._details()

    def _pace(self) -> None:
        """Leave the cores to the engine: the pause before the next frame depends on what this thread needed for the
        last, including Textual's drawing."""
        spent = time.thread_time()
        self._pause = min(_SLOWEST, max(FRAME, _SHARE * (spent - self._spent)))
        self._spent = spent

    def _details(self) -> str:
        talk = self.talk
        parts = []
        if talk.rate:
            parts.append(f"{talk.rate:.1f} tok/s")
        if talk.first_token and not self.has_class("-narrow"):
            parts.append(f"first {talk.first_token:.1f} s")
        if talk.model is not None and talk.used:
            parts.append(f"{talk.used}/{talk.model.info.context}")
        return " · ".join(parts)

    def action_send(self) -> None:
        """Send by mouse: a click on the mark before the prompt."""
        self.query_one(PromptBox).action_send()

    @on(PromptBox.Sent)
    def _sent(self, event: PromptBox.Sent) -> None:
        if self._locked():
            self.query_one(PromptBox).put_back(event)
        else:
            self._run(self.talk.edit(event.text) if event.editing else self.talk.send(event.text))

    def action_regenerate(self) -> None:
        if not self._locked():
            self._run(self.talk.regenerate())

    def action_go_on(self) -> None:
        if not self._locked():
            self._run(self.talk.go_on())

    @work(group="answer")
    async def _run(self, answer: Awaitable[None]) -> None:
        with errors_shown(self):
            await answer

    def action_stop(self) -> None:
        self.talk.stop()

    def action_dose(self, step: float) -> None:
        """Turn the knob that has the focus, or the first."""
        if not self.talk.knobs:
            self.notify("There is no vector to turn: add one.")
            return
        focused = [card.knob for card in self.query(KnobCard) if card.has_focus_within]
        knob = [*focused, *self.talk.knobs][0]
        if knob.operator == "cap":
            self.notify(f"{knob.does!r} has bounds instead of a strength: edit its text.")
        knob.turn(step)
        self.talk.changed()

    def _locked(self) -> bool:
        """Whether no message can be sent now; notifies the user why."""
        session = self.session
        if session.busy:
            self.notify(f"The model is busy {session.busy}.", severity="warning")
        elif session.state == "loading":
            self.notify("The model is still loading.", severity="warning")
        elif session.model is None:
            self.localprobe.offer_model()
        return bool(session.busy) or session.model is None

    @on(PromptBox.Changed)
    def _typed(self) -> None:
        """Update the keys that work only while the prompt is empty."""
        self.refresh_bindings()

    def action_knobs(self) -> None:
        """The knobs: the focus goes to the panel, or to the sheet of a small terminal."""
        panel = self.query_one("#body > KnobsPanel", KnobsPanel)
        if not panel.display:
            self.app.push_screen(KnobsSheet())
        elif panel.has_focus_within:
            self.query_one(PromptBox).focus()
        elif fields := [field for field in panel.query("Slider, Said") if field.focusable]:
            next((field for field in fields if isinstance(field, Slider)), fields[0]).focus()

    def action_type_dose(self) -> None:
        if cards := self.query(KnobCard):
            cards.first().action_type()

    def action_tint(self) -> None:
        transcript = self.query_one(Transcript)
        transcript.tinted = not transcript.tinted
        self._changed()

    @on(PromptBox.Edit)
    def action_edit(self) -> None:
        """Edit the last message: its text goes into the prompt, and sending replaces it."""
        messages = [turn for turn in self.talk.chat.path() if turn.role == "user"]
        if messages and not self.answering():
            prompt = self.query_one(PromptBox)
            prompt.editing = True
            prompt.text = messages[-1].content
            prompt.move_cursor(prompt.document.end)

    @work
    async def action_scenario(self) -> None:
        """Put a scenario of the paper into the prompt."""
        from localprobe.contrast.scenarios import scenarios

        available = scenarios()
        choice = await self.app.push_screen_wait(
            Choose("Scenario", [(item.title, item.id) for item in available.values()])
        )
        if choice is not None:
            prompt = self.query_one(PromptBox)
            prompt.text = available[choice].prompt()
            prompt.focus()

    def commands(self) -> Iterable[SystemCommand]:
        """The commands of the palette."""
        for title, about, action in (
            ("Answer again", "Regenerate the last answer; the old one stays beside it", self.action_regenerate),
            ("Continue", "Generate more of the last answer", self.action_go_on),
            ("Edit the last message", "Say it in other words", self.action_edit),
            ("Split view", "Answer twice: unsteered and steered, in one batch", self.action_split),
            ("New chat", "Begin anew", self.action_new),
            ("Chats", "Find and open an earlier chat", self.action_chats),
            ("Branch", "Continue in a new chat that begins as this one", self.action_branch),
            ("Scenario", "Put a scenario of the paper into the prompt", self.action_scenario),
            ("Add a vector", "Steer with one more direction", self.action_add_vector),
            ("Add steering", "Add, ablate or cap, in the steering language (^e)", self.action_add_steering),
            ("Watch for a probe", "Be told of the tokens at which it fires (^l)", self.action_watch_for),
            ("Fit empathy", "Fit the bundled contrast set on this model", self.action_fit),
            ("Probe's layer", "Where the first knob's vector is read", self.action_watch),
            ("When turning a knob applies", "To the next token, or to the next answer", self.action_applies),
            ("Sampling", "Temperature, cuts, seed, presets", self.action_sampling),
            ("System prompt", "What the model reads before the chat", self.action_system),
            ("Scores in the text", "Colour tokens by the live score, or not", self.action_tint),
            ("Copy the answer", "To the clipboard", self.action_copy),
            ("Export as Markdown", "To read", partial(self.action_export, "md")),
            ("Export as JSONL", "With every token's score and every dose", partial(self.action_export, "jsonl")),
        ):
            yield SystemCommand(title, about, action)
