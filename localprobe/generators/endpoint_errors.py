"""Interpreting the errors of endpoints, beyond the classes of the `openai` client."""

from __future__ import annotations

import re
from collections.abc import Sequence

from localprobe.errors import LocalprobeError

_LONGEST_WAIT = 300.0  # seconds
_UNSUPPORTED = re.compile(
    "unsupported|not support|unknown|unrecogni[sz]ed|unexpected|extra|not permitted|not allowed", re.I
)


class EndpointError(LocalprobeError):
    """An endpoint cannot be reached, or does not answer."""


def advice(error: Exception) -> str:
    """What the endpoint did and what to do: the predicate of a sentence whose subject is its URL."""
    import openai

    match error:
        case openai.RateLimitError():
            return f"still refuses ({what(error)}): run the same command later; finished pairs are kept"
        case openai.InternalServerError():
            return f"fails ({what(error)}): look at its log, then run the same command again"
        case openai.APIStatusError():
            return f"refuses the request ({what(error)}): check the model's name and the options"
    return f"answers what cannot be read ({what(error)}): is it an OpenAI-compatible base URL?"


def pause(error: Exception, otherwise: float | None) -> float | None:
    """Seconds until the next attempt at a busy server: what it says, or `otherwise`.

    None to give up: no attempt is left (`otherwise` is None), the quota is used up, or the wait is too long."""
    if otherwise is None or getattr(error, "code", None) == "insufficient_quota":
        return None
    response = getattr(error, "response", None)
    try:
        seconds = float(response.headers["retry-after"]) if response is not None else otherwise
    except (KeyError, ValueError):  # absent, or a date
        seconds = otherwise
    return max(seconds, 0.0) if seconds <= _LONGEST_WAIT else None


def filtered(error: Exception) -> bool:
    """Whether the request was refused by a content filter rather than for its form."""
    return "content_filter" in f"{getattr(error, 'code', '')} {error}" or "content management policy" in str(error)


def unsupported(error: Exception, options: Sequence[str]) -> str | None:
    """The option that a server reports as unknown or not allowed, if any."""
    message = str(error)
    return next((name for name in options if name in message), None) if _UNSUPPORTED.search(message) else None


def what(error: Exception) -> str:
    """The cause of an error, shortened to one line."""
    import openai

    status = f"{error.status_code}: " if isinstance(error, openai.APIStatusError) else ""
    body = getattr(error, "body", None)
    if isinstance(body, dict):
        body = body.get("message") or body.get("error")
    if isinstance(body, str) and body.lstrip().startswith("<"):  # a page for browsers
        body = "an HTML page"
    cause = error.__cause__ if isinstance(error, openai.APIConnectionError) and error.__cause__ else error
    line = " ".join(str(body or cause).split())
    return status + (line if len(line) <= 200 else f"{line[:200]}...")
