"""The two opposite system prompts under which the two texts of a pair are generated."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from localprobe.contrast.tables import listed
from localprobe.errors import DataError
from localprobe.store.safe_json import parse
from localprobe.store.shipped import Shipped
from localprobe.store.text_files import read_text

SYSTEM_PROMPTS = Shipped("set of system prompts", "contrast/data/system_prompts", ".json")
"""By concept. The two prompts of a set have the same form and length, so that only the concept differs."""


@dataclass(frozen=True, slots=True)
class SystemPrompts:
    """The system prompts that make a model write one pole or the other."""

    positive: str
    negative: str
    task: str = ""
    """What to write, for both poles: it follows the scenario in the user's message."""

    @property
    def hash(self) -> str:
        """Hash of the prompts, recorded in every line generated with them."""
        return hashlib.sha256(json.dumps([self.positive, self.negative, self.task]).encode()).hexdigest()[:16]


def read_system_prompts(path: Path) -> SystemPrompts:
    """Read a JSON object with `positive`, `negative` and optionally `task`. DataError says what is missing."""
    values = parse(read_text(path), str(path), whole=True)
    if not isinstance(values, dict):
        raise DataError(f"{path} is a JSON {type(values).__name__}: write an object with positive, negative and task")
    for name in ("positive", "negative"):
        if not isinstance(values.get(name), str) or not values[name].strip():
            raise DataError(f"{path} has no text {name!r}; it has {listed(values)}")
    if values["positive"].strip() == values["negative"].strip():
        raise DataError(f"{path}: positive and negative are the same prompt, so the pairs would not differ")
    if not isinstance(values.get("task", ""), str):
        raise DataError(f"{path}: task is not a text")
    return SystemPrompts(values["positive"].strip(), values["negative"].strip(), values.get("task", "").strip())
