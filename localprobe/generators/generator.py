"""Generators of texts: models behind OpenAI-compatible endpoints, or local models on one of our engines."""

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
"""Displays that the model of that name is being loaded."""


@dataclass(frozen=True, slots=True)
class TextRequest:
    """A request for one text."""

    system: str
    prompt: str
    seed: int
    temperature: float = 0.7
    tokens: int = 300
    """Maximum number of tokens."""


@dataclass(frozen=True, slots=True)
class Completion:
    """A text that a generator wrote."""

    text: str
    finish: str
    """`stop`, `length` if it reached the token limit, `content_filter` or `refusal`."""
    model: str
    """The model's name as reported by its server or engine."""
    tokens: int = 0
    """Number of tokens generated; 0 if unknown."""


class Generator(Protocol):
    """Writes texts on request."""

    name: str
    """The name as the user wrote it; recorded in every line."""
    in_memory: bool
    """Whether it loads a model into this machine's memory: only one such generator is loaded at a time."""

    def ready(self) -> None:
        """Raise LocalprobeError if it clearly cannot be used; called before any generator is used."""
        ...

    def answer(self, requests: Sequence[TextRequest]) -> list[Completion]:
        """Write one text per request. Raises LocalprobeError on failure."""
        ...

    def provenance(self) -> dict[str, Any]:
        """Further fields for every line; called after it has answered."""
        ...

    def rest(self) -> None:
        """Free its resources; it may be used again."""
        ...


def silently(name: str) -> AbstractContextManager[Progress]:
    """Display nothing."""
    return nullcontext(silent)


class LocalModel:
    """A model on one of our engines, loaded on first use."""

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

    def answer(self, requests: Sequence[TextRequest]) -> list[Completion]:
        from localprobe.chat_template import Exchange, render
        from localprobe.engine import Sampler

        model = self._model()
        prepared = [
            model.request(
                request.prompt,
                system=request.system,
                sampler=Sampler(temperature=request.temperature),
                key=f"generate {request.seed}",
                tokens=request.tokens,
            )
            for request in requests
        ]
        prompts = [
            render(model.info, Exchange(request.prompt, "", request.system).messages).text for request in requests
        ]
        return [
            Completion(
                spoken(answer.text, prompt),
                "length" if answer.reason in ("length", "context") else "stop",
                model.info.model,
                len(answer),
            )
            for answer, prompt in zip(model.answers(prepared), prompts, strict=True)
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
        """Use a loaded model. UsageError if it is a base model."""
        info = model.info
        if info.chat_template is None:
            raise UsageError(
                f"{info.model} has no chat template: it is a base model, and cannot follow a system prompt; "
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


_KINDS = "(think|thinking|reasoning)"
_OPENED = re.compile(rf"<{_KINDS}>\s*\Z")
_THOUGHT = re.compile(rf"\s*<{_KINDS}>.*?(?:</\1>|\Z)", re.DOTALL)
_REST_OF_A_THOUGHT = re.compile(rf"(?:(?!<{_KINDS}>).)*?</{_KINDS}>", re.DOTALL)


def spoken(text: str, prompt: str = "") -> str:
    """A text without the reasoning that some models write before it, stripped of whitespace. A thought may have been
    opened at the end of the `prompt`: then the text begins inside it."""
    if opened := _OPENED.search(prompt):
        text = opened.group() + text
    for thought in (_THOUGHT, _REST_OF_A_THOUGHT):
        if found := thought.match(text):
            return text[found.end() :].strip()
    return text.strip()
