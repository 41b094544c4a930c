"""The rows of the table, kept in docs/architectures/ENGINE.json with the versions that they were checked with."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "docs" / "architectures"
LIBRARIES = {"torch": ("torch", "transformers"), "mlx": ("mlx", "mlx-lm")}
"""Engine -> the libraries that a row depends on."""


@dataclass
class Rows:
    """The rows of one engine, by architecture."""

    engine: str
    versions: str
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        return FOLDER / f"{self.engine}.json"

    def done(self, name: str) -> bool:
        """Whether an architecture has a row, of anything but a failure."""
        return self.rows.get(name, {}).get("result", "FAILED") != "FAILED"

    def keep(self, name: str, row: dict[str, Any]) -> None:
        """Add a row, and write all of them: a run may be stopped at any time."""
        self.rows[name] = row
        FOLDER.mkdir(parents=True, exist_ok=True)
        content = {"versions": self.versions, "rows": dict(sorted(self.rows.items()))}
        self.path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def installed(engine: str) -> str:
    """The versions of an engine's libraries, as the page names them."""
    return ", ".join(f"{library} {version(library)}" for library in LIBRARIES[engine])


def read(engine: str) -> Rows:
    """The rows that were kept, whatever version they are of."""
    path = FOLDER / f"{engine}.json"
    if not path.exists():
        return Rows(engine, "")
    content = json.loads(path.read_text(encoding="utf-8"))
    return Rows(engine, content["versions"], content["rows"])


def resume(engine: str, again: bool) -> Rows:
    """The rows that need not be checked again: those of the installed versions, unless `again`."""
    kept, now = read(engine), installed(engine)
    return kept if kept.versions == now and not again else Rows(engine, now)
