"""The server's life: it listens, tells where, answers, and stops without losing an answer.

The first SIGTERM, SIGINT or SIGHUP stops it gracefully: new requests are refused with 503, running answers may go on
for `Settings.grace` seconds. The second ends it at once.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn
from starlette.applications import Starlette

from localprobe.serve.exchange import Observed
from localprobe.serve.guard import Door, guarded
from localprobe.serve.guard.connections import HEAD, KEEP_ALIVE, limited
from localprobe.serve.host import Host
from localprobe.serve.log import access_log, log_to_stderr
from localprobe.serve.metrics import Metrics
from localprobe.serve.settings import Settings
from localprobe.serve.sockets import BACKLOG, bind, connections, url
from localprobe.terminal_text import tell

_LOOK = 0.05  # seconds between two looks at whether the last answer is sent
_SWITCH = 0.0005  # seconds until a scheduler gets Python's lock from the loop, which writes chunks; usually 0.005
_LAST_WORDS = 2  # seconds that answers which were broken off have to say so


def serve(app: Starlette, host: Host, settings: Settings, *, say: Callable[[str], None] = tell) -> None:
    """Serve an app until a signal ends it; its models are loaded meanwhile, and freed when this returns. `say` gets
    the line that names the address. UsageError if the server cannot listen there."""
    sockets = bind(settings)
    try:
        write = log_to_stderr()
        metrics: Metrics = app.state.metrics
        door = guarded(app, settings)
        log = access_log(write, texts=settings.log_prompts)
        observed = Observed(door, (metrics.observe, log), texts=settings.log_prompts)
        server = Server(_config(observed, settings), door, host, settings.grace)
        with _heard(server.handle_exit):
            usual = sys.getswitchinterval()
            sys.setswitchinterval(_SWITCH)
            try:
                host.start()
                say(f"localprobe serves on {url(sockets)} (Ctrl-C stops it)")
                sys.stdout.flush()  # a program that started the server reads the line from a pipe
                server.run(sockets)
            finally:
                sys.setswitchinterval(usual)
                host.close()
    finally:
        for each in sockets:
            each.close()


def _config(app: Observed, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=limited(connections(settings.connections), settings.header_timeout, settings.body_timeout),
        ws="none",
        lifespan="off",
        loop="asyncio",
        log_config=None,  # see `localprobe.serve.log`
        access_log=False,
        proxy_headers=False,  # anybody could name himself in them
        server_header=False,
        backlog=BACKLOG,
        h11_max_incomplete_event_size=HEAD,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=_LAST_WORDS,
    )


class Server(uvicorn.Server):
    """uvicorn's, which on a signal lets running answers end before it closes its sockets."""

    def __init__(self, config: uvicorn.Config, door: Door, host: Host, grace: float) -> None:
        super().__init__(config)
        self._door, self._host, self._grace = door, host, grace

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._finish_answers()
        # What still runs is told that the engine is gone, as an error of its own.
        await asyncio.to_thread(self._host.close)
        await super().shutdown(sockets)

    async def _finish_answers(self) -> None:
        self._door.closed = True
        loop = asyncio.get_running_loop()
        until = loop.time() + self._grace
        while self._door.inside and not self.force_exit and loop.time() < until:
            await asyncio.sleep(_LOOK)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit:
            self.force_exit = True
        self.should_exit = True

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """uvicorn's own raises signals again in the end, and the exit status would not be 0."""
        yield  # `serve` hears signals from before this runs until the models are freed


@contextmanager
def _heard(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Call a handler for the signals that stop the server, without those that it is told to ignore, as by `nohup`."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread may change handlers
        yield
        return
    usual = [signal.SIGTERM, signal.SIGINT, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    heard = [number for number in usual if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in heard}
    try:
        yield
    finally:
        for number, other in before.items():
            signal.signal(number, other)
