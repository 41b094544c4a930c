"""What a user may set in `config.toml` of the data folder: keys and the theme.

theme = "localprobe-light"

[keys]
"chat.stop" = "ctrl+x"
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from msgspec import Meta, field

from localprobe.errors import DataError, LocalprobeError
from localprobe.store.files import write_whole
from localprobe.store.toml import Table, read_toml


class Config(Table):
    """The user's settings."""

    theme: Annotated[str, Meta(description="the name of a theme")] = ""
    keys: Annotated[dict[str, str], Meta(description='a table of lines such as "chat.stop" = "ctrl+x"')] = field(
        default_factory=dict
    )
    """Keys by the id of what they do; `?` in the app lists the ids."""


def path() -> Path:
    """Where the file is, if there is one."""
    from localprobe.store.paths import data

    return data() / "config.toml"


def keep_theme(name: str) -> None:
    """Write a theme into the file; whatever else it holds stays. LocalprobeError if the disk refuses."""
    file, line = path(), f'theme = "{name}"'
    try:
        old = file.read_text(encoding="utf-8") if file.exists() else ""
        new, found = re.subn(r"^theme\s*=.*$", line, old, count=1, flags=re.MULTILINE)
    except OSError as error:
        raise LocalprobeError(f"{file} cannot be read: {error}") from error
    write_whole(file, (new if found else f"{line}\n{old}").encode())


def read(ids: Callable[[], frozenset[str]], themes: frozenset[str]) -> Config:
    """The settings, or the defaults without a file. `ids` gives the bindings that there are. LocalprobeError says what
    is wrong with the file."""
    file = path()
    if not file.exists():
        return Config()
    config = read_toml(file, Config)
    if config.theme and config.theme not in themes:
        raise DataError(f"{file}: theme: {config.theme!r} is not one of {', '.join(sorted(themes))}")
    if config.keys and (unknown := sorted(set(config.keys) - ids())):
        raise DataError(f"{file}, [keys]: nothing has the id {unknown[0]!r}: press ? in the app to see what there is")
    return config
