"""The one engine of the app, in a child process, and the one thread that talks to it.

The screens are asyncio, the engine blocks. `call` and `iterate` hand work to the thread, in order, and bring back what
comes of it. Nothing here knows of Textual.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

from localprobe.errors import EngineCrashed, EngineError, LocalprobeError, UsageError
from localprobe.progress import Progress, silent
from localprobe_tui.work import OneThread, on_the_loop

if TYPE_CHECKING:
    from localprobe.engine import Engine, LoadOptions
    from localprobe.model import Model
    from localprobe.remote import Loading

T = TypeVar("T")
State: TypeAlias = Literal["empty", "loading", "ready", "dead"]

_WAITING = 256  # items of a stream that may wait for the screen before the engine waits too
_GATHER = 0.06  # seconds that items are gathered for: waking the loop for each token would take time from the engine
_PATIENCE = 0.5  # seconds that `close` gives the thread to end


class Cancelled(LocalprobeError):
    """The user cancelled a load."""


class Session:
    """A model, or none; one dedicated thread makes every blocking call to it.

    `remote=False` runs the engine in this process, for quick tests. All methods belong to the event loop's thread.
    """

    def __init__(self, *, remote: bool = True) -> None:
        self.model: Model | None = None
        self.state: State = "empty"
        self.message = ""
        """Why the engine is dead, or what a load is doing."""
        self.progress: tuple[int, int] = (0, 0)
        """Bytes of the load's stage that are done, and in all; 0 in all if nobody knows."""
        self.busy: str | None = None
        """What the engine is reserved for, as a user reads it; None while it is free."""
        self.asked: tuple[str, str | None, LoadOptions | None] | None = None
        """Name, engine and options of the last load, for loading it again."""
        self._remote = remote
        self._listeners: list[Callable[[], None]] = []
        self._cancel = threading.Event()
        self._loading: Loading | None = None
        self._half: Engine | None = None  # loaded, not yet checked
        self._stops: set[threading.Event] = set()  # of the streams that are running
        self._closed = False
        self._thread = OneThread("localprobe session")

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Call `listener` on the event loop after each change of `model`, `state`, `message` or `busy`."""
        self._listeners.append(listener)

    async def load(
        self,
        name: str,
        engine: str | None = None,
        options: LoadOptions | None = None,
        progress: Progress = silent,
    ) -> Model:
        """Load a model in place of the one there is; `progress` is called on the event loop.

        A stage without a known length reports 0 of 0. Raises Cancelled after `cancel_load`, UsageError while the engine
        is busy, else what `Model.load` raises. The old model stays until the new one's weights are on this disk.
        """
        if self.busy or self.state == "loading":
            raise UsageError(f"a model cannot be loaded now: {self.busy or 'another one is being loaded'}")
        progressed = on_the_loop(self._progressed)
        self.asked = (name, engine, options)
        self._cancel.clear()
        self.progress = (0, 0)
        self._change("loading", f"loading {name}")

        def tell(what: str, done: int, total: int) -> None:
            if self._cancel.is_set():
                raise Cancelled(f"loading {name} was cancelled")
            progressed(what, done, total, progress)

        try:
            self.model = await self._submit(lambda: self._load(name, engine, options, tell))
        except LocalprobeError as error:
            self._change("ready" if self.model else "empty", "")
            if self._cancel.is_set() and not isinstance(error, Cancelled):
                raise Cancelled(f"loading {name} was cancelled") from error
            raise
        self._change("ready", "")
        return self.model

    def cancel_load(self) -> None:
        """End a load; `load` then raises Cancelled. A child that was started for it is gone when this returns."""
        if self.state != "loading":
            return
        self._cancel.set()
        if self._loading is not None:
            self._loading.cancel()
        _kill(self._half)

    async def reload(self, progress: Progress = silent) -> Model:
        """Load the last model again, after its engine died."""
        if self.asked is None:
            raise UsageError("no model was loaded yet: choose one")
        return await self.load(*self.asked, progress=progress)

    async def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run a blocking function in the engine's thread. What it raises is raised here."""
        try:
            return await self._submit(lambda: function(*arguments))
        except EngineCrashed as error:
            self._died(error)
            raise

    async def iterate(self, factory: Callable[[], Iterator[T]]) -> AsyncGenerator[T]:
        """Items of a generator that runs in the engine's thread, which is at most some 256 items ahead.

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
            running.result()
        except EngineCrashed as error:
            self._died(error)
            raise
        finally:
            stop.set()
            self._stops.discard(stop)
            await asyncio.wait([running])
            if not running.cancelled():
                running.exception()  # it was raised above, or nobody waits for it any more

    def free(self) -> Model:
        """The model, which nothing has reserved. UsageError if it is taken or not there."""
        if self.busy:
            raise UsageError(f"the model is busy {self.busy}: wait for it, or stop it")
        if self.model is None or self.state != "ready":
            loading = self.state == "loading"
            raise UsageError("the model is still loading" if loading else "no model is loaded: choose one (F4)")
        return self.model

    @contextmanager
    def reserved(self, reason: str) -> Iterator[Model]:
        """Keep the engine for one purpose, e.g. "capturing for a probe"; gives the model. UsageError as `free`."""
        model = self.free()
        self.busy = reason
        self._tell()
        try:
            yield model
        finally:
            self.busy = None
            self._tell()

    async def check(self) -> None:
        """Find out whether the child is still there; to be called now and then while nothing else asks it."""
        engine = self.model.engine if self.model else None
        if self.state == "ready" and engine is not None and getattr(engine, "alive", True) is False:
            with suppress(EngineCrashed):
                # Raises how it died. Two ids: the text of a single one may be known on this side.
                await self.call(engine.decode, [0, 0])

    def close(self) -> None:
        """End everything: the child is gone when this returns, in well under a second. Closing twice is fine."""
        self._closed = True
        for stop in self._stops:
            stop.set()
        self.cancel_load()
        if self.model is not None:
            _kill(self.model.engine)
            self.model = None
        self._thread.close(_PATIENCE)

    def _load(self, name: str, engine: str | None, options: LoadOptions | None, tell: Progress) -> Model:
        """In the thread: weights, engine, canary and scale."""
        from localprobe import discovery, models, remote
        from localprobe.engine import LoadOptions
        from localprobe.engines import canary
        from localprobe.model import Model
        from localprobe.models import fits

        options = options or LoadOptions()
        backend = discovery.choose(engine, None if engine else models.formats(name))
        weights = models.resolve(name, backend, progress=tell)
        tell(f"loading {weights.name} into {backend.name}", 0, 0)
        if self.model is not None:  # two models may not fit
            self.model.close()
            self.model = None
        fits.check(weights, backend.name, options)
        try:
            if self._remote:
                self._loading = remote.start(backend.name, weights, options)
                if self._cancel.is_set():
                    self._loading.cancel()
                self._half = self._loading.wait()
            else:
                self._half = backend.load(weights, options)
            model = Model(self._half)
            tell("checking that steering and capture do what they say", 0, 0)
            canary.ensure(model.engine)
            tell("measuring the length of its residuals", 0, 0)
            _ = model.scale
        except BaseException:
            _kill(self._half)
            raise
        finally:
            self._loading = self._half = None
        return model

    def _submit(self, function: Callable[[], T]) -> asyncio.Future[T]:
        if self._closed:
            raise EngineError("localprobe is closing")
        return self._thread.submit(function)

    def _progressed(self, what: str, done: int, total: int, progress: Progress) -> None:
        self.progress = (done, total)
        progress(what, done, total)
        if self.state == "loading":
            self._change("loading", what)

    def _died(self, error: EngineCrashed) -> None:
        if self.state == "ready" and not self._closed:
            self.model = None
            self._change("dead", str(error))

    def _change(self, state: State, message: str) -> None:
        self.state, self.message = state, message
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
    """In the thread: append every item until the generator ends or `stop` is set."""
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


def _kill(engine: Engine | None) -> None:
    """End an engine at once: a child is gone when this returns."""
    if engine is None:
        return
    if kill := getattr(engine, "kill", None):
        kill()
    engine.close()
