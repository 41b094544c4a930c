"""Errors as the API tells them: a status, and OpenAI's envelope around one line."""

from __future__ import annotations

from typing import Any

from localprobe import errors as core
from localprobe.errors import LocalprobeError, first_line

BUG = "internal_error"
"""The code of an error that is a fault of the server."""
_SORRY = "the server failed on this request; its log says more"


class ApiError(Exception):
    """A refusal or a failure, with the status that the client gets."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "",  # noqa: A002 (OpenAI's word)
        code: str | None = None,
        param: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.type = type or _kind(status)
        """OpenAI's kind of an error: `invalid_request_error`, `server_error`, ..."""
        self.code = code
        self.param = param
        """The field of the body that is at fault."""
        self.retry_after = retry_after
        """Seconds after which the request may be sent again."""

    @property
    def headers(self) -> dict[str, str]:
        """The headers that go with the answer."""
        return {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}


def envelope(error: ApiError) -> dict[str, Any]:
    """The body of an error, as OpenAI's API writes it."""
    return {"error": {"message": error.message, "type": error.type, "param": error.param, "code": error.code}}


def api_error(error: BaseException, *, param: str | None = None) -> ApiError:
    """Any error as one of the API. What is no error of ours is a fault of the server, and its text is not told."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, TimeoutError):
        return ApiError(504, str(error) or "the request took longer than the server allows", code="deadline")
    if not isinstance(error, LocalprobeError):
        return ApiError(500, _SORRY, code=BUG)
    message = first_line(error)
    for kind, (status, code, retry_after) in _STATUS.items():
        if isinstance(error, kind):
            return ApiError(status, message, code=code, param=param, retry_after=retry_after)
    return ApiError(400, message, param=param)


_STATUS: dict[type[LocalprobeError], tuple[int, str | None, int | None]] = {
    core.QueueFull: (429, "queue_full", 1),
    core.Cancelled: (503, "unavailable", 5),
    core.EngineCrashed: (503, "engine_crashed", 5),
    core.EngineStopped: (503, "engine_stopped", 5),
    core.OutOfMemory: (503, "out_of_memory", 5),
    core.UnknownModel: (404, "model_not_found", None),
    core.NotDownloaded: (404, "model_not_found", None),
    core.ModelError: (400, "model_error", None),
    core.UnknownEngine: (400, "engine_unknown", None),
    core.EngineNotInstalled: (400, "engine_not_installed", None),
    core.EngineError: (500, "engine_error", None),
    core.VectorError: (400, "vector_error", None),
    core.UsageError: (400, None, None),
}
"""The first kind that fits decides: status, code, and seconds until a retry makes sense."""


def _kind(status: int) -> str:
    kinds = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
    return kinds.get(status, "server_error" if status >= 500 else "invalid_request_error")
