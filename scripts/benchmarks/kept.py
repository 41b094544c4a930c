"""Runs that the page is drawn from: a JSON file for each machine or build in docs/benchmarks."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import machine

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "benchmarks"


@dataclass(frozen=True)
class Section:
    """One section as it was measured last."""

    date: str
    command: str
    versions: str
    rows: list[dict[str, Any]]
    absent: list[str] = field(default_factory=list)
    """Libraries that were missing, so that rows are."""


@dataclass(frozen=True)
class Run:
    """What was measured on one machine, or with one build of the engines on it."""

    name: str
    machine: str
    sections: dict[str, Section]


def keep(
    name: str, rows: Sequence[dict[str, Any]], absent: dict[str, list[str]], command: str, folder: Path = FOLDER
) -> Run:
    """Write rows into the file of a machine or build, in place of what it held of their sections.

    `absent` names the missing libraries by section, and has a key for every section that was measured.
    """
    path = folder / f"{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}.json"
    before = _read(path).sections if path.is_file() else {}
    date, versions = f"{datetime.now(UTC):%Y-%m-%d}", machine.versions()
    new = {
        section: Section(date, command, versions, [row for row in rows if row["section"] == section], missing)
        for section, missing in absent.items()
    }
    run = Run(name, machine.describe(), {**before, **new})
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(run), indent=1) + "\n", encoding="utf-8")
    return run


def runs(folder: Path = FOLDER) -> list[Run]:
    """All runs, by the names of their files."""
    return [_read(path) for path in sorted(folder.glob("*.json"))]


def _read(path: Path) -> Run:
    stored = json.loads(path.read_text(encoding="utf-8"))
    sections = {name: Section(**section) for name, section in stored["sections"].items()}
    return Run(stored["name"], stored["machine"], sections)
