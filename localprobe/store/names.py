"""Names that become paths, or part of one: ids out of stores, names out of files, and what a user types for a file.

Anybody may have written them. A path that cannot be (too long, of an unknown user, with a zero byte) is one that is not
there; where it is read or written the error says so.
"""

from __future__ import annotations

import re
from pathlib import Path

_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,63}")


def is_id(text: object) -> bool:
    """Whether a value can be the id of a run: letters, digits, `-` and `_`, so that no path leaves its folder."""
    return isinstance(text, str) and _ID.fullmatch(text) is not None


def file_name(text: str) -> str:
    """A text as part of a file's name: words of letters and digits, joined by `-`, without a leading dot."""
    return cut(re.sub(r"[^\w.+@~-]+", "-", text).strip("-."), 120) or "unnamed"


def cut(name: str, longest: int) -> str:
    """The beginning of a name that takes at most `longest` bytes in a path; file systems count bytes, not letters."""
    return name.encode()[:longest].decode(errors="ignore")


def path_of(written: str | Path) -> Path:
    """What a user typed as a path, with `~` for a home; unchanged if there is no such user."""
    try:
        return Path(written).expanduser()
    except RuntimeError:
        return Path(written)


def exists(path: Path) -> bool:
    """Whether there is a file or a folder of this path."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def is_file(path: Path) -> bool:
    """Whether there is a file of this path."""
    return exists(path) and path.is_file()
