"""The user's settings, `config.toml` in the data folder: keys and the theme.

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
from localprobe.store.text_files import read_text
from localprobe.store.toml import Table, read_toml


class Config(Table):
    """The user's settings."""

    theme: Annotated[str, Meta(description="the name of a theme")] = ""
    keys: Annotated[dict[str, str], Meta(description='a table of lines such as "chat.stop" = "ctrl+x"')] = field(
        default_factory=dict
    )
    """Binding id -> key; `?` in the app lists the ids."""


def path() -> Path:
    """The path of the file, which may not exist."""
    from localprobe.store.paths import data

    return data() / "config.toml"


def keep_theme(name: str) -> None:
    """Write a theme to the file, keeping its other settings. LocalprobeError if the disk refuses."""
    file, line = path(), f'theme = "{name}"'
    try:
        old = read_text(file) if file.exists() else ""
    except OSError as error:
        raise LocalprobeError(f"{file} cannot be read: {error}") from error
    new, count = re.subn(r"^theme\s*=.*$", line, old, count=1, flags=re.MULTILINE)
    write_whole(file, (new if count else f"{line}\n{old}").encode())


def read(ids: Callable[[], frozenset[str]], themes: frozenset[str]) -> Config:
    """The settings, or the defaults without a file. `ids` returns the binding ids. Raises LocalprobeError for a faulty
    file."""
    file = path()
    if not file.exists():
        return Config()
    config = read_toml(file, Config)
    if config.theme and config.theme not in themes:
        raise DataError(f"{file}: theme: {config.theme!r} is not one of {', '.join(sorted(themes))}")
    if config.keys and (unknown := sorted(set(config.keys) - ids())):
        raise DataError(f"{file}, [keys]: there is no id {unknown[0]!r}: ? in the app lists the ids")
    return config
