"""All that commands print goes through here, made safe for a terminal: names, generated texts, errors.

`say` prints text, `say_json` JSON and `write_data` a file's content; tables and progress bars go through the console of
`localprobe.cli.show`. No other module of the command line writes to a stream (a test holds that).
"""

from __future__ import annotations

import json
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from localprobe.errors import LocalprobeWarning
from localprobe.terminal_text import one_line, visible

_UNESCAPED = re.compile("[\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""What a terminal obeys or cannot write, and JSON leaves as it is."""


def say(text: str = "", *, err: bool = False, nl: bool = True) -> None:
    """Print text, on stderr if it is a remark about the result; control characters in it are made visible."""
    click.echo(visible(text), err=err, nl=nl)


def say_marked(word: str, colour: str | None, rest: str) -> None:
    """Print a line that begins with a coloured word."""
    click.secho(visible(word), fg=colour, nl=False)
    say(rest)


def say_error(error: Exception) -> None:
    """Print an error on stderr, as one line."""
    click.echo(f"localprobe: {one_line(str(error))}", err=True)


@contextmanager
def say_warnings(worded: Callable[[object], str] = str) -> Iterator[None]:
    """Print our own warnings, while the block runs, as one line each instead of Python's two; `worded` words it."""
    other = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *place: Any, **named: Any) -> None:
        if issubclass(category, LocalprobeWarning):
            click.echo(f"warning: {one_line(worded(message))}", err=True)
        else:
            other(message, category, *place, **named)

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = other


def say_json(value: Any, *, indent: int | None = None) -> None:
    """Print a value as JSON. Control characters are escaped; other letters are not, where stdout can write them."""
    unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    text = json.dumps(value, indent=indent, ensure_ascii=not unicode)
    click.echo(_UNESCAPED.sub(lambda match: f"\\u{ord(match[0]):04x}", text))


def write_data(text: str) -> None:
    """Write the content of a file to stdout: unchanged into a pipe or a file, made visible on a terminal."""
    sys.stdout.write(visible(text) if sys.stdout.isatty() else text)
    sys.stdout.flush()
