"""Names that become part of a path: ids out of stores and names out of files, which anybody may have written."""

from __future__ import annotations

import re

_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,63}")


def is_id(text: object) -> bool:
    """Whether a value can be the id of a run: letters, digits, `-` and `_`, so that no path leaves its folder."""
    return isinstance(text, str) and _ID.fullmatch(text) is not None


def file_name(text: str) -> str:
    """A text as part of a file's name: words of letters and digits, joined by `-`, without a leading dot."""
    return re.sub(r"[^\w.+@~-]+", "-", text).strip("-.")[:120] or "unnamed"
