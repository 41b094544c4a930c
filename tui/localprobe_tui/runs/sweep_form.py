"""The form of a sweep, which writes an experiment file that the command line can run too."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Button, Checkbox, Input, Select

from localprobe.contrast.pairs import PAIR_SETS
from localprobe.errors import LocalprobeError, UsageError
from localprobe.text_metrics.word_lists import WORD_LISTS
from localprobe_tui.widgets.links import closes
from localprobe_tui.widgets.plain import Label, Static, choices, plain

if TYPE_CHECKING:
    from localprobe.experiments.experiment import Experiment
    from localprobe.model import Model
    from localprobe.vectors.vector import Vector

_WORDS = "empathy"  # counted if a concept has no list of its own
_FILE = "an experiment file"


class Tick(Checkbox):
    """A checkbox that is readable without colour: empty unless ticked."""

    def __init__(self, label: str, value: bool, **about: Any) -> None:
        super().__init__(plain(label), value, **about)
        self.BUTTON_INNER = "X" if value else " "

    def watch_value(self) -> None:
        self.BUTTON_INNER = "X" if self.value else " "
        super().watch_value()


class SweepForm(ModalScreen["Experiment | None"]):
    """What to sweep: a vector, strengths, prompts and how many answers; or an experiment file."""

    DEFAULT_CSS = """
    SweepForm {
        align: center middle;
        & > VerticalScroll {
            width: 76; max-width: 96%; height: auto; max-height: 96%; padding: 1 2; background: $surface;
            border: round $primary; border-title-color: $foreground;
        }
        & .row { height: 1; }
        & .row > Label { width: 14; }
        & .row > Input, & .row > Select { width: 1fr; }
        & #prompts { height: auto; padding: 0 0 0 12; margin: 0 0 1 0; }
        & #wrong { color: $error; height: auto; }
        & #buttons { height: 1; }
        & Button { margin: 0 2 0 0; }
        &.-file .own { display: none; }
        & #file { display: none; }
        &.-file #file { display: block; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Close", id="dialog.close"),
        Binding("ctrl+s", "start", "Start", id="sweep.start"),
    ]

    def __init__(self, model: Model, vectors: list[Vector], before: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self._model, self._vectors = model, vectors
        self._before = before or {}

    @property
    def filled(self) -> dict[str, Any]:
        """The values of the fields by id, for the next form, which can resume a stopped sweep."""
        fields = [*self.query(Input), *self.query(Select), *self.query(Tick)]
        return {str(each.id): each.value for each in fields}

    def on_mount(self) -> None:
        for each in (*self.query(Input), *self.query(Tick)):
            if each.id in self._before:
                each.value = self._before[each.id]

    def compose(self) -> ComposeResult:
        from localprobe.contrast.scenarios import scenarios

        mine = [(f"{each.concept}, layer {each.best}", str(i)) for i, each in enumerate(self._vectors)]
        vectors = [*mine, *((f"fit {name} again", f"fit:{name}") for name in PAIR_SETS.names()), (_FILE, _FILE)]
        with VerticalScroll(can_focus=False) as box:
            box.border_title = plain(f"Sweep on {self._model.info.model}")
            box.border_subtitle = closes("leave")
            with Horizontal(classes="row"):
                yield Label("vector")
                yield Select(choices(vectors), id="vector", allow_blank=False, compact=True, value=self._first(vectors))
            with Horizontal(classes="row", id="file"):
                yield Label("file")
                yield Input(placeholder="a .toml file, or one that ships: laptop", id="path", compact=True)
            words = [(name, name) for name in WORD_LISTS.names()]
            for label, own in (
                ("words counted", Select(choices(words), value=_WORDS, id="words", allow_blank=False, compact=True)),
                ("doses", Input("-0.3 -0.15 0 0.15 0.3", id="doses", compact=True)),
                ("layer", Input("best", id="layers", compact=True)),
                ("answers each", Input("3", type="integer", id="samples", compact=True)),
                ("tokens", Input("80", type="integer", id="tokens", compact=True)),
            ):
                with Horizontal(classes="row own"):
                    yield Label(label)
                    yield own
            with Horizontal(classes="row own"):
                yield Label("prompts")
            with Vertical(id="prompts", classes="own"):
                for i, (name, each) in enumerate(scenarios().items()):
                    yield Tick(each.title, i < 3, name=name, id=f"prompt-{name}", compact=True)
            yield Static(id="wrong", markup=False)
            with Horizontal(id="buttons"):
                yield Button("Start", variant="primary", id="start", compact=True)
                yield Button("Close", id="close", compact=True)

    def _first(self, choices: list[tuple[str, str]]) -> str:
        keys = [key for _, key in choices]
        before = self._before.get("vector")
        return before if before in keys else next((key for key in keys if key in ("0", "fit:empathy")), keys[0])

    @on(Select.Changed, "#vector")
    def _vector_chosen(self, event: Select.Changed) -> None:
        self.set_class(event.value == _FILE, "-file")
        concept = self._concept(str(event.value))
        self.query_one("#words", Select).value = concept if concept in WORD_LISTS.names() else _WORDS

    @on(Button.Pressed, "#close")
    def action_leave(self) -> None:
        self.dismiss(None)

    @on(Button.Pressed, "#start")
    @on(Input.Submitted)
    def action_start(self) -> None:
        try:
            self.dismiss(self._experiment())
        except LocalprobeError as error:
            self.query_one("#wrong", Static).update(str(error))

    def _experiment(self) -> Experiment:
        from localprobe.experiments.experiment_file import EXPERIMENTS, read_experiment

        if self.has_class("-file"):
            if not (name := self._text("path")):
                raise UsageError("no experiment: type the path of a .toml file")
            return fitting(read_experiment(EXPERIMENTS.resolve(name)), self._model)
        return read_experiment(self._written())

    def _written(self) -> Path:
        """Write the form as an experiment file, where the command line finds it too."""
        from localprobe.store.files import write_whole
        from localprobe.store.names import file_name
        from localprobe.store.paths import data

        info, key = self._model.info, str(self.query_one("#vector", Select).value)
        concept = self._concept(key)
        vector = f"fit = {json.dumps(concept)}" if key.startswith("fit:") else f"file = {json.dumps(self._saved(key))}"
        layers = [each if each.lstrip("-").isdigit() else json.dumps(each) for each in _words(self._text("layers"))]
        name = file_name(f"{concept}-{Path(info.model).name}")
        lines = [
            f"name = {json.dumps(name)}",
            f"concept = {json.dumps(str(self.query_one('#words', Select).value))}",
            f"doses = [{', '.join(map(str, self._doses()))}]",
            f"layers = [{', '.join(layers)}]",
            f"scenarios = {json.dumps([each.name for each in self.query(Tick) if each.value])}",
            f"samples = {self._whole('samples', 'answers each')}",
            f"tokens = {self._whole('tokens', 'tokens')}",
            "[[models]]",
            f"name = {json.dumps(info.model)}",
            f"engine = {json.dumps(info.engine)}",
            "[[vectors]]",
            vector,
        ]
        path = data() / "experiments" / f"{name}.toml"
        write_whole(path, ("\n".join(lines) + "\n").encode())
        return path

    def _doses(self) -> list[float]:
        doses = []
        for word in _words(self._text("doses")):
            try:
                doses.append(float(word))
            except ValueError:
                raise UsageError(f"doses: {word!r} is not a number; give some such as -0.3 0 0.3") from None
        return doses

    def _whole(self, name: str, label: str) -> int:
        text = self._text(name)
        if not text.isdigit() or not int(text):
            raise UsageError(f"{label}: {text!r} is not a whole number from 1")
        return int(text)

    def _concept(self, key: str) -> str:
        return self._vectors[int(key)].concept if key.isdigit() else key.removeprefix("fit:")

    def _saved(self, key: str) -> str:
        from localprobe.store.names import file_name
        from localprobe.store.paths import data
        from localprobe.vectors import files as vector_files

        vector = self._vectors[int(key)]
        name = file_name(f"{vector.concept}-{Path(vector.origin.model).name}-{vector.best}")
        path = data() / "vectors" / f"{name}.safetensors"
        vector_files.save(vector, path)
        return str(path)

    def _text(self, name: str) -> str:
        return self.query_one(f"#{name}", Input).value.strip()


def fitting(experiment: Experiment, model: Model) -> Experiment:
    """The experiment, if the loaded model is its only one. Raises UsageError if it names others."""
    from localprobe.engine import LoadOptions

    info = model.info
    for choice in experiment.models:
        own = choice.name == info.model and choice.engine in (None, info.engine) and choice.options == LoadOptions()
        if not own:
            raise UsageError(
                f"{experiment.name} is for {choice}, and {info.model} on {info.engine} is loaded: load that one, or "
                "run it with `localprobe sweep`, which loads each model in turn"
            )
    return experiment


def _words(text: str) -> list[str]:
    return text.replace(",", " ").split()
