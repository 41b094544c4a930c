"""Errors of a server as the ones that the same mistake raises with a model of this process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from localprobe import errors
from localprobe.errors import LocalprobeError
from localprobe.generators.endpoint_errors import EndpointError

_KINDS: dict[str, type[LocalprobeError]] = {
    "engine_crashed": errors.EngineCrashed,
    "engine_stopped": errors.EngineStopped,
    "engine_error": errors.EngineError,
    "out_of_memory": errors.OutOfMemory,
    "answer_too_large": errors.OutOfMemory,
    "too_many_tokens": errors.OutOfMemory,
    "model_not_found": errors.UnknownModel,
    "model_failed": errors.ModelError,
    "model_error": errors.ModelError,
    "vector_error": errors.VectorError,
    "vector_name": errors.VectorError,
    "vector_not_found": errors.VectorError,
}
"""The `code` of an envelope -> what it is here."""
_LONGEST = 300  # characters of a text that is no envelope


def told(where: str, status: int, body: Any) -> LocalprobeError:
    """The error that a server answers: OpenAI's envelope, or whatever another program sends. `status` is 0 for an error
    in mid-answer."""
    envelope = body.get("error") if isinstance(body, Mapping) else None
    if not isinstance(envelope, Mapping) or not isinstance(message := envelope.get("message"), str):
        said = " ".join(str(body).split())[:_LONGEST] if body else "nothing more"
        return EndpointError(f"{where} answers with status {status}: {said}")
    code, kind = envelope.get("code"), envelope.get("type")
    if isinstance(code, str) and code in _KINDS:
        return _KINDS[code](message)
    if status == 401 or kind == "authentication_error":
        return EndpointError(f"{where} refuses the key: {message}; give `key`, or set LOCALPROBE_API_KEY")
    if kind == "invalid_request_error":
        return errors.UsageError(message)
    return EndpointError(f"{where}: {message}")


def unreachable(where: str, error: Exception) -> EndpointError:
    """The error of a server that cannot be reached, or is gone."""
    import httpx2

    match error:
        case httpx2.ConnectError():
            return EndpointError(f"no server answers at {where}: start `localprobe serve` there, or check the address")
        case httpx2.ConnectTimeout():
            return EndpointError(f"{where} cannot be reached in time: check the address")
        case httpx2.TimeoutException():
            return EndpointError(f"{where} has been silent for too long: give a longer `timeout`, or look at its log")
        case httpx2.SSEError() | httpx2.DecodingError():
            return unreadable(where, str(error))
        case httpx2.UnsupportedProtocol() | httpx2.InvalidURL():
            return EndpointError(f"{where} is no address of a server: write http://HOST:PORT")
    return EndpointError(f"{where} closed the connection: is the server still running?")


def unreadable(where: str, why: str) -> EndpointError:
    """The error of an answer that is none of `localprobe serve`."""
    return EndpointError(f"{where} answers what cannot be read ({why[:_LONGEST]}): is it `localprobe serve`?")
