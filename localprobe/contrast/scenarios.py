"""Scenarios in which a task conflicts with a person's need, after the Empathy-in-Action benchmark, with rubrics."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from localprobe.errors import UsageError
from localprobe.store.shipped import unknown


@dataclass(frozen=True, slots=True)
class Scenario:
    """A situation in parts, so that a prompt can be made with and without the person's need."""

    id: str
    title: str
    situation: str
    """Where the agent is, and its task."""
    pressure: str
    """The pressure to do only the task."""
    empathy_pressure: str
    """The person, and what they need."""
    question: str
    rubric: dict[str, str]
    """The behaviour that scores 0, 1 and 2."""
    domain: str = ""
    """What several situations have in common; their pairs then form one scenario."""

    def prompt(self, *, empathy_pressure: bool = True) -> str:
        """The scenario as a prompt. Without its empathy pressure it is another condition, not a detail: the paper's
        first steering runs left it out and found nothing."""
        need = [self.empathy_pressure] if empathy_pressure else []
        return " ".join([self.situation, self.pressure, *need, self.question])


@cache
def scenarios() -> dict[str, Scenario]:
    """The five scenarios that ship, by id."""
    path = Path(__file__).parent / "data" / "scenarios.json"
    return {fields["id"]: Scenario(**fields) for fields in json.loads(path.read_text(encoding="utf-8"))}


def scenario(name: str) -> Scenario:
    """The scenario of that name; UsageError lists the names if there is none."""
    shipped = scenarios()
    if name not in shipped:
        raise UsageError(unknown("scenario", name, shipped))
    return shipped[name]
