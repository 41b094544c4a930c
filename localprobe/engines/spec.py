"""The specification of a model to load."""

from __future__ import annotations

from dataclasses import dataclass, field

from localprobe.engine import LoadOptions


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model to load."""

    name: str
    """A short name, a Hugging Face id (`org/name`, `org/name:file.gguf`), a folder, or a GGUF file."""
    engine: str | None = None
    """A registered engine; None takes the best installed engine that can load the model."""
    options: LoadOptions = field(default_factory=LoadOptions)

    def __str__(self) -> str:
        return f"{self.name} on {self.engine}" if self.engine else self.name
