"""The identity of the model that a result was measured on."""

from __future__ import annotations

from dataclasses import dataclass

from localprobe.engine import Info


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """A model on an engine: the fields of `localprobe.engine.Info` that results depend on."""

    model: str
    engine: str
    architecture: str = ""
    version: str = ""
    """The libraries that did the computation, e.g. `torch 2.13.0, transformers 5.23.0`."""
    device: str = ""
    dtype: str = ""
    quantisation: str | None = None
    weights: str = ""
    """Hash of the weights."""
    layers: int = 0
    width: int = 0
    template_args: tuple[str, ...] = ()
    """Arguments of the chat template, `NAME=VALUE`."""

    @classmethod
    def of(cls, info: Info) -> ModelIdentity:
        """The identity of a loaded model."""
        return cls(**{name: getattr(info, name) for name in cls.__dataclass_fields__})

    @property
    def name(self) -> str:
        """The model, its engine and its quantisation: `smollm2-135m (llama, Q4_1)`."""
        return f"{self.model} ({', '.join(filter(None, (self.engine, self.quantisation)))})"

    def same_weights(self, other: ModelIdentity) -> bool:
        """Whether both are the same model, by name and architecture or by weights."""
        named = (self.model, self.architecture) == (other.model, other.architecture)
        return named or (self.weights == other.weights and bool(self.weights))
