"""Finding a model on a server, and waiting for it while the server loads it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from localprobe.client.model import RemoteModel
from localprobe.client.server import TIMEOUT, Server
from localprobe.errors import ModelError, UnknownModel
from localprobe.generators.endpoint_errors import EndpointError

_LOOK = 0.5  # seconds between two looks at whether a model is loaded


def connect(
    url: str,
    key: str | None = None,
    *,
    model: str | None = None,
    timeout: float = TIMEOUT,
    waiting: Callable[[str], None] = lambda why: None,
) -> RemoteModel:
    """The model of a server at `http://HOST:PORT`, waited for while it is being loaded; `model` names one of several.

    `key` None takes the one of LOCALPROBE_API_KEY; `timeout` is how many seconds the server may be silent. `waiting` is
    called with how far a load is, now and then, and may raise to give up. Raises EndpointError if there is no such
    server or it refuses the key, UnknownModel, or ModelError for a failed load.
    """
    server = Server(url, key, timeout)
    try:
        return RemoteModel(server, _ready(server, model, timeout, waiting))
    except BaseException:
        server.close()
        raise


def _ready(server: Server, name: str | None, patience: float, waiting: Callable[[str], None]) -> dict[str, Any]:
    """What the server says of a model, once it is loaded."""
    until = time.monotonic() + patience
    while True:
        found = name or next(iter(server.models()), None) or _loading(server)
        described: dict[str, Any] = server.get(f"/v1/models/{quote(found)}")
        about = described.get("localprobe")
        if not isinstance(about, dict):
            raise EndpointError(f"{server.url} says nothing of residuals: is it `localprobe serve`?")
        match about.get("state"):
            case "ready":
                return described
            case "loading" if time.monotonic() > until:
                raise EndpointError(f"{server.url} has been loading {found} for too long: give a longer `timeout`")
            case "loading":
                pass
            case "failed":
                raise ModelError(f"{found} cannot be loaded on {server.url}: {about.get('error')}")
            case state:
                raise UnknownModel(f"{found} is {state} on {server.url}: it answers with {_list(server.models())}")
        waiting(f"{found}: {about.get('stage') or 'loading'}")
        time.sleep(_LOOK)


def _list(names: list[str]) -> str:
    return ", ".join(names) or "no model"


def _loading(server: Server) -> str:
    """The model that a server without a ready one is loading, or that failed."""
    models = server.health().get("models", [])
    if not models:
        raise UnknownModel(f"{server.url} has no model")
    return str(models[0]["id"])
