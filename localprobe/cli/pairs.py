"""Options of commands that read contrast pairs, and capturing them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from localprobe.capture import Text
    from localprobe.contrast.pairs import Pair
    from localprobe.engine import FloatArray
    from localprobe.model import Model

F = TypeVar("F", bound=Callable[..., Any])


def pair_options(command: F) -> F:
    """`--positive-field` and its like, so that another's file loads as it is; the command gets them as `fields`."""

    @wraps(command)
    def collected(*args: Any, **kwargs: Any) -> Any:
        fields = {name: kwargs.pop(name) for name in ("positive_field", "negative_field", "scenario_field")}
        return command(*args, fields=fields, **kwargs)

    for pole in ("scenario", "negative", "positive"):
        option = click.option(f"--{pole}-field", default=pole, show_default=True, help=f"Field that holds the {pole}.")
        collected = option(collected)
    return collected  # type: ignore[return-value]


def path_of(file: str) -> tuple[Path, bool]:
    """The path of a file, or of a set that ships under that name, and whether it ships."""
    from localprobe.contrast.pairs import shipped

    path = Path(file)
    if not path.exists() and path.name == file and not path.suffix:
        return shipped(file), True
    return path, False


def read(file: str, fields: dict[str, str]) -> list[Pair]:
    """The pairs of a file, or of a set that ships under that name, whose fields have the usual names."""
    from localprobe.contrast.pairs import read_pairs

    path, ships = path_of(file)
    return read_pairs(path) if ships else read_pairs(path, **fields)


def hashed(**files: str | None) -> dict[str, str]:
    """SHA-256 of files and shipped sets by what they are, so that a run can be repeated on the same data."""
    import hashlib

    from localprobe.errors import DataError

    found = {}
    for what, file in files.items():
        if file is None:
            continue
        try:
            found[f"{what} {file}"] = hashlib.sha256(path_of(file)[0].read_bytes()).hexdigest()
        except OSError as error:
            raise DataError(f"cannot read {file}: {error.strerror}") from error
    return found


def captured(model: Model, texts: Sequence[Text], layers: Sequence[int], pooling: str, what: str) -> FloatArray:
    """Residuals (texts, layers, width) of texts, from the store where it has them, with a bar."""
    from localprobe.cli.show import counting
    from localprobe.probing.study import LIMIT
    from localprobe.store import pooled

    with counting(what, len(texts)) as count:
        return pooled(model.engine, texts, layers, pooling, limit=LIMIT, done=count.advance)


def poles(
    model: Model, pairs: Sequence[Pair], layers: Sequence[int], pooling: str, what: str
) -> tuple[FloatArray, FloatArray]:
    """Residuals (pairs, layers, width) of both poles."""
    texts = [text for pair in pairs for text in (pair.positive, pair.negative)]
    residuals = captured(model, texts, layers, pooling, what)
    return residuals[0::2], residuals[1::2]
