"""The one engine of the app, in a child process, and the one thread that talks to it.

The screens are asyncio, the engine blocks. `call` and `iterate` run work in the thread, in order, and return its
results. Nothing here depends on Textual.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

from localprobe.engines.loading import Loader, Stage, end
from localprobe.errors import EngineCrashed, EngineError, UsageError
from localprobe_tui.engine.work import OneThread, Outcome, on_the_loop

if TYPE_CHECKING:
    from localprobe.engines.spec import ModelSpec
    from localprobe.model import Model
    from localprobe.models.inventory import Item

T = TypeVar("T")
State: TypeAlias = Literal["empty", "loading", "ready", "dead"]

_WAITING = 256  # items of a stream that may wait for the screen before the engine waits too
_GATHER = 0.06  # seconds that items are gathered for: waking the loop for each token would take time from the engine
_PATIENCE = 0.5  # seconds that `close` gives the thread to end


class EngineSession:
    """A model, or none; one dedicated thread makes every blocking call to it.

    `remote=False` runs the engine in this process, for quick tests. All methods belong to the event loop's thread.
    """

    def __init__(self, *, remote: bool = True) -> None:
        self.model: Model | None = None
        self.state: State = "empty"
        self.message = ""
        """How the engine died."""
        self.stage: Stage | None = None
        """The stage of a load; None while nothing is loading."""
        self.busy: str | None = None
        """What the engine is reserved for, in words for the user; None while it is free."""
        self.last_spec: ModelSpec | None = None
        """The last model that was loaded or requested, for loading it again."""
        self.at = ""
        """Host and port of the server that runs the model; empty for this machine."""
        self._remote = remote
        self._listeners: list[Callable[[], None]] = []
        self._loader: Loader | None = None
        self._stops: set[threading.Event] = set()  # of the streams that are running
        self._closed = False
        self._thread = OneThread("localprobe session")

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Call `listener` on the event loop after each change of `model`, `state`, `stage` or `busy`."""
        self._listeners.append(listener)

    async def load(self, spec: ModelSpec) -> Model:
        """Load a model in place of the current one; `stage` has the progress.

        Raises Cancelled after `cancel_load`, UsageError while the engine is busy, else what `Model.load` raises. The
        old model stays until the new one's weights are on this disk. If the caller is cancelled, so is the load.
        """
        if self.busy or self.state == "loading":
            raise UsageError(f"a model cannot be loaded now: {self.busy or 'another one is being loaded'}")
        self.last_spec = spec
        report = on_the_loop(self._reported)
        loader = self._loader = Loader(spec, remote=self._remote, measure=True, report=report)
        self._change("loading")
        try:
            self.model = (await self._submit(lambda: self._load(loader))).get()
        except BaseException:  # the caller's own cancellation too
            loader.cancel()
            self._change("ready" if self.model else "empty")
            raise
        finally:
            self._loader = None
        self._change("ready")
        return self.model

    def cancel_load(self) -> None:
        """End a load; `load` then raises Cancelled. A child that was started for it is gone when this returns."""
        if self._loader is not None:
            self._loader.cancel()

    async def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run a blocking function in the engine's thread. What it raises is raised here."""
        try:
            return (await self._submit(lambda: function(*arguments))).get()
        except EngineCrashed as error:
            self._died(error)
            raise

    async def iterate(self, factory: Callable[[], Iterator[T]]) -> AsyncGenerator[T]:
        """Items of a generator that runs in the engine's thread, at most about 256 items ahead.

        Leaving the loop (use `contextlib.aclosing`) closes the generator before its next item.
        """
        loop, ready, stop = asyncio.get_running_loop(), asyncio.Event(), threading.Event()
        items: deque[T] = deque()
        self._stops.add(stop)
        running = self._submit(lambda: _produce(factory, items, stop, loop, ready))
        running.add_done_callback(lambda _: ready.set())
        try:
            ended = woken = False
            while not ended:
                ended = running.done()  # asked first: whatever it put is in the queue by then
                ready.clear()
                while items:
                    yield items.popleft()
                if not ended:
                    await ready.wait()
                    if woken:  # the first one is shown at once, and so is the end
                        await asyncio.wait([running], timeout=_GATHER)
                    woken = True
            running.result().get()
        except EngineCrashed as error:
            self._died(error)
            raise
        finally:
            stop.set()
            self._stops.discard(stop)
            await asyncio.wait([running])

    def free(self) -> Model:
        """The model. Raises UsageError if it is reserved or not loaded."""
        if self.busy:
            raise UsageError(f"the model is busy {self.busy}: wait for it, or stop it")
        if self.model is None or self.state != "ready":
            loading = self.state == "loading"
            raise UsageError("the model is still loading" if loading else "no model is loaded: choose one (F4)")
        return self.model

    def items(self) -> list[Item]:
        """The models that can be loaded. Takes a moment."""
        from localprobe.models import inventory

        return inventory.items()

    @contextmanager
    def reserved(self, reason: str) -> Iterator[Model]:
        """Reserve the engine for one purpose, such as "capturing for a probe"; gives the model. UsageError as
        `free`."""
        model = self.free()
        self.busy = reason
        self._tell()
        try:
            yield model
        finally:
            self.busy = None
            self._tell()

    async def check(self) -> None:
        """Check whether the child is still alive; call it regularly while nothing else uses the child."""
        engine = self.model.engine if self.model else None
        if self.state == "ready" and engine is not None and getattr(engine, "alive", True) is False:
            with suppress(EngineCrashed):
                # Raises how it died. Two ids: the text of a single one may be known on this side.
                await self.call(engine.decode, [0, 0])

    def close(self) -> None:
        """End the child and the thread, in well under a second. Closing twice is allowed."""
        self._closed = True
        for stop in self._stops:
            stop.set()
        self.cancel_load()
        if self.model is not None:
            end(self.model.engine)
            self.model = None
        self._thread.close(_PATIENCE)

    def _load(self, loader: Loader) -> Model:
        from localprobe.capture.scale import residual_mean
        from localprobe.model import Model

        with closing(loader.stages()) as stages:
            for stage in stages:
                if stage.step == "memory" and self.model is not None:  # two models may not fit
                    self.model.close()
                    self.model = None
        model = Model(loader.engine)
        assert loader.scale is not None  # it was requested
        # Kept: measured later, they would stop the screen, and call the engine from its thread.
        model.scale, model.neutral_mean = loader.scale, residual_mean(loader.engine)
        return model

    def _submit(self, function: Callable[[], T]) -> asyncio.Future[Outcome[T]]:
        if self._closed:
            raise EngineError("localprobe is closing")
        return self._thread.submit(function)

    def _reported(self, stage: Stage) -> None:
        if self.state == "loading":
            self.stage = stage
            self._tell()

    def _died(self, error: EngineCrashed) -> None:
        if self.state == "ready" and not self._closed:
            self.model = None
            self._change("dead", str(error))

    def _change(self, state: State, message: str = "") -> None:
        self.state, self.message, self.stage = state, message, None
        self._tell()

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()


def _produce(
    factory: Callable[[], Iterator[T]],
    items: deque[T],
    stop: threading.Event,
    loop: asyncio.AbstractEventLoop,
    ready: asyncio.Event,
) -> None:
    """Append every item until the generator ends or `stop` is set, in the thread."""
    generator = factory()
    try:
        for item in generator:
            while len(items) >= _WAITING and not stop.wait(0.01):
                pass
            if stop.is_set():
                return
            items.append(item)
            if not ready.is_set():  # if it is, the loop has not taken the last one yet, and takes this one with it
                loop.call_soon_threadsafe(ready.set)
    finally:
        if close := getattr(generator, "close", None):
            close()
