"""Running an experiment: generate every cell, measure it, have it judged; never twice, and never lost.

    run = sweep.run(read_experiment(path), Runs())
    from_json(SweepResult, run.result).models

Answers go into the store as their rows end, in one small transaction a step, so that a process that is killed loses
the rows that were in flight and nothing else. Begun again, a run goes on with what is not there. A cell draws its
random numbers from its own name, so neither order nor shard nor batch changes what it is asked. What the shape of a
batch changes in an engine's rounding may still move a draw: of SmolLM2-135M's texts of 80 tokens at 8 alphas, 24 of 24
were the same in a batch of 24 and alone, on torch in float32, on llama.cpp and on MLX, all on the CPU; `scripts/bench
sweep` measures it where you are.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from localprobe import discovery, models
from localprobe.batches import ROWS
from localprobe.capture.job import Amount
from localprobe.errors import LocalprobeError, OutOfMemory
from localprobe.experiments import judge, model_measures
from localprobe.experiments.cells import CellAnswer, Cells
from localprobe.experiments.experiment import Experiment, ModelChoice
from localprobe.experiments.fitted import steered
from localprobe.experiments.generation import check_prompts, generate
from localprobe.experiments.grid import Cell, Grid, count, shard
from localprobe.experiments.model_measures import watches
from localprobe.experiments.summary import result_of
from localprobe.model import Model
from localprobe.store.json_values import to_json
from localprobe.store.runs import Run, Runs, measured_on

Stage: TypeAlias = Literal["fitting", "generating", "measuring", "judging"]
Load: TypeAlias = Callable[[ModelChoice], AbstractContextManager[Model]]
"""Gives a model to use; what it returns is left, not closed, at the end."""

_ROWS_ON_A_GPU = 256
"""Rows at once where there is memory for them; less where a first try finds there is not."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a stage is, on one model."""

    stage: Stage
    model: str
    done: int
    """Texts, cells, measured cells or judged cells."""
    total: int
    tokens: int = 0
    """Generated, captured or measured in this stage so far."""
    last: CellAnswer | None = None
    """The answer that was finished last."""


class Stopped(Exception):
    """`stop` said so. What was finished is in the store."""


def run(
    experiment: Experiment,
    runs: Runs,
    *,
    progress: Callable[[Progress], None] = lambda progress: None,
    stop: Callable[[], bool] = lambda: False,
    load: Load | None = None,
    notify: Callable[[str], None] = lambda line: None,
    part: tuple[int, int] = (1, 1),
    width: int | None = None,
) -> Run:
    """Run an experiment, or go on with it, and return its run with the result of all of its cells that are there.

    `stop` is asked after every step; where it says yes, the run comes back as far as it is, `cells.done` short of
    `cells.expected`. `notify` is told what the judge waits for, and of vectors that hardly suit a model. `part` (i, n)
    does the i-th of n parts. `width` is the most rows of a batch. Raises LocalprobeError for what cannot be loaded,
    read or written.
    """
    if load is None:
        check(experiment)
    return _Sweep(experiment, runs, progress, stop, load or _loaded, notify, part, width).run()


def check(experiment: Experiment) -> None:
    """See that every model has a name that is known, an engine that is installed, and layers and width that its vectors
    fit, before hours go into the first. Raises ModelError, EngineError or VectorError."""
    for choice in experiment.models:
        formats = models.formats(choice.name)
        if shape := models.shape(choice.name):
            for vector in experiment.vectors:
                if vector.is_for(choice.name) and vector.fit is None:
                    vector.load().check_shape(choice.name, shape.layers, shape.width)
        discovery.choose(choice.engine, None if choice.engine else formats)


@contextmanager
def _loaded(choice: ModelChoice) -> Iterator[Model]:
    with Model.load(choice.name, choice.engine, choice.options) as model:
        yield model


