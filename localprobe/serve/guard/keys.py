"""API keys: where they come from, and the check of every request."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import stat
import warnings
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

from localprobe.errors import DataError, LocalprobeWarning
from localprobe.serve.errors import ApiError
from localprobe.serve.guard.refusal import refuse, values
from localprobe.serve.settings import KEY

_COMMENT = re.compile(r"(?:^|\s)#")
OPEN = frozenset({"/", "/health"})
"""Paths that answer without a key: the page, in which a key is typed, and the state for a load balancer."""


class Keys:
    """Lets in requests that carry one of the keys as `Authorization: Bearer KEY`; without keys, all."""

    def __init__(self, app: ASGIApp, keys: Sequence[str], open_paths: Collection[str] = OPEN) -> None:
        self._app, self._open = app, open_paths
        self._digests = [_digest(key.encode()) for key in keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self._digests or scope["path"] in self._open:
            await self._app(scope, receive, send)
        elif error := self._refusal(values(scope, b"authorization")):
            await refuse(error, send, (b"www-authenticate", b"Bearer"))
        else:
            await self._app(scope, receive, send)

    def _refusal(self, sent: list[str]) -> ApiError | None:
        scheme, _, key = sent[0].partition(" ") if len(sent) == 1 else ("", "", "")
        if scheme.lower() != "bearer" or not key.strip():
            return ApiError(401, "this server asks for an API key: send Authorization: Bearer KEY", code="no_api_key")
        digest = _digest(key.strip().encode("latin-1"))
        # Digests have one length, and all are compared: the time tells neither how much of a key was right nor which.
        if any([hmac.compare_digest(digest, each) for each in self._digests]):  # noqa: C419
            return None
        return ApiError(401, "the API key is wrong", code="invalid_api_key")


def read_keys(path: Path | None, environ: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """The keys of a file, one a line, and the one in LOCALPROBE_API_KEY, each once. A `#` that begins a line or follows
    a space begins a comment.

    Warns if other users may read the file. Raises DataError for a file that cannot be read, that holds no key, or with
    a line that no header can carry. No message holds a key.
    """
    keys = [] if path is None else _of_file(path)
    if own := environ.get(KEY, "").strip():
        keys.append(_checked(own, KEY))
    return tuple(dict.fromkeys(keys))


def _of_file(path: Path) -> list[str]:
    try:
        lines = path.read_text("utf-8-sig").splitlines()
        mode = path.stat().st_mode
    except (OSError, UnicodeDecodeError) as error:
        why = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise DataError(f"{path} cannot be read ({why}): give --api-key-file a text file, one key a line") from error
    if os.name == "posix" and mode & (stat.S_IRGRP | stat.S_IROTH):
        warnings.warn(LocalprobeWarning(f"{path} can be read by other users: chmod 600 it"), stacklevel=3)
    written = [(number, _COMMENT.split(line)[0].strip()) for number, line in enumerate(lines, 1)]
    keys = [_checked(key, f"{path}, line {number}") for number, key in written if key]
    if not keys:
        raise DataError(f"{path} holds no key: write one a line")
    return keys


def _checked(key: str, where: str) -> str:
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise DataError(f"{where}: a key holds only printable ASCII without spaces")
    return key


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
