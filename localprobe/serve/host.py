"""The models of a server: loaded in children in the background, loaded again after a crash, unloaded to make room."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from localprobe.engines.loading import Loader, Stage, end
from localprobe.engines.spec import ModelSpec
from localprobe.errors import EngineCrashed, LocalprobeError, first_line
from localprobe.serve.errors import ApiError
from localprobe.serve.hosted import SOON, Hosted, Slot, check_known, not_ready
from localprobe.suggest import shown

if TYPE_CHECKING:
    from localprobe.engine import Engine
    from localprobe.scheduling.job import Limits

__all__ = ["SOON", "Host", "Hosted", "Slot", "load_in_child"]

Load: TypeAlias = Callable[[Slot], "Engine"]


class Free(Protocol):
    """Frees a model, after its running answers had `grace` seconds."""

    def __call__(self, grace: float = 0.0) -> None: ...


_LOOK = 0.25  # seconds between two looks at whether the engines still live
_WAITS = (0.0, 1.0, 5.0, 15.0, 30.0)  # seconds before each reload of crashes in a row; then the model is given up
_STEADY = 120.0  # seconds that an engine lives until its next crash counts as a first one
_ORDER = ("ready", "loading", "failed", "unloaded")
_log = logging.getLogger("localprobe.serve")


def load_in_child(slot: Slot) -> Engine:
    """Load a model in a child process, checked and measured; the slot says how far it is."""

    def report(stage: Stage) -> None:
        slot.doing = f"{stage.name} ({stage.done / stage.total:.0%})" if stage.total else stage.name

    slot.loader = Loader(slot.spec, remote=True, measure=True, report=report)
    return slot.loader.load()


def _nothing(grace: float = 0.0) -> None:
    """Frees nothing."""


class Host:
    """The models of a server, and its default steering. Its methods may be called from any thread."""

    def __init__(
        self,
        specs: Sequence[ModelSpec],
        limits: Limits,
        *,
        resident: int = 1,
        load_on_request: bool = False,
        load: Load = load_in_child,
        known: Callable[[ModelSpec], None] = check_known,
    ) -> None:
        """Of `specs`, at least one, the first `resident` are loaded by `start`. `load` gives the engine of a model;
        `known` raises for one that no load could find, so that no other makes room for it."""
        self.default = ""
        """The steering of requests that name none: an expression, or empty."""
        self.loads_on_request = load_on_request
        self._limits, self._most, self._load, self._known = limits, resident, load, known
        self._usual = specs[0]
        self._slots = [Slot(spec) for spec in specs]
        self._lock = threading.RLock()
        self._closing = threading.Event()

    def start(self) -> None:
        """Begin to load, in the background."""
        with self._lock:
            for slot in self._slots[: self._most]:
                self._begin(slot)
        threading.Thread(target=self._watch, name="localprobe watch", daemon=True).start()

    def hosted(self, name: str | None = None) -> Hosted:
        """A loaded model by its name, or the one that was asked for last. ApiError: 404 for one that is not loaded,
        503 for one that is being loaded or that failed."""
        with self._lock:
            slot = self._slot(name)
            self._look(slot)
            if slot.hosted is not None:
                slot.hosted.used = time.monotonic()
                return slot.hosted
            if slot.state == "unloaded" and self.loads_on_request:
                self._begin_instead(slot)
            raise not_ready(slot)

    def slots(self) -> list[Slot]:
        """Every model that the server knows."""
        with self._lock:
            return list(self._slots)

    def find(self, name: str) -> Slot | None:
        """The model that goes by a name, loaded or not."""
        return next((slot for slot in self.slots() if slot.goes_by(name)), None)

    def status(self) -> tuple[bool, dict[str, Any]]:
        """Whether a model is ready, and the state of all as JSON values."""
        slots = self.slots()
        for slot in slots:
            self._look(slot)
        states = {slot.state for slot in slots}
        status = "ok" if "ready" in states else next(state for state in _ORDER if state in states)
        return status == "ok", {
            "status": status,
            "models": [
                {"id": s.name, "state": s.state, "stage": s.doing or None, "error": s.error or None} for s in slots
            ],
        }

    async def load(self, name: str, engine: str | None = None) -> Hosted:
        """Load a model, and wait for it. ApiError if it cannot be loaded, UnknownModel and the like if there is none:
        what made room for it is loaded again then."""
        slot = self.find(name)
        if slot is None or engine not in (None, slot.spec.engine):
            usual = self._usual if slot is None else slot.spec
            await asyncio.to_thread(self._known, replace(usual, name=slot.spec.name if slot else name, engine=engine))
        slot = self._begun(name, engine)
        while slot.state == "loading":
            await asyncio.sleep(_LOOK / 5)
        if slot.hosted is None:
            with self._lock:
                if slot.asked and slot in self._slots:
                    self._slots.remove(slot)  # else the wrong names that clients try would be listed for ever
            raise not_ready(slot)
        return slot.hosted

    def _begun(self, name: str, engine: str | None) -> Slot:
        """The model of a name, which is ready or being loaded; a new one if no model goes by it."""
        with self._lock:
            slot = self.find(name)
            if slot is None:
                slot = Slot(replace(self._usual, name=name, engine=engine), asked=True)
            if engine not in (None, slot.spec.engine):
                free = self._taken_out(slot)
                slot.spec = replace(slot.spec, engine=engine)
                slot.crashes = 0
                self._begin(slot, before=free)
            elif slot.state in ("unloaded", "failed"):
                slot.crashes = 0
                self._begin_instead(slot)
            if slot not in self._slots:
                self._slots.append(slot)
            return slot

    def unload(self, name: str) -> Slot:
        """Free a model, or end its load; its running answers fail. ApiError 404 for one that is not loaded."""
        with self._lock:
            slot = self._slot(name)
            if slot.state == "unloaded":
                raise not_ready(slot)
            free = self._taken_out(slot)
        free()
        return slot

    def close(self, grace: float = 0.0) -> None:
        """Let running answers go on for `grace` seconds, then free every model."""
        self._closing.set()
        until = time.monotonic() + grace
        for slot in self.slots():
            with self._lock:
                free = self._taken_out(slot)
            free(max(0.0, until - time.monotonic()))

    def _slot(self, name: str | None) -> Slot:
        if name is None:
            return min(self._slots, key=lambda s: (_ORDER.index(s.state), -(s.hosted.used if s.hosted else 0.0)))
        slot = self.find(name)
        if slot is None:
            known = ", ".join(slot.name for slot in self._slots)
            raise ApiError(404, f"no model {shown(name)} here, but {known}", code="model_not_found", param="model")
        return slot

    def _begin(self, slot: Slot, wait: float = 0.0, before: Free = _nothing) -> None:
        """Load a model on a thread of its own, after `wait` seconds, and once what was there `before` is freed."""
        slot.state, slot.hosted, slot.doing, slot.instead = "loading", None, "waiting" if wait else "starting", None
        slot.loads += 1
        arguments = (slot, slot.loads, wait, before)
        threading.Thread(target=self._run, args=arguments, name=f"load {slot.spec.name}", daemon=True).start()

    def _begin_instead(self, slot: Slot) -> None:
        """Load a model in the place of another, if there is no room for one more. ApiError 503 if none can leave."""
        leaving = self._leaving()
        self._begin(slot, before=self._taken_out(leaving) if leaving else _nothing)
        slot.instead = leaving

    def _run(self, slot: Slot, load: int, wait: float, before: Free) -> None:
        before()
        if self._closing.wait(wait) or slot.loads != load:
            return
        try:
            hosted = self._loaded(slot)
        except Exception as error:
            self._failed(slot, load, error)
            return
        with self._lock:
            wanted = slot.loads == load and not self._closing.is_set()
            if wanted:
                slot.state, slot.hosted, slot.doing, slot.error = "ready", hosted, "", ""
        if wanted:
            _log.info("%s is loaded on %s", hosted.name, hosted.info.engine)
        else:
            hosted.close()

    def _loaded(self, slot: Slot) -> Hosted:
        engine = self._load(slot)
        try:
            return Hosted(engine, self._limits)
        except BaseException:
            end(engine)
            raise

    def _failed(self, slot: Slot, load: int, error: Exception) -> None:
        with self._lock:
            if slot.loads != load:
                return
            if slot.crashes and isinstance(error, EngineCrashed):
                self._reload(slot, error)
                return
            slot.state, slot.doing, slot.error = "failed", "", first_line(error)
            if (left := slot.instead) is not None and left.state == "unloaded" and self._has_room():
                self._begin(left)
        bug = None if isinstance(error, LocalprobeError) else error
        _log.error("%s cannot be loaded: %s", slot.spec.name, first_line(error), exc_info=bug)

    def _look(self, slot: Slot) -> None:
        """Load a model again whose engine has died."""
        with self._lock:
            hosted = slot.hosted
            if hosted is None or not (error := hosted.dead):
                return
            if time.monotonic() - hosted.began > _STEADY:
                slot.crashes = 0
            self._reload(slot, error, hosted)

    def _reload(self, slot: Slot, error: Exception, dead: Hosted | None = None) -> None:
        free = dead.close if dead else _nothing
        slot.crashes += 1
        slot.reloads += 1
        slot.error = first_line(error)
        _log.error("%s: %s", slot.name, slot.error)
        if slot.crashes > len(_WAITS):
            slot.state, slot.hosted, slot.doing = "failed", None, ""
            slot.error = f"the engine failed {slot.crashes} times in a row, the last time so: {slot.error}"
            threading.Thread(target=free, daemon=True).start()
        else:
            self._begin(slot, _WAITS[slot.crashes - 1], free)

    def _watch(self) -> None:
        while not self._closing.wait(_LOOK):
            for slot in self.slots():
                self._look(slot)

    def _has_room(self) -> bool:
        return len(self._loaded_slots()) < self._most

    def _loaded_slots(self) -> list[Slot]:
        return [slot for slot in self._slots if slot.state in ("ready", "loading")]

    def _leaving(self) -> Slot | None:
        """The model that was idle for the longest, if there is no room for one more. ApiError 503 if none is."""
        if self._has_room():
            return None
        loaded = self._loaded_slots()
        idle = [slot for slot in loaded if slot.hosted and slot.hosted.idle]
        if not idle:
            message = f"there is no room for another model: {', '.join(s.name for s in loaded)} answers; send it again"
            raise ApiError(503, message, code="no_room", retry_after=SOON)
        return min(idle, key=lambda slot: slot.hosted.used if slot.hosted else 0.0)

    def _taken_out(self, slot: Slot) -> Free:
        """Make a model unloaded; what is returned frees it, and waits for that."""
        hosted, loader = slot.hosted, slot.loader
        slot.state, slot.hosted, slot.doing, slot.error = "unloaded", None, "", ""
        slot.loads += 1

        def free(grace: float = 0.0) -> None:
            if hosted is not None:
                hosted.close(grace)
            elif loader is not None:
                loader.cancel()

        return free
