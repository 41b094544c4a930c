"""What a chat watches for: conditions on probes that tell of the tokens where they hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localprobe.steering.parser import parse_watch
from localprobe_tui.talk.panel_knob import Find

if TYPE_CHECKING:
    from localprobe.model import Model
    from localprobe.steering.gates import Alarm
    from localprobe.vectors.vector import Vector


@dataclass(frozen=True, slots=True, eq=False)
class PanelAlarm:
    """A condition of the panel."""

    text: str
    """In the steering language, as alerts name it: `refusal > fpr 0.01`."""
    vectors: Mapping[str, Vector]
    """Its probe, by the name in the text."""

    @classmethod
    def said(cls, text: str, model: Model, find: Find) -> PanelAlarm:
        """The alarm of a condition, or of a probe alone. LocalprobeError in one line if the model has no such probe."""
        condition = parse_watch(text)
        alarm = cls(str(condition), {condition.probe: find(condition.probe)})
        alarm.alarm(model)
        return alarm

    def alarm(self, model: Model) -> Alarm:
        """What the decode loop gets."""
        return model.alarm(self.text, find=self.vectors.__getitem__)
