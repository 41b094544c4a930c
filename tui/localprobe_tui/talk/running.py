"""The knobs of the answer that is being generated, and what it reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from localprobe.errors import LocalprobeError, UsageError
from localprobe_tui.talk.panel_knob import PanelKnob

if TYPE_CHECKING:
    from localprobe.engine import Watch
    from localprobe.model import Model
    from localprobe.steering.gates import Alarm, PromptGate, TokenGate
    from localprobe.steering.knob import Knob

R = TypeVar("R", "TokenGate | PromptGate", "Alarm")
WAITS = "The change waits for the next answer."


class Running:
    """The panel's knobs as an answer on `model` is steered by them."""

    def __init__(self, model: Model, panel: Iterable[PanelKnob], alarms: Iterable[Alarm]) -> None:
        """LocalprobeError if the model cannot be steered so."""
        self._model = model
        self._read: dict[tuple[int, bytes], Watch] = {}  # the projections that gates and alarms read
        self._knobs = {
            id(each): [replace(knob, gates=tuple(map(self._begun, knob.gates))) for knob in each.engine_knobs(model)]
            for each in panel
            if each.steers
        }
        self.alarms = tuple(map(self._begun, alarms))

    @property
    def knobs(self) -> list[Knob]:
        """All of them, in the order of the panel."""
        return [knob for knobs in self._knobs.values() for knob in knobs]

    def turn(self, panel: Iterable[PanelKnob], tell: Callable[[str], None]) -> list[Knob]:
        """The knobs as they are turned now. One that has to wait for the next answer, as its gate reads a probe that
        this one does not, stays as it was, and `tell` is called with the reason."""
        turned: dict[int, list[Knob]] = {}
        for each in panel:
            try:
                turned[id(each)] = list(map(self._joining, each.engine_knobs(self._model))) if each.steers else []
            except LocalprobeError as error:
                tell(f"{error}. {WAITS}")
                turned[id(each)] = self._knobs.get(id(each), [])
        self._knobs = turned
        return self.knobs

    def _joining(self, knob: Knob) -> Knob:
        """A knob whose gates read what the answer reads; UsageError if one reads something else. A gate on the prompt
        reads nothing of the answer."""
        from localprobe.steering.gates import TokenGate

        for gate in knob.gates:
            if isinstance(gate, TokenGate) and _key(gate.watch) not in self._read:
                raise UsageError(f"this answer does not read the probe of {gate.name!r}")
        return replace(knob, gates=tuple(map(self._shared, knob.gates)))

    def _begun(self, reader: R) -> R:
        self._read.setdefault(_key(reader.watch), reader.watch)
        return self._shared(reader)

    def _shared(self, reader: R) -> R:
        """A gate or an alarm that reads the same projection as another: the decode loop tells them by identity."""
        return replace(reader, watch=self._read.get(_key(reader.watch), reader.watch))


def _key(watch: Watch) -> tuple[int, bytes]:
    return watch.layer, watch.vector.tobytes()
