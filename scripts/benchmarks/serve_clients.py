"""Servers as processes of their own, and their clients: the same requests, one after another or at once, over HTTP."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from typing import Any, TypeAlias

import httpx

from benchmarks.plain import LOCALPROBE, WAIT

Body: TypeAlias = Mapping[str, Any]
"""Of a request to `/v1/chat/completions`."""
_CHAT = "/v1/chat/completions"


@contextmanager
def process(command: Sequence[str], url: str | None = None, health: str = "/v1/models") -> Iterator[str]:
    """A server until the block ends, which begins once it answers: its URL, the one that it prints if None is given."""
    with tempfile.TemporaryFile("w+") as said:
        running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True)
        try:
            assert running.stdout is not None
            if url is None:
                found = re.search(r"http://\S+", line := running.stdout.readline())
                if found is None:
                    raise SystemExit(f"{command[0]} did not say where it serves: {line}{_read(said)}")
                url = found[0]
            end = time.monotonic() + WAIT
            while not _answers(url + health):
                if running.poll() is not None or time.monotonic() > end:
                    raise SystemExit(f"{' '.join(command)} does not answer: {_read(said)}")
                time.sleep(0.2)
            yield url
        finally:
            running.terminate()
            try:
                running.wait(20)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()


def localprobe(engine: str, *options: str) -> list[str]:
    """The command of a server of ours, which prints its URL."""
    return [LOCALPROBE, "serve", "smollm2-135m", "--engine", engine, "--port", "0", *options]


class Clients:
    """As many clients of a server as there are requests, on one event loop. Their connections are kept."""

    def __init__(self, url: str) -> None:
        self._runner = asyncio.Runner()
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        self._http = httpx.AsyncClient(base_url=url, timeout=WAIT, limits=limits, trust_env=False)

    def at_once(self, bodies: Sequence[Body]) -> float:
        """Seconds a token of answers that are asked for together."""

        async def asked() -> list[int]:
            return await asyncio.gather(*map(self._tokens, bodies))

        return self._timed(asked)

    def in_turn(self, bodies: Sequence[Body]) -> float:
        """Seconds a token of answers that are asked for one after another."""

        async def asked() -> list[int]:
            return [await self._tokens(body) for body in bodies]

        return self._timed(asked)

    def rate(self, body: Body) -> float:
        """Tokens a second of a streamed answer, from its first piece of text to its last, as a client sees them."""

        async def asked() -> float:
            async with self._streaming(body) as pieces:
                times = [time.perf_counter() async for _ in pieces]
            return (len(times) - 1) / (times[-1] - times[0])

        return self._runner.run(asked())

    def first(self, bodies: Sequence[Body], apart: float) -> list[float]:
        """Seconds from each request to its first piece of text, where requests are sent `apart` seconds apart. Once all
        have begun, they are broken off."""

        async def asked() -> list[float]:
            begun = asyncio.Barrier(len(bodies))
            return await asyncio.gather(*(self._first(body, n * apart, begun) for n, body in enumerate(bodies)))

        return self._runner.run(asked())

    def close(self) -> None:
        self._runner.run(self._http.aclose())
        self._runner.close()

    def _timed(self, asked: Callable[[], Any]) -> float:
        start = time.perf_counter()
        counts: list[int] = self._runner.run(asked())
        return (time.perf_counter() - start) / sum(counts)

    async def _tokens(self, body: Body) -> int:
        """The number of tokens of an answer."""
        answer = await self._http.post(_CHAT, json=body)
        if answer.is_error:
            raise RuntimeError(f"{answer.url}: {answer.text}")
        return int(answer.json()["usage"]["completion_tokens"])

    async def _first(self, body: Body, after: float, begun: asyncio.Barrier) -> float:
        await asyncio.sleep(after)
        start = time.perf_counter()
        async with self._streaming(body) as pieces:
            await anext(pieces)
            seconds = time.perf_counter() - start
            await begun.wait()
        return seconds

    @asynccontextmanager
    async def _streaming(self, body: Body) -> AsyncIterator[AsyncIterator[str]]:
        """The pieces of text of a streamed answer."""
        async with self._http.stream("POST", _CHAT, json={**body, "stream": True}) as answer:
            if answer.is_error:
                raise RuntimeError(f"{answer.url}: {(await answer.aread()).decode()}")
            async with aclosing(_pieces(answer)) as pieces:
                yield pieces


async def _pieces(answer: httpx.Response) -> AsyncGenerator[str]:
    async for line in answer.aiter_lines():
        if line.startswith("data: {"):
            chunk = json.loads(line.removeprefix("data: "))
            if text := chunk["choices"] and chunk["choices"][0]["delta"].get("content"):
                yield text


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5, trust_env=False).is_success
    except httpx.TransportError:
        return False


def _read(said: Any) -> str:
    said.seek(0)
    return str(said.read())
