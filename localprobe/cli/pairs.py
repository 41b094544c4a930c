"""Options of commands that read contrast pairs and fit probes on them."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import click

from localprobe.cli.output import say
from localprobe.probing.config import POOLING, MethodName, PoolingName, ProbeConfig

if TYPE_CHECKING:
    from localprobe.contrast.pairs import Pair, ReadPairs

F = TypeVar("F", bound=Callable[..., Any])
_DEFAULT = ProbeConfig()
_FIELDS = {
    "positive_field": "positive text",
    "negative_field": "negative text",
    "scenario_field": "scenario",
    "prompt_field": "prompt that both texts answer",
}


def pair_options(command: F) -> F:
    """`--positive-field`, `--prompt-field` ... for files of no known shape; the command gets them as `fields`."""

    @wraps(command)
    def collected(*args: Any, **kwargs: Any) -> Any:
        fields = {name: kwargs.pop(name) for name in _FIELDS}
        return command(*args, fields=fields, **kwargs)

    for name, what in reversed(_FIELDS.items()):
        option = click.option(f"--{name.replace('_', '-')}", help=f"Field that holds the {what}; see `data check`.")
        collected = option(collected)
    return collected  # type: ignore[return-value]


def probe_options(*, pooling: str = POOLING, resampling: bool = True) -> Callable[[F], F]:
    """Options of fitting and testing a probe; the command gets them as one `ProbeConfig`, `config`.

    `pooling` is the command's default; `resampling` adds the options that only a validation uses.
    """

    def decorated(command: F) -> F:
        options = _options(pooling) | (_RESAMPLING if resampling else {})

        @wraps(command)
        def collected(*args: Any, **kwargs: Any) -> Any:
            config = ProbeConfig(**{name: kwargs.pop(name) for name in options})
            return command(*args, config=config, **kwargs)

        for option in reversed(options.values()):
            collected = option(collected)
        return collected  # type: ignore[return-value]

    return decorated


def _options(pooling: str) -> dict[str, Callable[[F], F]]:
    differs = "" if pooling == POOLING else f" here, {POOLING} elsewhere"
    return {
        "method": click.option(
            "--method",
            type=click.Choice(get_args(MethodName)),
            default=_DEFAULT.method,
            show_default=True,
            help="Method that fits the direction.",
        ),
        "pooling": click.option(
            "--pooling",
            type=click.Choice(get_args(PoolingName)),
            default=pooling,
            show_default=True,
            help=f"mean is the paper's{differs}; answer reads each text as the answer to its pair's prompt, in a chat.",
        ),
        "test_fraction": click.option(
            "--test-fraction",
            type=click.FloatRange(0, 0.9),
            default=_DEFAULT.test_fraction,
            show_default=True,
            help="Share of each scenario's pairs held out to test on; 0 fits on all.",
        ),
        "special_tokens": click.option(
            "--special-tokens",
            is_flag=True,
            help="Read special tokens that are written in the texts, such as <|im_start|>, as tokens.",
        ),
        "seed": click.option(
            "--seed",
            type=int,
            default=_DEFAULT.seed,
            show_default=True,
            help="Seed of the split, cross-validation and resampling.",
        ),
    }


_RESAMPLING: dict[str, Callable[[F], F]] = {
    "permutations": click.option(
        "--permutations",
        type=click.IntRange(min=1),
        default=_DEFAULT.permutations,
        show_default=True,
        help="Permutations of the labels.",
    ),
    "resamples": click.option(
        "--resamples",
        type=click.IntRange(min=100),
        default=_DEFAULT.resamples,
        show_default=True,
        help="Bootstrap resamples.",
    ),
}


def study_options(command: F) -> F:
    """Options of a study of several models: test pairs, concept, layers, keywords."""
    for option in reversed(
        (
            click.option("--test", help="Pairs to test on; if not given, a share of PAIRS is held out of the fit."),
            click.option("--concept", help="What the positive pole is; the file's name if not given."),
            click.option("--layers", help="Layers, as 8,12,16 or 8-24; all if not given."),
            click.option("--keywords", type=click.Path(path_type=Path), help="Words and synonyms for the ablation."),
        )
    ):
        command = option(command)
    return command


def read(file: str, fields: dict[str, str | None]) -> list[Pair]:
    """The pairs of a file, or of a set that ships under that name; what was left out of them is told."""
    from localprobe.contrast.pairs import PAIR_SETS

    read_set = read_shape(PAIR_SETS.resolve(file), fields)
    for note in read_set.notes:
        say(f"note: {file}: {note}", err=True)
    return read_set.pairs


def read_shape(path: Path, fields: dict[str, str | None]) -> ReadPairs:
    """The pairs of a file, whose fields have the usual names if it ships, and how they were read."""
    from localprobe.contrast.pairs import PAIR_SETS, read_set

    return read_set(path) if PAIR_SETS.holds(path) else read_set(path, **fields)


def hashed(**files: str | None) -> dict[str, str]:
    """SHA-256 of files and shipped sets, so that a run can be repeated on the same data."""
    from localprobe.contrast.pairs import PAIR_SETS
    from localprobe.contrast.rated import RATED_SETS
    from localprobe.experiments.experiment import file_hash

    return {
        f"{role} {file}": file_hash((RATED_SETS if role == "ratings" else PAIR_SETS).resolve(file))
        for role, file in files.items()
        if file is not None
    }
