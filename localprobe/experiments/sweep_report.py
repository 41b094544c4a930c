"""What a sweep from Python returns: its result, and the run that holds every answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from localprobe.experiments.export import lines
from localprobe.experiments.result import SweepResult
from localprobe.store.runs import Runs


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class SweepReport:
    """A sweep, whole or as far as it was done."""

    result: SweepResult
    """Every figure, as runs keep it."""
    run: str
    """Id of the run."""
    runs: Runs
    """The store that holds it."""

    def answers(self, arm: str = "all") -> list[dict[str, Any]]:
        """Every answer of an arm with all that was measured of it, as `localprobe runs export` gives them; of `vector`
        with the unsteered ones. UsageError if there are none."""
        return lines(self.runs, self.runs.get(self.run), arm)

    def __repr__(self) -> str:
        cells = self.result.cells
        models = ", ".join(dict.fromkeys(model.model for model in self.result.models))
        done = f"{cells.done} of {cells.expected} answers"
        return f"<SweepReport {self.result.name!r} on {models}: {done}, run {self.run}>"
