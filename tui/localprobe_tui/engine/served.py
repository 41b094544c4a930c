"""The app's model on a server instead of in a child process."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from localprobe.client.connecting import connect
from localprobe.client.model import RemoteModel
from localprobe.client.server import Server
from localprobe.engines.loading import Stage
from localprobe.errors import Cancelled, UsageError
from localprobe_tui.engine.session import EngineSession
from localprobe_tui.engine.work import on_the_loop

if TYPE_CHECKING:
    from localprobe.engines.spec import ModelSpec
    from localprobe.models.inventory import Item


class ServerSession(EngineSession):
    """A model of a server, or none. Loading means to connect to it, and to wait until the server has loaded it."""

    def __init__(self, url: str, key: str | None = None) -> None:
        """`key` None takes the one of LOCALPROBE_API_KEY. EndpointError if `url` is no address."""
        super().__init__()
        self._url, self._key = url, key
        self._cancelled = threading.Event()
        server = Server(url, key)
        server.close()
        self.at = server.at

    async def load(self, spec: ModelSpec) -> RemoteModel:
        """Connect to a model of the server in place of the current one; an empty name takes the one that it has loaded.
        Raises UsageError while the model is busy, else what `localprobe.connect` raises."""
        if self.busy or self.state == "loading":
            raise UsageError(f"a model cannot be chosen now: {self.busy or 'another one is being connected to'}")
        self.last_spec = spec
        self._change("loading")
        self._reported(Stage("engine", f"connecting to {self.at}"))
        report, cancelled = on_the_loop(self._reported), threading.Event()
        self._cancelled = cancelled

        def waiting(why: str) -> None:
            if cancelled.is_set():
                raise Cancelled("connecting was cancelled")
            report(Stage("engine", f"{self.at} loads {why}"))

        try:
            connecting = self._submit(lambda: connect(self._url, self._key, model=spec.name or None, waiting=waiting))
            model = (await connecting).get()
        except BaseException:  # the caller's own cancellation too
            cancelled.set()
            self._change("ready" if self.model else "empty")
            raise
        if self.model is not None:
            self.model.close()
        self.model = model
        self._change("ready")
        return model

    def cancel_load(self) -> None:
        """Give up waiting for a model that the server loads; `load` then raises Cancelled."""
        self._cancelled.set()

    def items(self) -> list[Item]:
        """The models of the server that can answer."""
        from localprobe.models.inventory import Item, Use

        model = self.model
        if not isinstance(model, RemoteModel):
            return []
        uses = [Use(model.info.engine, True, None, None)]
        return [Item(name, self.at, "", 0, None, uses=uses) for name in model.models()]
