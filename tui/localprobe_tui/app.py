"""The app: its screens, its one engine, and what they share."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from textual import work
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.driver import Driver
from textual.filter import LineFilter
from textual.screen import Screen
from textual.signal import Signal
from textual.theme import Theme

from localprobe.chats.store import Chats
from localprobe.engines.spec import ModelSpec
from localprobe.errors import Cancelled, EngineCrashed, LocalprobeError
from localprobe.terminal_text import visible
from localprobe.vectors.library import Library, is_path
from localprobe_tui import screens
from localprobe_tui.engine.session import EngineSession
from localprobe_tui.engine.work import on_the_loop
from localprobe_tui.settings import config
from localprobe_tui.settings.keys_sheet import KeysSheet
from localprobe_tui.settings.themes import COLOURLESS, THEMES
from localprobe_tui.talk import first_vector, spoken, usable
from localprobe_tui.talk.controller import ChatController
from localprobe_tui.talk.opening import Opening
from localprobe_tui.terminal import on_hangup, on_warning, outliving
from localprobe_tui.widgets.dialogs import Choose, Notice
from localprobe_tui.widgets.plain import VISIBLE

if TYPE_CHECKING:
    from localprobe.model import Model
    from localprobe.vectors.vector import Vector
    from localprobe_tui.shell import Shell

_SWITCH = 0.0005  # seconds that a thread keeps the interpreter while another wants it
_WATCH = 0.5  # seconds between looks at the child


class LocalprobeApp(App[None]):
    """localprobe in the terminal.

    `load` is the model to load at the start, None for none; `opening` are the settings of the first chat. `session`
    is for tests. VectorError if the file of the opening's vector cannot be read.
    """

    TITLE = "localprobe"
    # The focused field must be visible without colour too.
    CSS = "Select.-textual-compact:focus > SelectCurrent > #label { text-style: reverse; }"
    MODES: ClassVar[dict[str, str | Callable[[], Screen[Any]]]] = screens.MODES
    DEFAULT_MODE = "chat"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f1", "show('chat')", "Chat", show=False, priority=True, id="app.chat"),
        Binding("f2", "show('probing')", "Probing", show=False, priority=True, id="app.probing"),
        Binding("f3", "show('runs')", "Runs", show=False, priority=True, id="app.runs"),
        Binding("f4", "show('models')", "Models", show=False, priority=True, id="app.models"),
        Binding("ctrl+x", "cancel_load", "Cancel loading", show=False, priority=True, id="app.cancel_load"),
        Binding("question_mark", "keys", "Keys", id="app.keys", key_display="?"),
    ]

    def __init__(
        self,
        load: ModelSpec | None = None,
        *,
        session: EngineSession | None = None,
        opening: Opening | None = None,
    ) -> None:
        super().__init__()
        self.session = session or EngineSession()
        self._state = self.session.state
        self._unkept: LocalprobeError | None = None
        self.session_changed: Signal[None] = Signal(self, "session")
        self._first = load
        self.talk = ChatController(self.session, self._open_chats())
        self.vectors = self.talk.vectors
        """Directions that the chat can steer with."""
        self._opening = opening or Opening()
        self._given: Vector | None = None  # its vector, until a model is loaded
        self.talk.chat.system = self._opening.system
        self.talk.sampling = self._opening.sampling(self.talk.sampling)
        self._stop_listening: Callable[[], None] = lambda: None
        self._named: str | None = None  # or its name, which may have to be fitted
        if (vector := self._opening.vector) is not None and is_path(vector):
            self._given = Library().vector(vector)
            self.vectors.append(self._given)
        else:
            self._named = vector

    def on_mount(self) -> None:
        # Python's default of 5 ms is the time of a token: the engine's thread would wait that long for each frame.
        sys.setswitchinterval(_SWITCH)
        self._stop_listening = on_warning(on_the_loop(partial(self.notify, severity="warning")))
        self.session.subscribe(self._session_changed)
        on_hangup(self.exit)
        self._configure()
        if self._unkept is not None:
            self.show_error(LocalprobeError(f"{self._unkept}. This session's chats will not be saved."))
        self.set_interval(_WATCH, self.session.check)
        if self._first is not None:
            self.call_after_refresh(self.load_model, self._first)

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Textual's filters, but NO_COLOR removes greys too; and no control character reaches the terminal."""
        return [*([COLOURLESS] if self.no_color else super().get_line_filters()), VISIBLE]

    def notify(self, message: str, *, markup: bool = False, **about: Any) -> None:
        """Textual's notification, of which nothing is markup: it may name a file or a vector."""
        super().notify(visible(message), markup=False, **about)

    def get_driver_class(self) -> type[Driver]:
        """Textual's driver, made safe for a terminal that closes."""
        return outliving(super().get_driver_class())

    def on_unmount(self) -> None:
        self._stop_listening()
        self.leave()

    def leave(self) -> None:
        """Save the chat and end the engine. Called on every exit; calling it twice is allowed."""
        self.talk.flush()
        self.session.close()

    @work(exclusive=True, group="load")
    async def load_model(self, spec: ModelSpec) -> None:
        """Load a model, replacing one that is being loaded; every screen shows the progress and can cancel it. An error
        is shown in a dialog."""
        try:
            model = await self.session.load(spec)
            kept = await asyncio.to_thread(first_vector.kept, model)
        except Cancelled:
            self.notify(f"Loading {spec.name or self.session.at} was cancelled.")
            return
        except LocalprobeError as error:
            self.show_error(error)
            return
        for note in model.info.notes:
            self.notify(note)
        gc.freeze()  # garbage collection of all that is imported would halt the screen for 40 ms
        await self._take_vectors(model, kept)

    def use_vector(self, vector: Vector) -> None:
        """Add a direction to the chat, as a probe and as a knob, and show the chat."""
        try:
            warnings = self.talk.add(vector)
        except LocalprobeError as error:
            self.show_error(error)
            return
        for warning in warnings:
            self.notify(warning, severity="warning")
        if vector not in self.vectors:
            self.vectors.append(vector)
        self.switch_mode("chat")
        self.look_up_ranges()

    def offer_model(self) -> None:
        """Show why there is no model, and offer to load one."""
        dead = self.session.state == "dead"
        message = self.session.message if dead else "No model is loaded."
        buttons = ("Load it again", "Other models") if dead or self.session.last_spec else ("Other models",)

        def answer(label: str | None) -> None:
            if label == "Load it again" and self.session.last_spec:
                self.load_model(self.session.last_spec)
            elif label:
                self.switch_mode("models")

        self.push_screen(Notice("No model", message, buttons, error=dead), answer)

    def show_error(self, error: LocalprobeError) -> None:
        """Show an error in a dialog, in the CLI's words."""
        if isinstance(error, EngineCrashed) and self.session.state == "dead":
            return  # a dialog has already reported it
        self.push_screen(Notice("That did not work", str(error), error=True))

    def _configure(self) -> None:
        """Use the user's keys and theme; for a faulty file, show the error and keep the defaults."""
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = THEMES[0].name
        try:
            settings = config.read(lambda: screens.binding_ids(type(self)), frozenset(self.available_themes))
        except LocalprobeError as error:
            self.show_error(error)
            return
        self.theme = settings.theme or self.theme
        self.set_keymap(settings.keys)
        self._kept_theme = self.theme
        self.theme_changed_signal.subscribe(self, self._keep_theme)

    def _keep_theme(self, theme: Theme) -> None:
        if theme.name == self._kept_theme:
            return
        self._kept_theme = theme.name
        try:
            config.keep_theme(theme.name)
        except LocalprobeError as error:
            self.show_error(error)

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """The commands of the palette: the screen's own first, then the app's."""
        own: Callable[[], Iterable[SystemCommand]] | None = getattr(screen, "commands", None)
        yield from own() if own else ()
        yield SystemCommand("Load a model", "Choose a model and an engine", self.action_pick_model)
        yield SystemCommand("Load the model again", "In a new process", self._load_again)
        for mode, key in (("Chat", "F1"), ("Probing", "F2"), ("Runs", "F3"), ("Models", "F4")):
            yield SystemCommand(mode, f"Go to the screen ({key})", partial(self.action_show, mode.lower()))
        yield SystemCommand("Keys", "What the keys do (?)", self.action_keys)
        for command in super().get_system_commands(screen):
            if command.title != "Keys":
                yield command

    def _load_again(self) -> None:
        if self.session.last_spec:
            self.load_model(self.session.last_spec)

    @work
    async def action_pick_model(self) -> None:
        """Choose a model by name, then the engine to run it on."""
        from localprobe import discovery
        from localprobe.models.catalogue import CATALOGUE

        names = [(f"{entry.name}   {entry.about}", entry.name) for entry in CATALOGUE.values()]
        hint = "type to find, or a hub id, a folder or a GGUF file"
        name = await self.push_screen_wait(Choose("Model", names, hint, free=True))
        if name is None:
            return
        engines = [(engine, engine) for engine in discovery.names() if discovery.installed(engine)]
        engine = await self.push_screen_wait(Choose("Engine", [("the best for this machine", ""), *engines]))
        if engine is not None:
            self.load_model(ModelSpec(name, engine or None))

    async def _take_vectors(self, model: Model, kept: list[Vector]) -> None:
        """Offer the vectors that are kept for a model just loaded, and put the newest on the panel if nothing on it
        fits."""
        info = model.info
        present = [(vector.concept, vector.origin) for vector in self.vectors]
        self.vectors += [vector for vector in kept if (vector.concept, vector.origin) not in present]
        self._tell_all(spoken.look_up_again(self.talk, model))
        for knob in [knob for knob in self.talk.knobs if not first_vector.fits(knob.vector, info)]:
            self.talk.knobs.remove(knob)
            self.notify(f"The vector {knob.vector.concept!r} does not fit {info.model}: it was removed from the panel.")
        for notice in [notice for knob in self.talk.knobs for notice in knob.fit_to(info)]:
            self.notify(notice, severity="warning")
        try:
            if self._named is not None:
                self._given = await self.session.call(first_vector.named, model, self._named)
            if self._given is not None:
                for notice in self._opening.put(self._given, self.talk, model):
                    self.notify(notice, severity="warning")
        except LocalprobeError as error:
            self.show_error(error)
        self._given = self._named = None
        await self._say_opening(model)
        if not self.talk.knobs and (fitting := [vector for vector in kept if first_vector.fits(vector, info)]):
            self.talk.add(fitting[0])
        self.look_up_ranges()

    async def _say_opening(self, model: Model) -> None:
        """Put what the command line says in the steering language on the panel, once."""
        opening, self._opening = self._opening, Opening()
        try:
            for text in opening.steering:
                await spoken.fit_missing(self.talk, model, spoken.names_in(text))
                self._tell_all(spoken.steer(self.talk, text))
            for text in opening.conditions:
                await spoken.fit_missing(self.talk, model, spoken.probes_in(text))
                self._tell_all(spoken.watch_for(self.talk, text))
        except LocalprobeError as error:
            self.show_error(error)

    def _tell_all(self, notices: Iterable[str]) -> None:
        for notice in notices:
            self.notify(notice, severity="warning")

    @work(exclusive=True, group="ranges")
    async def look_up_ranges(self) -> None:
        await usable.look_up(self.talk)

    def _open_chats(self) -> Chats | None:
        """The user's chats; None if they cannot be opened, of which the user is notified."""
        try:
            return Chats()
        except LocalprobeError as error:
            self._unkept = error
            return None

    def _session_changed(self) -> None:
        """Notify the screens, and the user if the engine died."""
        self.session_changed.publish(None)
        if self.session.state == "dead" and self._state != "dead":
            self.offer_model()
        self._state = self.session.state

    def action_show(self, mode: str) -> None:
        if not self.screen.is_modal:
            self.switch_mode(mode)

    def action_cancel_load(self) -> None:
        self.session.cancel_load()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Ctrl+x cuts text while nothing is being loaded."""
        return self.session.state == "loading" if action == "cancel_load" else True

    def action_keys(self) -> None:
        self.push_screen(KeysSheet(self.screen.active_bindings.values()))


if TYPE_CHECKING:
    _: type[Shell] = LocalprobeApp  # checks the protocol that the screens rely on


def run(load: ModelSpec, *, url: str = "", **opening: Any) -> None:
    """Run the app until it is closed; no process of it remains. `url` is the server that runs the model, if it is not
    this machine; `opening` are the fields of `Opening`."""
    app = LocalprobeApp(load, session=_session(url), opening=Opening(**opening))
    try:
        app.run()
    finally:
        app.leave()
    if app.talk.writer.trouble is not None:
        raise app.talk.writer.trouble
    if app.return_code:
        raise SystemExit(app.return_code)


def _session(url: str) -> EngineSession:
    if not url:
        return EngineSession()
    from localprobe_tui.engine.served import ServerSession  # HTTP is only imported where it is spoken

    return ServerSession(url)
