"""From a name to an engine with the model in it, one stage after another.

    loader = Loader(ModelSpec("smollm2-135m"), report=show)
    engine = loader.load()

To act between two stages, iterate over `stages` instead.

llama.cpp ends its process on some damaged files, where Python would raise. So a GGUF file that this machine has not run
before is loaded and checked in a child first, even if the engine is to run in this process; see `engines.trial`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from localprobe.engines.spec import ModelSpec
from localprobe.errors import Cancelled, EngineCrashed, LocalprobeError

if TYPE_CHECKING:
    from localprobe.engine import Backend, Engine, FloatArray, Weights
    from localprobe.remote import Loading

Step: TypeAlias = Literal["weights", "memory", "engine", "canary", "scale"]


@dataclass(frozen=True, slots=True)
class Stage:
    """The current stage of a load, and its progress."""

    step: Step
    name: str
    """Description for a user, e.g. `downloading model.safetensors`."""
    done: int = 0
    """Bytes downloaded, converted or hashed so far."""
    total: int = 0
    """Bytes in all; 0 if unknown."""


class Loader:
    """Loads one model, once.

    `remote` runs the engine in a child process; `check` runs the canary; `measure` measures the scale that doses are
    relative to. `report` is called, in the thread that loads, when a stage begins and while its bytes are counted.
    """

    def __init__(
        self,
        spec: ModelSpec,
        *,
        remote: bool = False,
        check: bool = True,
        measure: bool = False,
        report: Callable[[Stage], None] = lambda stage: None,
    ) -> None:
        self.spec = spec
        self.scale: FloatArray | None = None
        """Median residual length of every layer, (layers,), if it was to be measured."""
        self._remote, self._check, self._measure = remote, check, measure
        self._report = report
        self._lock = threading.Lock()  # held while ownership of the child or the engine changes, so that `cancel` waits
        self._cancelled = threading.Event()
        self._child: Loading | None = None
        self._unchecked: Engine | None = None  # loaded, but not all stages are done
        self._engine: Engine | None = None

    def load(self) -> Engine:
        """Run all stages. Raises ModelError, EngineError, UsageError, or Cancelled after `cancel`."""
        for _ in self.stages():
            pass
        return self.engine

    @property
    def engine(self) -> Engine:
        """The loaded engine, once every stage has ended. It is the caller's to close."""
        assert self._engine is not None, "the stages have not ended"
        return self._engine

    def stages(self) -> Generator[Stage]:
        """Yields each stage before it runs: weights, memory, engine, then canary and scale if requested.

        From the stage `memory` on the weights are on this disk. An error or closing this iterator ends the load, and
        nothing stays loaded. Raises what `load` raises.
        """
        try:
            yield from self._stages()
        except BaseException as error:
            self._release()
            if self._cancelled.is_set() and isinstance(error, LocalprobeError) and not isinstance(error, Cancelled):
                raise self._cancellation() from error
            raise

    def cancel(self) -> None:
        """End the load, from any thread: `stages` raises Cancelled.

        A child process that loads or checks the model has ended when this returns. A load in this process ends at its
        next report. After the last stage, `cancel` does nothing.
        """
        with self._lock:
            self._cancelled.set()
            if self._child is not None:
                self._child.cancel()
                end(self._unchecked)

    def _stages(self) -> Generator[Stage]:
        # Imported here, in the loading thread: these imports are slow and would block an app's screen.
        from localprobe import discovery, models
        from localprobe.capture.scale import residual_scale
        from localprobe.chat_template import template_arguments
        from localprobe.engines import canary
        from localprobe.models import fits

        spec = self.spec
        template_arguments(spec.options.template_args)  # raises for one of another form, which no engine looks at
        yield self._begin("weights", f"looking for {spec.name}")
        backend = discovery.choose(spec.engine, None if spec.engine else models.formats(spec.name))
        weights = models.resolve(spec.name, backend, code=spec.options.trust_remote_code, progress=self._count)
        yield self._begin("memory", f"checking that {weights.name} fits into memory")
        fits.check(weights, backend.name, spec.options)
        yield self._begin("engine", f"loading {weights.name} into {backend.name}")
        self._unchecked = engine = self._start(backend, weights)
        if self._check:
            yield self._begin("canary", "checking that capture and steering work")
            with self._blaming(weights):
                canary.ensure(engine)
        if self._measure:
            yield self._begin("scale", "measuring the length of residuals")
            self.scale = residual_scale(engine)
        with self._lock:
            self._stop_if_cancelled()
            self._engine, self._unchecked, self._child = engine, None, None

    def _start(self, backend: Backend, weights: Weights) -> Engine:
        if self._remote:
            return self._start_child(backend, weights)
        self._try(backend, weights)
        return backend.load(weights, self.spec.options)

    def _start_child(self, backend: Backend, weights: Weights) -> Engine:
        from localprobe import remote

        with self._lock:  # a cancel waits until there is a child to kill
            self._stop_if_cancelled()
            child = self._child = remote.Loading(backend.name, weights, self.spec.options)
        with self._blaming(weights):
            return child.wait()

    def _try(self, backend: Backend, weights: Weights) -> None:
        """Load and check weights on which a library may abort in a child, unless this machine has done so before."""
        from localprobe.engines import canary
        from localprobe.engines.trial import Trial

        trial = Trial(backend, weights, self.spec.options, self._check)
        if not trial.needed:
            return
        self._tell(Stage("engine", f"trying {weights.name} in a process of its own, this first time"))
        try:
            self._unchecked = engine = self._start_child(backend, weights)
        except OSError:  # no process can be started here, as in some sandboxes
            return
        if self._check:
            with self._blaming(weights):
                canary.ensure(engine)
        with self._lock:
            self._unchecked = self._child = None
        end(engine)
        trial.passed()
        self._stop_if_cancelled()

    @contextmanager
    def _blaming(self, weights: Weights) -> Iterator[None]:
        """Name the file in the error of a child that dies of it."""
        try:
            yield
        except EngineCrashed as error:
            if self._child is None or not self._child.death:
                raise
            advice = "fetch the file again, or take another version of it or of the engine"
            if "SIGKILL" in self._child.death:
                advice = "take a smaller one, or close other programs"
            raise EngineCrashed(f"{weights.path} cannot be run: the engine {self._child.death}; {advice}") from error

    def _begin(self, step: Step, name: str) -> Stage:
        stage = Stage(step, name)
        self._tell(stage)
        return stage

    def _count(self, what: str, done: int, total: int) -> None:
        self._tell(Stage("weights", what, done, total))

    def _tell(self, stage: Stage) -> None:
        self._stop_if_cancelled()
        self._report(stage)

    def _stop_if_cancelled(self) -> None:
        if self._cancelled.is_set():
            raise self._cancellation()

    def _cancellation(self) -> Cancelled:
        return Cancelled(f"loading {self.spec.name} was cancelled")

    def _release(self) -> None:
        """End the child, or the engine, of a load that failed."""
        child, engine = self._child, self._unchecked
        self._child = self._unchecked = None
        if child is not None:
            child.cancel()
        end(engine)


def end(engine: Engine | None) -> None:
    """Close an engine. A child process has ended when this returns, even if it was busy."""
    if kill := getattr(engine, "kill", None):
        kill()
    if engine is not None:
        engine.close()
