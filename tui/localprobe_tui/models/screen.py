"""The Models screen: models, their engines, and whether they fit; Enter downloads and loads one."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.coordinate import Coordinate
from textual.widgets import Input

from localprobe.engines.spec import ModelSpec
from localprobe.errors import LocalprobeError
from localprobe.progress import gigabytes
from localprobe_tui.engine.work import in_thread
from localprobe_tui.frame.page import Page
from localprobe_tui.widgets.plain import DataTable, Static

if TYPE_CHECKING:
    from localprobe.models.inventory import Item, Use
    from localprobe_tui.engine.session import EngineSession

_HINT = "another model: org/name, org/name:file.gguf, a folder or a .gguf file"


class ModelList(DataTable):
    """One row per model and engine; Enter, or a click on the row of the cursor, loads it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "select_cursor", "Load", id="models.load")]


class ModelsScreen(Page):
    """The list of models, and details of the one at the cursor."""

    MODE = "models"
    DEFAULT_CSS = """
    ModelsScreen {
        & #name { margin: 0 0 1 0; background: $boost; }
        & DataTable { height: 1fr; scrollbar-size: 1 1; }
        & #about { height: auto; max-height: 5; padding: 0 1; border-top: solid $primary 60%; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "name", "Another model", id="models.name"),
        Binding("r", "look", "Look again", id="models.look"),
        Binding("escape", "list", "List", show=False, id="models.list"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._rows: list[tuple[Item, Use]] = []
        self._free = 0

    def body(self) -> ComposeResult:
        yield Input(placeholder=_HINT, id="name", compact=True)
        yield ModelList(cursor_type="row", zebra_stripes=True)
        yield Static(id="about")

    def on_mount(self) -> None:
        super().on_mount()
        table = self.query_one(DataTable)
        for name in ("", "Model", "Engine", "Memory", "Size", "On disk", "Weights"):
            table.add_column(name, key=name or "loaded")
        table.focus()
        self.action_look()

    def session_changed(self) -> None:
        self._mark()

    @work(exclusive=True, group="look")
    async def action_look(self) -> None:
        """List the models, in a thread because it takes a moment."""
        table = self.query_one(DataTable)
        table.loading = True
        try:
            listed, self._free = await in_thread(lambda: _look(self.session))
        except LocalprobeError as error:
            self.localprobe.show_error(error)
            return
        finally:
            table.loading = False
        if damaged := [item for item in listed if item.problem]:
            others = f", and {len(damaged) - 1} more" if len(damaged) > 1 else ""
            self.notify(f"Left out: {damaged[0].problem}{others}", severity="warning")
        self._rows = [(item, use) for item in listed for use in item.uses]
        table.clear()
        before = ""
        for item, use in self._rows:
            first = use is item.uses[0]
            table.add_row(
                "",
                Text(item.name if item.name not in {before, item.weights} else "", style="bold"),
                Text(use.engine, style="" if use.installed else "dim strike"),
                Text() if self.session.at else _memory(use),
                Text(gigabytes(item.bytes) if first and item.bytes else "", justify="right"),
                ("yes" if item.path else "no") if first else "",
                item.weights if first else "",
            )
            before = item.name
        self._mark()
        table.focus()
        self._describe()

    def _mark(self) -> None:
        info = self.session.model.info if self.session.model else None
        for number, (item, use) in enumerate(self._rows):
            loaded = info is not None and (item.name, use.engine) == (info.model, info.engine)
            self.query_one(DataTable).update_cell_at(Coordinate(number, 0), "▶" if loaded else " ")

    @on(DataTable.RowHighlighted)
    def _describe(self) -> None:
        row = self.query_one(DataTable).cursor_row
        if not 0 <= row < len(self._rows):
            return
        item, use = self._rows[row]
        if self.session.at:
            self.query_one("#about", Static).update(
                f"{item.name} on the server {self.session.at}. Enter chats with it."
            )
            return
        action = "Enter loads it" if item.path else f"Enter fetches {gigabytes(item.bytes)} and loads it"
        if not use.installed:
            action = "Enter says how to get it"
        lines = [
            Content.assemble((item.about or item.name, "bold")),
            Content(f"{self._judged(use)}. {action}."),
            Content(item.weights if item.path is None else f"{item.weights}, at {item.path}"),
        ]
        self.query_one("#about", Static).update(Content("\n").join(lines))

    def _judged(self, use: Use) -> str:
        """Whether an engine can run it here, in words."""
        if not use.installed:
            return f"{use.engine} is not installed"
        free = f"{gigabytes(self._free)} of memory is free"
        if use.needed is None:
            return f"{use.engine} puts it on the graphics card; {free}"
        fits = "it fits" if use.fits else "more than is free, so loading is refused"
        return f"{use.engine} takes about {gigabytes(use.needed)}: {fits} ({free})"

    @on(DataTable.RowSelected)
    def action_load(self) -> None:
        row = self.query_one(DataTable).cursor_row
        if 0 <= row < len(self._rows):
            item, use = self._rows[row]
            self.localprobe.load_model(ModelSpec(item.name, use.engine))

    @on(Input.Submitted)
    def _named(self, event: Input.Submitted) -> None:
        if name := event.value.strip():
            self.localprobe.load_model(ModelSpec(name))

    def action_name(self) -> None:
        self.query_one(Input).focus()

    def action_list(self) -> None:
        self.query_one(DataTable).focus()


def _look(session: EngineSession) -> tuple[list[Item], int]:
    from localprobe.models import fits

    return session.items(), fits.available()


def _memory(use: Use) -> Text:
    """The memory that an engine needs, marked if that is more than is free."""
    if use.needed is None:
        return Text("card", justify="right")
    text = gigabytes(use.needed)
    return Text(f"{text} " if use.fits else f"{text}!", style="" if use.fits else "red", justify="right")
