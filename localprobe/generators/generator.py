"""What writes the texts of pairs: models behind OpenAI-compatible endpoints, or on an engine of ours."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from localprobe.errors import UsageError
from localprobe.progress import Progress, silent

if TYPE_CHECKING:
    from localprobe.engine import Info
    from localprobe.model import Model


Loading: TypeAlias = Callable[[str], AbstractContextManager[Progress]]
"""Shows that a model of that name is being loaded."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One text to be written."""

    system: str
    prompt: str
    seed: int
    temperature: float = 0.7
    tokens: int = 300
    """The most to generate."""


@dataclass(frozen=True, slots=True)
class Completion:
    """What a generator wrote."""

    text: str
    finish: str
    """`stop`, `length` if it was cut at the most tokens, `content_filter` or `refusal`."""
    model: str
    """The model's name as its own server or engine gives it."""
    tokens: int = 0
    """How many were generated; 0 if the server does not say."""


class Generator(Protocol):
    """Something that writes texts when asked."""

    name: str
    """As the user wrote it; it stands in every line."""
    in_memory: bool
    """Whether it takes this machine's memory while it is used, so that such ones work one after another."""

    def ready(self) -> None:
        """Raise a LocalprobeError if it plainly cannot be used, before anything is asked of any generator."""
        ...

    def answer(self, asks: Sequence[Ask]) -> list[Completion]:
        """Write texts. Raises a LocalprobeError if it cannot."""
        ...

    def provenance(self) -> dict[str, Any]:
        """What else there is to know of it, for every line; called after it has answered."""
        ...

    def rest(self) -> None:
        """Free what it holds; it may be asked again."""
        ...


def silently(name: str) -> AbstractContextManager[Progress]:
    """Show nothing."""
    return nullcontext(silent)


class LocalModel:
    """A model on an engine of ours, loaded when it is first asked."""

    in_memory = True

    def __init__(self, model: str, engine: str | None = None, *, loading: Loading = silently) -> None:
        self.name = f"local:{model}" + (f"@{engine}" if engine else "")
        self._model_name, self._engine = model, engine
        self._loading = loading
        self._loaded: Model | None = None
        self._provenance: dict[str, Any] = {}
        self._borrowed = False

    @classmethod
    def of(cls, model: Model) -> LocalModel:
        """A model that is loaded already; it stays open when the generator rests. UsageError for a base model."""
        generator = cls(model.info.model, model.info.engine)
        generator._borrowed = True
        generator._take(model)
        return generator

    def would_load(self, info: Info) -> bool:
        """Whether this is a model that is loaded elsewhere already, on the same engine or on any."""
        return self._loaded is None and self._model_name == info.model and self._engine in (None, info.engine)

    def ready(self) -> None:
        from localprobe import discovery, models

        if self._borrowed:
            return
        discovery.choose(self._engine, None if self._engine else models.formats(self._model_name))

    def answer(self, asks: Sequence[Ask]) -> list[Completion]:
        from localprobe.engine import Sampler

        model = self._model()
        requests = [
            model.request(
                ask.prompt,
                system=ask.system,
                sampler=Sampler(temperature=ask.temperature),
                key=f"generate {ask.seed}",
                tokens=ask.tokens,
            )
            for ask in asks
        ]
        return [
            Completion(
                spoken(answer.text),
                "length" if answer.reason in ("length", "context") else "stop",
                model.info.model,
                len(answer),
            )
            for answer in model.answers(requests)
        ]

    def provenance(self) -> dict[str, Any]:
        return self._provenance

    def rest(self) -> None:
        if self._loaded is not None and not self._borrowed:
            self._loaded.close()
            self._loaded = None

    def _model(self) -> Model:
        from localprobe.model import Model

        if self._loaded is None:
            with self._loading(self._model_name) as progress:
                model = Model.load(self._model_name, self._engine, progress=progress)
            try:
                return self._take(model)
            except UsageError:
                model.close()
                raise
        return self._loaded

    def _take(self, model: Model) -> Model:
        """Use a loaded model. UsageError if it cannot be told what to write."""
        info = model.info
        if info.chat_template is None:
            raise UsageError(
                f"{info.model} has no chat template: it is a base model, and cannot be told which pole to write; "
                "give an instruct model"
            )
        self._loaded = model
        self._provenance = {
            "engine": info.engine,
            "engine_version": info.version,
            "weights": info.weights,
            "dtype": info.dtype,
            "quantisation": info.quantisation,
        }
        return model


_THOUGHT = re.compile(r"\s*<(think|thinking|reasoning)>.*?(?:</\1>|\Z)", re.DOTALL)


def spoken(text: str) -> str:
    """A text without the thoughts that reasoning models put before it, and without space around it."""
    return _THOUGHT.sub("", text, count=1).strip() if _THOUGHT.match(text) else text.strip()
