"""A server, call by call."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from localprobe.client.errors import told, unreachable, unreadable
from localprobe.generators.endpoint_errors import EndpointError
from localprobe.serve.settings import KEY, is_loopback

if TYPE_CHECKING:
    import httpx2

TIMEOUT = 600.0
"""Seconds that a server may be silent, as while an answer waits for its turn."""
_CONNECT = 10.0  # seconds until an address that does not answer is given up
_BINARY = "application/octet-stream"


class Server:
    """The HTTP client of one server. Its methods raise LocalprobeError; they may be called from several threads."""

    def __init__(self, url: str, key: str | None = None, timeout: float = TIMEOUT) -> None:
        """`key` None takes the one of LOCALPROBE_API_KEY, if that is set; `timeout` is in seconds."""
        import httpx2

        self.url = _base(url)
        """`http://HOST:PORT`, without a path of the API."""
        key = (os.environ.get(KEY) or "" if key is None else key).strip()
        if not (key.isascii() and key.isprintable()):
            raise EndpointError(f"the key (`key`, or {KEY}) holds other characters than printable ASCII")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        try:
            host = httpx2.URL(self.url).host
            if not host:
                raise ValueError(host)
            limits = httpx2.Limits(max_connections=None)  # the server says how many answers it gives at a time
            # A proxy of the environment is for other machines.
            self._client = httpx2.Client(
                base_url=self.url,
                headers=headers,
                timeout=httpx2.Timeout(timeout, connect=min(timeout, _CONNECT)),
                limits=limits,
                trust_env=not is_loopback(host),
            )
        except (httpx2.InvalidURL, ValueError, UnicodeError) as error:
            raise EndpointError(f"{self.url} is no address of a server: write http://HOST:PORT") from error

    @property
    def at(self) -> str:
        """Host and port, for a user."""
        return self.url.partition("://")[2]

    def get(self, path: str, **query: str) -> Any:
        """The JSON of a path."""
        return self._json("GET", path, params=query)

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """The JSON that a JSON body is answered with."""
        return self._json("POST", path, json=body)

    def fetch(self, path: str, body: Mapping[str, Any] | None = None, **query: str) -> bytes:
        """The bytes of a path, or those that a JSON body is answered with."""
        if body is None:
            return self._sent("GET", path, params=query).content
        return self._sent("POST", path, params=query, json=body).content

    def put(self, path: str, content: bytes) -> Any:
        """The JSON that bytes are answered with."""
        return self._json("PUT", path, content=content, headers={"Content-Type": _BINARY})

    @contextmanager
    def events(self, path: str, body: Mapping[str, Any]) -> Generator[Generator[dict[str, Any]]]:
        """The JSON events that a JSON body is answered with, for a `with` block; leaving it closes the connection,
        which ends the answer at the server. An event that is an error is raised."""
        import httpx2

        try:
            with self._client.stream("POST", path, json=body) as response:
                self._check(response)
                yield self._read(response)
        except httpx2.HTTPError as error:
            raise unreachable(self.url, error) from error

    def models(self) -> list[str]:
        """The models that can answer."""
        listed = self.get("/v1/models")
        try:
            return [str(model["id"]) for model in listed["data"]]
        except (KeyError, TypeError) as error:
            raise unreadable(self.url, "a list without models") from error

    def health(self) -> dict[str, Any]:
        """The state of the server and its models, ready or not."""
        return dict(self._read_json(self._answered("GET", "/health")))

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def _json(self, method: str, path: str, **about: Any) -> Any:
        return self._read_json(self._sent(method, path, **about))

    def _read_json(self, response: httpx2.Response) -> Any:
        try:
            return response.json()
        except (ValueError, RecursionError) as error:
            raise unreadable(self.url, str(error)) from error

    def _sent(self, method: str, path: str, **about: Any) -> httpx2.Response:
        """The answer to a request that the server did not refuse."""
        response = self._answered(method, path, **about)
        self._check(response)
        return response

    def _answered(self, method: str, path: str, **about: Any) -> httpx2.Response:
        import httpx2

        try:
            return self._client.request(method, path, **about)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise unreachable(self.url, error) from error

    def _check(self, response: httpx2.Response) -> None:
        if response.is_success:
            return
        response.read()
        try:
            body = response.json()
        except (ValueError, RecursionError):
            body = response.text
        raise told(self.url, response.status_code, body)

    def _read(self, response: httpx2.Response) -> Generator[dict[str, Any]]:
        import httpx2

        for event in httpx2.EventSource(response):
            if event.data == "[DONE]":
                return
            try:
                body = event.json()
            except (ValueError, RecursionError) as error:
                raise unreadable(self.url, str(error)) from error
            if not isinstance(body, dict):
                raise unreadable(self.url, "an event is no object")
            if "error" in body:
                raise told(self.url, 0, body)
            yield body
        raise EndpointError(f"{self.url} ended the answer before it was complete: is the server still running?")


def _base(url: str) -> str:
    """The address without the path that OpenAI's clients are given."""
    scheme, mark, rest = url.strip().rpartition("://")
    return f"{scheme}{mark or 'http://'}{rest.rstrip('/').removesuffix('/v1').rstrip('/')}"
