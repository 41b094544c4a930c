"""Options that several commands share, and loading a model with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, TypeVar

import click

from localprobe.cli.output import say
from localprobe.engine import LoadOptions
from localprobe.engines.spec import ModelSpec
from localprobe.errors import UnknownModel, UsageError

if TYPE_CHECKING:
    from localprobe.model import Model
    from localprobe.vectors.vector import Origin, Vector

F = TypeVar("F", bound=Callable[..., Any])

BUNDLED = "smollm2-135m"


@dataclass(frozen=True, slots=True)
class Chosen(ModelSpec):
    """The model and engine that the user asked for."""

    named: bool = True
    """Whether the user named the model."""
    url: str = ""
    """The server that runs it; empty for this machine."""

    def of(self, origin: Origin | None) -> Chosen:
        """The model that a vector was fitted on, on its engine if that is installed; or this one, if the user named
        it."""
        from localprobe.discovery import installed, names

        if self.url or self.named or origin is None or not origin.model:
            return self
        available = origin.engine in names(hidden=True) and installed(origin.engine)
        return replace(self, name=origin.model, engine=self.engine or (origin.engine if available else None))

    def load(self) -> AbstractContextManager[Model]:
        """Load it, or connect to it, for a `with` block; see `loaded`."""
        return self._connected() if self.url else loaded(self, named=self.named)

    @contextmanager
    def _connected(self) -> Iterator[Model]:
        from localprobe.client.connecting import connect

        with connect(self.url, model=self.name if self.named else None) as model:
            yield model


@contextmanager
def loaded(spec: ModelSpec, *, named: bool = True) -> Iterator[Model]:
    """Load a model, print its notes, and close it at the end of the `with` block.

    `named` is False if a vector's file named it and not the user; the error for an unknown name then says so.
    """
    from localprobe.cli.show import loading
    from localprobe.model import Model

    try:
        with loading(spec.name) as progress:
            model = Model.load(spec.name, spec.engine, spec.options, progress=progress)
    except UnknownModel as error:
        if named:
            raise
        raise UnknownModel(f"{error}; the vector says that it was fitted on it: name the model to use") from error
    with model:
        for note in model.info.notes:
            say(f"note: {note}", err=True)
        yield model


@contextmanager
def loaded_with(
    chosen: Chosen, vector: str, check: Callable[[Model], object] = lambda model: None
) -> Iterator[tuple[Model, Vector]]:
    """A vector, by its file or its name, and its model: the one that the user named, or else the vector's own. If the
    library has no vector of that name for the model, it is fitted on the set of that name that ships; `check` runs
    before and may raise. Warns if the vector was made for another model."""
    from localprobe.cli.show import capturing
    from localprobe.probing.named import origin_of, vector_for

    with chosen.of(origin_of(vector)).load() as model:
        check(model)
        with capturing() as amounts:
            direction = vector_for(model, vector, notify=partial(say, err=True), capturing=amounts)
        for warning in direction.check_compatible(model.info):
            say(f"warning: {warning}", err=True)
        yield model, direction


@dataclass(frozen=True, slots=True)
class Labelled:
    """One of several models, with the user's label for its group."""

    chosen: Chosen
    label: str


def url_option(command: F) -> F:
    """`--url`, for a command that works with a model on a server too; the command gets it within `chosen`."""
    words = "A server (`localprobe serve`) that runs the model: http://HOST:PORT. LOCALPROBE_API_KEY holds its key."
    return click.option("--url", help=words)(command)


def models_options(command: F) -> F:
    """One or more arguments `MODEL[@ENGINE][=LABEL]`, and how to load; the command gets them as a list, `models`."""
    return _with_models(command, required=True, metavar="MODEL[@ENGINE][=LABEL]...")


def any_models_options(command: F) -> F:
    """Any number of arguments `MODEL[@ENGINE]`, and how to load; as `models_options`, where none is the bundled one."""
    return _with_models(command, required=False, metavar="[MODEL[@ENGINE]]...")


