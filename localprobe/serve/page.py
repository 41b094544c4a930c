"""`GET /`: the chat page, one file that asks nothing of any other host.

What a model writes is not to be trusted. The page shows it as text, and its Content-Security-Policy has the browser
refuse every script, style and connection that is not the page's own.
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib.resources import files

from starlette.responses import Response

from localprobe.serve.endpoint import Call, Endpoint

_FILE = "page.html"


@cache
def html() -> str:
    """The page."""
    return (files("localprobe.serve") / _FILE).read_text("utf-8")


@cache
def headers() -> dict[str, str]:
    """The headers that go with it."""
    policy = {
        "default-src": "'none'",
        "script-src": _hash_of("script"),
        "style-src": _hash_of("style"),
        "img-src": "data:",  # the icon
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",  # the browser refuses innerHTML and its like
        "trusted-types": "'none'",
    }
    return {
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "Cache-Control": "no-cache",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }


def _hash_of(tag: str) -> str:
    """What allows the page's one element of this name, and no other."""
    (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", html(), re.DOTALL)
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


async def page(call: Call[None]) -> Response:
    """Open without a key, which the page itself asks for: it holds nothing that needs one."""
    return Response(html(), media_type="text/html", headers=headers())


ENDPOINTS = [Endpoint("GET", "/", page, "The chat page", gives=("text/html",), open=True)]
