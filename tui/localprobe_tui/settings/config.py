"""What a user may set in `config.toml` of the data folder: keys and the theme.

theme = "localprobe-light"

[keys]
"chat.stop" = "ctrl+x"
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from localprobe.errors import LocalprobeError
from localprobe.store.files import write_whole


@dataclass(frozen=True, slots=True)
class Config:
    """The user's settings."""

    theme: str = ""
    keys: dict[str, str] = field(default_factory=dict)
    """Binding's id -> keys; `?` in the app lists the ids."""


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
    try:
        found = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Config()
    except (OSError, ValueError) as error:
        raise LocalprobeError(f"{file} cannot be read: {error}") from error
    theme, keys = found.pop("theme", ""), found.pop("keys", {})
    if found:
        raise LocalprobeError(f"{file} has an unknown setting {next(iter(found))!r}: there are theme and [keys]")
    if theme and theme not in themes:
        raise LocalprobeError(f"{file} names the theme {theme!r}: choose one of {', '.join(sorted(themes))}")
    if not isinstance(keys, dict) or not all(isinstance(key, str) for key in keys.values()):
        raise LocalprobeError(f'{file}: [keys] holds lines such as "chat.stop" = "ctrl+x"')
    if keys and (unknown := sorted(set(keys) - ids())):
        raise LocalprobeError(f"{file} has a key for {unknown[0]!r}: press ? in the app to see what there is")
    return Config(theme, keys)
