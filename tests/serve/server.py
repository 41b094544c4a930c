"""A real server on loopback, over the fake engine in this process, and vectors for it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import numpy as np
import openai
import uvicorn

from localprobe.engine import Engine, IntArray, Step
from localprobe.engines.spec import ModelSpec
from localprobe.errors import EngineCrashed
from localprobe.fake import FakeEngine
from localprobe.fake.stream import FakeStream
from localprobe.model import Model
from localprobe.serve.app import create_app
from localprobe.serve.host import Host
from localprobe.serve.hosted import Slot
from localprobe.serve.settings import Settings
from localprobe.vectors.library import Library
from localprobe.vectors.vector import Direction, Origin, Vector

LAYER = 3
"""The best layer of `planted`."""


@dataclass(frozen=True)
class Server:
    """A running server."""

    url: str
    host: Host
    http: httpx.Client = field(repr=False)

    @property
    def client(self) -> openai.OpenAI:
        """OpenAI's own client, on it."""
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0)

    def chat(self, text: str = "Hello", **fields: Any) -> Any:
        """An answer to a message, as JSON values; `fields` of the body besides."""
        body = {"messages": [{"role": "user", "content": text}], "max_tokens": 12, **fields}
        answer = self.http.post("/v1/chat/completions", json=body)
        return answer.json()


@contextmanager
def serving(
    settings: Settings = Settings(),
    *,
    load: Callable[[Slot], Engine] = lambda slot: FakeEngine(slot.spec.name),
    names: tuple[str, ...] = ("fake",),
    engine: str = "fake",
    ready: bool = True,
) -> Iterator[Server]:
    """A server, `ready` unless its model is to be waited for."""
    host = Host(
        [ModelSpec(name, engine) for name in names],
        settings.limits,
        resident=settings.resident,
        load_on_request=settings.load_on_request,
        load=load,
        known=lambda spec: None,
    )
    config = uvicorn.Config(create_app(host, settings), log_level="warning", lifespan="off")
    server, listening = uvicorn.Server(config), socket.create_server(("127.0.0.1", 0))
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as the sockets of `localprobe serve` are
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    host.start()
    thread.start()
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    try:
        with httpx.Client(base_url=url, timeout=60) as client:
            if ready:
                wait_for(lambda: host.status()[1]["status"] != "loading", 120)
                assert host.status()[0], host.status()
            yield Server(url, host, client)
    finally:
        server.should_exit = True
        thread.join(20)
        host.close()
        listening.close()


def wait_for(holds: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait until something holds."""
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, "it did not come to hold"
        time.sleep(0.01)


def planted(concept: str = "warm", *, seed: int = 0, name: str = "fake", weights: str = "") -> Vector:
    """A random direction for each layer of the fake model, kept in the library; `weights` may be others."""
    with Model(FakeEngine(name)) as model:
        info = model.info
        random = np.random.default_rng(seed)
        directions = {
            layer: Direction((v / np.linalg.norm(v)).astype(np.float32))
            for layer, v in enumerate(random.normal(size=(info.layers, info.width)))
        }
        origin = Origin.of(info, method="mean-difference", pooling="mean")
        vector = Vector(concept, replace(origin, weights=weights or origin.weights), directions, LAYER)
    Library().keep(vector)
    return vector


class Mortal(FakeEngine):
    """An engine that can be killed as a child can: set `alive` to False."""

    alive = True

    def encode(self, text: str, *, template: bool = False) -> IntArray:
        self.live()
        return super().encode(text, template=template)

    def open(self, *arguments: Any, **named: Any) -> FakeStream:
        stream = super().open(*arguments, **named)
        step = stream.step

        def stepped(uniforms: Any) -> Step:
            self.live()
            return step(uniforms)

        stream.step = stepped  # type: ignore[method-assign]
        return stream

    def live(self) -> None:
        """Raise EngineCrashed if it is dead."""
        if not self.alive:
            raise EngineCrashed("the fake engine died; the model can be loaded again")