def _with_models(command: F, *, required: bool, metavar: str) -> F:
    @wraps(command)
    def collected(*args: Any, **kwargs: Any) -> Any:
        options = LoadOptions(**{name: kwargs.pop(name) for name in LoadOptions.__dataclass_fields__})
        engine = kwargs.pop("engine")
        models = [parsed(text, engine, options) for text in kwargs.pop("models") or [BUNDLED]]
        return command(*args, models=models, **kwargs)

    for option in reversed(_OPTIONS[1:]):
        collected = option(collected)
    return click.argument("models", nargs=-1, required=required, metavar=metavar)(collected)  # type: ignore[return-value]


def parsed(text: str, engine: str | None, options: LoadOptions) -> Labelled:
    """Parse `MODEL[@ENGINE][=LABEL]`; a name that exists as a file is not split."""
    from pathlib import Path

    from localprobe.store.names import exists

    name, label = text, ""
    if not exists(Path(name)) and "=" in name:
        name, _, label = name.rpartition("=")
    if not exists(Path(name)) and "@" in name:
        name, _, engine = name.rpartition("@")
    if not name:
        raise UsageError(f"{text!r} names no model: write MODEL, MODEL@ENGINE or MODEL@ENGINE=LABEL")
    return Labelled(Chosen(name, engine or None, options), label.strip())


def model_options(command: F) -> F:
    """`--model`, `--engine` and how to load; the command gets them as one argument, `chosen`."""
    return _OPTIONS[0](loading_options(command))


def model_argument(command: F) -> F:
    """An argument `MODEL`, the bundled one if not given, `--engine` and how to load; the command gets one `chosen`."""
    return click.argument("model", required=False)(loading_options(command))


def loading_options(command: F) -> F:
    """`--engine` and how to load, collected with `model` into the command's argument `chosen`."""

    @wraps(command)
    def collected(*args: Any, **kwargs: Any) -> Any:
        return command(*args, chosen=_chosen(kwargs), **kwargs)

    for option in reversed(_OPTIONS[1:]):
        collected = option(collected)
    return collected  # type: ignore[return-value]


def _chosen(kwargs: dict[str, Any]) -> Chosen:
    """Take the arguments that describe the model out of a command's arguments."""
    options = LoadOptions(**{name: kwargs.pop(name) for name in LoadOptions.__dataclass_fields__})
    name, engine, url = kwargs.pop("model"), kwargs.pop("engine"), kwargs.pop("url", None) or ""
    if url and (engine or options != LoadOptions()):
        raise UsageError("a server has loaded its model: leave out how to load it, or leave out `url`")
    return Chosen(name or BUNDLED, engine, options, named=name is not None, url=url)


_OPTIONS = [
    click.option(
        "--model", "-m", help=f"Short name, hub id, folder or GGUF file; {BUNDLED}, or a vector's own, if not given."
    ),
    click.option("--engine", "-e", help="torch, mlx or llama; the best one installed if not given."),
    click.option("--dtype", type=click.Choice(["float32", "bfloat16", "float16"]), help="Type to compute in."),
    click.option("--device", help="cpu, cuda, cuda:1, mps, or auto to spread over cards."),
    click.option("--quantise", type=click.Choice(["4bit", "8bit"]), help="Quantise while loading (torch on CUDA)."),
    click.option("--context", type=click.IntRange(min=1), help="Tokens that a prompt and its answer may hold."),
    click.option("--threads", type=click.IntRange(min=1), help="CPU threads; the physical cores if not given."),
    click.option(
        "--gpu-layers", type=click.IntRange(min=0), help="llama.cpp: blocks to put on the GPU; all if not given."
    ),
    click.option("--trust-remote-code", is_flag=True, help="Run Python that came with the weights."),
    click.option(
        "--template-arg",
        "template_args",
        multiple=True,
        metavar="NAME=VALUE",
        help="An argument of the chat template, such as enable_thinking=false; repeat it for more.",
    ),
    click.option(
        "--low-memory", is_flag=True, help="llama.cpp: leave the weights in their file; as slow as half the speed."
    ),
]
