"""What error messages show: the name that was probably meant, and a value of a file."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_LONGEST = 1000  # characters of a message


def close_match(name: str, names: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The one of `names` that `name` was probably meant to be, ignoring case; None if none has a similarity of
    `cutoff` (0 to 1) or more."""
    folded = {candidate.lower(): candidate for candidate in names}
    matches = difflib.get_close_matches(name.lower(), folded, n=1, cutoff=cutoff)
    return folded[matches[0]] if matches else None


def shown(value: object) -> str:
    """A value from a file for an error message: escaped, and shortened to one line."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # Python writes no number of over 4,300 digits, and no deep nesting
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 80 else f"{text[:79]}…"


def one_line(text: str) -> str:
    """A message with names of a file in it: control characters escaped, and cut after 1,000 characters."""
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text[:_LONGEST])
    return text if len(text) < _LONGEST else f"{text[:_LONGEST]}…"
