"""Options of commands that read contrast pairs, and capturing them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from localprobe.capture.residuals import Text
    from localprobe.contrast.pairs import Pair
    from localprobe.engine import FloatArray
    from localprobe.model import Model
    from localprobe.probing.study import Choices

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


def study_options(command: F) -> F:
    """How a probe is fitted and tested, for commands that do both; the command gets them as one argument, `how`."""

    @wraps(command)
    def collected(*args: Any, **kwargs: Any) -> Any:
        how = {name: kwargs.pop(name) for name in _STUDY}
        return command(*args, how=how, **kwargs)

    for option in reversed(_STUDY.values()):
        collected = option(collected)
    return collected  # type: ignore[return-value]


_STUDY = {
    "test": click.option("--test", help="Pairs to test on; if not given, a share of PAIRS is kept out of the fit."),
    "concept": click.option("--concept", help="What the positive pole is; the file's name if not given."),
    "method": click.option(
        "--method",
        type=click.Choice(["mean-difference", "logistic", "pca", "lda"]),
        default="mean-difference",
        show_default=True,
    ),
    "pooling": click.option(
        "--pooling",
        type=click.Choice(["mean", "mean-without-first", "last", "answer"]),
        default="mean",
        show_default=True,
        help="mean is the paper's.",
    ),
    "layers": click.option("--layers", help="Layers, as 8,12,16 or 8-24; all if not given."),
    "keywords": click.option(
        "--keywords", type=click.Path(path_type=Path), help="Words and synonyms for the ablation."
    ),
    "test_fraction": click.option("--test-fraction", type=click.FloatRange(0.05, 0.9), default=0.3, show_default=True),
    "permutations": click.option("--permutations", type=click.IntRange(min=1), default=1000, show_default=True),
    "resamples": click.option("--resamples", type=click.IntRange(min=100), default=2000, show_default=True),
    "seed": click.option("--seed", type=int, default=0, show_default=True),
}


def study_of(
    pairs: str, how: dict[str, Any], fields: dict[str, str]
) -> tuple[Choices, list[Pair] | None, list[int] | None]:
    """The choices of a study, the pairs to test on if they are given, and the layers asked for."""
    from localprobe.cli.layers import parse
    from localprobe.probing.keywords import read_keywords
    from localprobe.probing.study import Choices
    from localprobe.probing.validation import Effort

    choices = Choices(
        how["concept"] or Path(pairs).stem,
        how["method"],
        how["pooling"],
        how["test_fraction"],
        how["seed"],
        read_keywords(how["keywords"]) if how["keywords"] else None,
        Effort(how["resamples"], how["permutations"]),
    )
    return choices, read(how["test"], fields) if how["test"] else None, parse(how["layers"])


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
    from localprobe.capture.cache import pooled
    from localprobe.cli.show import counting
    from localprobe.probing.study import LIMIT

    with counting(what, len(texts)) as count:
        return pooled(model.engine, texts, layers, pooling, limit=LIMIT, done=count.advance)


def poles(
    model: Model, pairs: Sequence[Pair], layers: Sequence[int], pooling: str, what: str
) -> tuple[FloatArray, FloatArray]:
    """Residuals (pairs, layers, width) of both poles."""
    texts = [text for pair in pairs for text in (pair.positive, pair.negative)]
    residuals = captured(model, texts, layers, pooling, what)
    return residuals[0::2], residuals[1::2]