class _Sweep:
    def __init__(
        self,
        experiment: Experiment,
        runs: Runs,
        progress: Callable[[Progress], None],
        stop: Callable[[], bool],
        load: Load,
        notify: Callable[[str], None],
        part: tuple[int, int],
        width: int | None,
    ) -> None:
        self._experiment, self._runs, self._id = experiment, runs, experiment.run
        self._progress, self._stop, self._load = progress, stop, load
        self._notify, self._part, self._width = notify, part, width
        self._facts: dict[tuple[object, ...], dict[str, Any]] = {}

    def run(self) -> Run:
        self._begin()
        try:
            for choice in self._experiment.models:
                with self._load(choice) as model:
                    self._model(choice, model)
            self._judge()
        except Stopped:
            pass
        except BaseException:
            with suppress(LocalprobeError):
                self._conclude()
            raise
        return self._conclude()

    def _begin(self) -> None:
        """The run's row comes first: its cells lean on it."""
        known = self._runs.find(self._id)
        if known is not None:
            self._facts = {_place(each): each for each in known.about["models"]}
        self._keep(known.result if known else to_json(result_of(self._about(), ())))
        self._cells = Cells(self._runs, self._id)

    def _conclude(self) -> Run:
        return self._keep(to_json(result_of(self._about(), self._cells.read())))

    def _about(self) -> dict[str, Any]:
        known = {facts.get("choice") for facts in self._facts.values()}
        counts = zip(self._experiment.models, count(self._experiment), strict=True)
        return {
            "experiment": self._experiment.content(),
            "models": list(self._facts.values()),
            "waiting": {str(choice): cells for choice, cells in counts if str(choice) not in known},
        }

    def _keep(self, result: Mapping[str, Any]) -> Run:
        names = ", ".join(str(model) for model in self._experiment.models)
        return self._runs.add("sweep", f"{self._experiment.name}: {names}", result, about=self._about(), id=self._id)

    def _know(self, choice: ModelChoice, grid: Grid, expected: int, **rates: float) -> None:
        """What a result needs to know of a model beside its cells, and how fast it went, for the next estimate."""
        facts = {
            **measured_on(grid.info),
            "choice": str(choice),
            "label": choice.label,
            "unit": grid.strengths.unit,
            "expected": expected,
            "vectors": _vectors(grid),
        }
        before = self._facts.get(_place(facts), {})
        known = {name: before.get(name) for name in ("rate", "measuring")}
        self._facts[_place(facts)] = {**facts, **known, **rates}
        self._keep(self._runs.get(self._id).result)

    def _model(self, choice: ModelChoice, model: Model) -> None:
        grid = self._grid(choice, model)
        every = grid.cells()
        self._know(choice, grid, len(every))
        cells = shard(every, self._part)
        self._cells.adopt(cells)
        start = time.perf_counter()
        if tokens := self._generate(grid, model, cells):
            self._know(choice, grid, len(every), rate=round(tokens / (time.perf_counter() - start), 1))
        start = time.perf_counter()
        if measured := self._measure(grid, model, cells):
            self._know(choice, grid, len(every), measuring=round(measured / (time.perf_counter() - start), 2))

    def _grid(self, choice: ModelChoice, model: Model) -> Grid:
        def watch(amount: Amount) -> None:
            self._progress(Progress("fitting", model.info.model, amount.texts, amount.total, amount.tokens))
            self._check()

        check_prompts(model, self._experiment)
        vectors = [steered(each, model, watch) for each in self._experiment.vectors if each.is_for(choice.name)]
        grid = Grid(self._experiment, choice, model.info, model.scale, tuple(vectors))
        for each in grid.vectors:
            warnings = each.vector.check_compatible(model.info)
            for line in (*warnings, *each.vector.check_scale(model.scale, grid.layers(each))):
                self._notify(f"warning: {line}")
        return grid

    def _generate(self, grid: Grid, model: Model, cells: Sequence[Cell]) -> int:
        """Waves of rows; before each, what another process has finished by now is left out. Returns the tokens."""
        names = watches(grid)
        width = self._width or (ROWS if model.info.device == "cpu" else _ROWS_ON_A_GPU)
        tokens, backwards = 0, False
        while True:
            known = self._cells.keys()
            pending = [cell for cell in cells if cell.key not in known]
            done = len(cells) - len(pending)
            self._progress(Progress("generating", model.info.model, done, len(cells), tokens))
            if not pending:
                return tokens
            wave, new = pending[-width:] if backwards else pending[:width], 0
            try:
                for answers in generate(model, grid, wave, names, width):
                    if answers:
                        new += self._cells.write(answers)
                        done += len(answers)
                        tokens += sum(len(answer.ids) for answer in answers)
                        last = answers[-1]
                        self._progress(Progress("generating", model.info.model, done, len(cells), tokens, last))
                    self._check()
            except OutOfMemory:
                if width == 1:
                    raise
                width //= 2
            if new < len(wave) / 2:  # another process is at the same wave: meet it from the other end
                backwards = not backwards

    def _measure(self, grid: Grid, model: Model, cells: Sequence[Cell]) -> int:
        """What needs the model, of answers that lack it. Returns how many."""
        if not self._experiment.measures:
            return 0
        keys = {cell.key for cell in cells}
        pending = [answer for answer in self._cells.read() if answer.measures is None and answer.cell.key in keys]
        done, tokens = 0, 0
        if pending:  # the first of them take some seconds
            self._progress(Progress("measuring", model.info.model, 0, len(pending)))
        for found in model_measures.measure(model, grid, pending, self._check):
            self._cells.measured(found)
            tokens += sum(len(answer.ids) for answer in pending[done : done + len(found)])
            done += len(found)
            self._progress(Progress("measuring", model.info.model, done, len(pending), tokens))
            self._check()
        return done

    def _judge(self) -> None:
        if self._experiment.judge is None:
            return
        pending = judge.pending(self._experiment, self._cells.read())
        for done, found in enumerate(judge.judge(self._experiment, pending, notify=self._notify), 1):
            self._cells.judged(found)
            self._progress(Progress("judging", self._experiment.judge.generator, done, len(pending)))
            self._check()

    def _check(self) -> None:
        if self._stop():
            raise Stopped


def _place(facts: Mapping[str, Any]) -> tuple[object, ...]:
    return tuple(facts[name] for name in ("model", "engine", "dtype", "quantisation", "weights"))


def _vectors(grid: Grid) -> list[dict[str, Any]]:
    """What is known of each vector at the layers that it steers."""
    return [
        {
            "name": each.name,
            "identity": each.identity,
            "concept": each.vector.concept,
            "origin": {"model": each.vector.origin.model, "method": each.vector.origin.method},
            "best": each.vector.best,
            "layers": [
                {"layer": layer, "above": grid.above(layer), **each.vector.directions[layer].measures}
                for layer in grid.layers(each)
            ],
        }
        for each in grid.vectors
    ]
