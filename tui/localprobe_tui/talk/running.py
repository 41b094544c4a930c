"""The knobs of the answer that is being generated, and the probes that it reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from localprobe.errors import LocalprobeError, UsageError
from localprobe_tui.talk.panel_knob import PanelKnob

if TYPE_CHECKING:
    from localprobe.model import Model
    from localprobe.steering.gates import Alarm, PromptGate, TokenGate
    from localprobe.steering.knob import Knob

WAITS = "The change waits for the next answer."


class Running:
    """The panel's knobs as an answer on `model` is steered by them."""

    def __init__(self, model: Model, panel: Iterable[PanelKnob], alarms: Iterable[Alarm]) -> None:
        """LocalprobeError if the model cannot be steered so."""
        self.alarms = tuple(alarms)
        self._model = model
        self._knobs = {id(each): each.engine_knobs(model) for each in panel if each.steers}
        gates = [gate for knob in self.knobs for gate in knob.gates if _by_token(gate)]
        self._read = {reader.watch.content for reader in (*gates, *self.alarms)}

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
                turned[id(each)] = self._joining(each) if each.steers else []
            except LocalprobeError as error:
                tell(f"{error}. {WAITS}")
                turned[id(each)] = self._knobs.get(id(each), [])
        self._knobs = turned
        return self.knobs

    def _joining(self, panel_knob: PanelKnob) -> list[Knob]:
        """The knobs of one that was turned; UsageError if a gate reads what the answer does not."""
        knobs = panel_knob.engine_knobs(self._model)
        for gate in (gate for knob in knobs for gate in knob.gates):
            if _by_token(gate) and gate.watch.content not in self._read:
                raise UsageError(f"this answer does not read the probe of {gate.name!r}")
        return knobs


def _by_token(gate: TokenGate | PromptGate) -> bool:
    """Whether a gate reads the answer; one on the prompt does not."""
    from localprobe.steering.gates import TokenGate

    return isinstance(gate, TokenGate)
