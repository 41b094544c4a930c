"""What the errors of an endpoint mean for the one who asked, on top of the `openai` client's own classes."""

from __future__ import annotations

import re
from collections.abc import Sequence

from localprobe.errors import LocalprobeError

_LONGEST_WAIT = 300.0  # seconds
_UNSUPPORTED = re.compile(
    "unsupported|not support|unknown|unrecogni[sz]ed|unexpected|extra|not permitted|not allowed", re.I
)


class EndpointError(LocalprobeError):
    """An endpoint cannot be reached, or will not answer."""


def advice(error: Exception) -> str:
    """What the endpoint did and what to do now: the end of a sentence that begins with its URL."""
    import openai

    match error:
        case openai.RateLimitError():
            return f"still refuses ({what(error)}): run the same command later, nothing is asked twice"
        case openai.InternalServerError():
            return f"fails ({what(error)}): look at its log, then run the same command again"
        case openai.APIStatusError():
            return f"refuses the request ({what(error)}): check the model's name and the options"
    return f"answers what cannot be read ({what(error)}): is it an OpenAI-compatible base URL?"


def pause(error: Exception, otherwise: float | None) -> float | None:
    """Seconds until a busy server is asked again: as it says, or `otherwise`.

    None to give up: no try is left (`otherwise` is None), no money, or the wait is too long."""
    if otherwise is None or getattr(error, "code", None) == "insufficient_quota":
        return None
    response = getattr(error, "response", None)
    try:
        asked = float(response.headers["retry-after"]) if response is not None else otherwise
    except (KeyError, ValueError):  # not said, or a date
        asked = otherwise
    return max(asked, 0.0) if asked <= _LONGEST_WAIT else None


def filtered(error: Exception) -> bool:
    """Whether a hosted filter, rather than the request's form, is why it was refused."""
    return "content_filter" in f"{getattr(error, 'code', '')} {error}" or "content management policy" in str(error)


def unsupported(error: Exception, options: Sequence[str]) -> str | None:
    """Which of the options a server says that it does not know or allow at all."""
    said = str(error)
    return next((name for name in options if name in said), None) if _UNSUPPORTED.search(said) else None


def what(error: Exception) -> str:
    """The cause of an error, on one line and not too long."""
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
