"""The two opposite system prompts under which the two texts of a pair are generated."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from localprobe.errors import DataError
from localprobe.store.shipped import Shipped

SYSTEM_PROMPTS = Shipped("set of system prompts", "contrast/data/system_prompts", ".json")
"""By concept. The two of a set are alike in form and length, so that only the concept differs."""


@dataclass(frozen=True, slots=True)
class SystemPrompts:
    """What makes a model write one pole or the other."""

    positive: str
    negative: str
    task: str = ""
    """What to write, the same for both poles: it follows the scenario in the user's message."""

    @property
    def hash(self) -> str:
        """Names these prompts in the lines written under them."""
        return hashlib.sha256(json.dumps([self.positive, self.negative, self.task]).encode()).hexdigest()[:16]


def read_system_prompts(path: Path) -> SystemPrompts:
    """Read a JSON object with `positive`, `negative` and perhaps `task`. DataError says what it lacks."""
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error}): write an object with positive, negative and task") from error
    if not isinstance(found, dict):
        raise DataError(f"{path} is a JSON {type(found).__name__}: write an object with positive, negative and task")
    for name in ("positive", "negative"):
        if not isinstance(found.get(name), str) or not found[name].strip():
            raise DataError(f"{path} has no text {name!r}; it has {', '.join(found) or 'nothing'}")
    if found["positive"].strip() == found["negative"].strip():
        raise DataError(f"{path}: positive and negative are the same prompt, so the pairs would not differ")
    if not isinstance(found.get("task", ""), str):
        raise DataError(f"{path}: task is not a text")
    return SystemPrompts(found["positive"].strip(), found["negative"].strip(), found.get("task", "").strip())
