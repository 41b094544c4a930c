"""Running an experiment: generate, measure and judge every cell exactly once.

    run = sweep.run(read_experiment(path), Runs())
    from_json(SweepResult, run.result).models

Finished answers are written to the store in one transaction per decoding step, so a killed process loses only the rows
in flight. Running the experiment again resumes it. A cell's random numbers depend only on its own key, not on order,
shard or batch. The shape of a batch may still change an engine's rounding, and so a draw: of SmolLM2-135M's texts of 80
tokens at 8 alphas, 24 of 24 were the same in a batch of 24 and alone, on torch in float32, llama.cpp and MLX, all on
the CPU. `scripts/bench sweep` measures it on your machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

from localprobe import discovery, models
from localprobe.batches import ROWS
from localprobe.capture.job import Amount
from localprobe.errors import LocalprobeError, OutOfMemory
from localprobe.experiments import judge, model_measures
from localprobe.experiments.cells import CellAnswer, Cells
from localprobe.experiments.experiment import Experiment, ModelChoice
from localprobe.experiments.expressions import check_operators, resolved
from localprobe.experiments.facts import check_thresholds, expression_facts, vector_facts
from localprobe.experiments.fitted import steered
from localprobe.experiments.generation import check_positions, check_prompts, generate
from localprobe.experiments.grid import Cell, Grid, count, shard
from localprobe.experiments.model_measures import watches
from localprobe.experiments.summary import result_of
from localprobe.model import Model
from localprobe.store.damaged import WRONG
from localprobe.store.identity import ModelIdentity
from localprobe.store.json_values import to_json
from localprobe.store.runs import Run, Runs

Stage: TypeAlias = Literal["fitting", "generating", "measuring", "judging"]
Load: TypeAlias = Callable[[ModelChoice], AbstractContextManager[Model]]
"""Returns a context manager that gives the model. It decides whether the model is closed at the end."""

_ROWS_ON_A_GPU = 256
"""Rows of a batch; halved when memory runs out."""


@dataclass(frozen=True, slots=True)
class SweepProgress:
    """How far a stage is, on one model."""

    stage: Stage
    model: str
    done: int
    """Texts, cells, measured cells or judged cells."""
    total: int
    tokens: int = 0
    """Tokens generated, captured or measured in this stage so far."""
    last: CellAnswer | None = None
    """The answer that was finished last."""


class _Stopped(Exception):
    """`stop` returned true. Finished answers are in the store."""


def run(
    experiment: Experiment,
    runs: Runs,
    *,
    progress: Callable[[SweepProgress], None] = lambda progress: None,
    stop: Callable[[], bool] = lambda: False,
    load: Load | None = None,
    notify: Callable[[str], None] = lambda line: None,
    part: tuple[int, int] = (1, 1),
    width: int | None = None,
) -> Run:
    """Run or resume an experiment; returns its run, with the result of all cells that are finished.

    `stop` is called after every step; if it returns true, the run is returned unfinished, with `cells.done` below
    `cells.expected`. `notify` gets messages about waiting for the judge and about vectors that may not suit a model.
    `part` (i, n) does the i-th of n shards. `width` is the most rows of a batch. Raises LocalprobeError for what cannot
    be loaded, read or written.
    """
    if load is None:
        check(experiment)
    return _Sweep(experiment, runs, progress, stop, load or _loaded, notify, part, width).run()


def check(experiment: Experiment) -> None:
    """Check before the first model runs for hours that each model's name is known, an engine for it is installed, and
    its vectors have its layers and width. Raises ModelError, EngineError or VectorError."""
    for choice in experiment.models:
        formats = models.formats(choice.name)
        if shape := models.shape(choice.name):
            for vector in (*experiment.vectors, *experiment.others):
                if vector.is_for(choice.name) and vector.fit is None:
                    vector.load().within(choice.name, shape.layers, shape.width)
        discovery.choose(choice.engine, None if choice.engine else formats)


def _loaded(choice: ModelChoice) -> Model:
    return Model.load(choice.name, choice.engine, choice.options)


class _Sweep:
    def __init__(
        self,
        experiment: Experiment,
        runs: Runs,
        progress: Callable[[SweepProgress], None],
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
        except _Stopped:
            pass
        except BaseException:
            with suppress(LocalprobeError):
                self._conclude()
            raise
        return self._conclude()

    def _begin(self) -> None:
        """Write the run's row, which its cells refer to."""
        run = self._runs.find(self._id)
        if run is not None:
            with suppress(*WRONG):  # damaged: they are recorded again as the models are loaded
                self._facts = {_place(facts): facts for facts in run.about["models"]}
        self._keep(run.result if run else to_json(result_of(self._about(), ())))
        self._cells = Cells(self._runs, self._id)
        self._cells.mend()

    def _conclude(self) -> Run:
        return self._keep(to_json(result_of(self._about(), self._cells.read())))

    def _about(self) -> dict[str, Any]:
        started = {facts.get("choice") for facts in self._facts.values()}
        counts = zip(self._experiment.models, count(self._experiment), strict=True)
        return {
            "experiment": self._experiment.content(),
            "models": list(self._facts.values()),
            "waiting": {str(choice): cells for choice, cells in counts if str(choice) not in started},
        }

    def _keep(self, result: Mapping[str, Any]) -> Run:
        names = ", ".join(str(model) for model in self._experiment.models)
        return self._runs.add("sweep", f"{self._experiment.name}: {names}", result, about=self._about(), id=self._id)

    def _record(self, choice: ModelChoice, grid: Grid, expected: int, **rates: float) -> None:
        """Record what a result needs to know of a model besides its cells, and its rates, for the next estimate."""
        facts = {
            **asdict(ModelIdentity.of(grid.info)),
            "choice": str(choice),
            "label": choice.label,
            "unit": grid.strengths.unit,
            "expected": expected,
            "vectors": vector_facts(grid),
            **({"expressions": expression_facts(grid)} if grid.expressions else {}),
        }
        before = self._facts.get(_place(facts), {})
        check_thresholds(before, facts, self._id)
        old_rates = {name: before.get(name) for name in ("rate", "measuring")}
        self._facts[_place(facts)] = {**facts, **old_rates, **rates}
        self._keep(self._runs.get(self._id).result)

    def _model(self, choice: ModelChoice, model: Model) -> None:
        grid = self._grid(choice, model)
        all_cells = grid.cells()
        self._record(choice, grid, len(all_cells))
        cells = shard(all_cells, self._part)
        self._cells.adopt(cells)
        start = time.perf_counter()
        if tokens := self._generate(grid, model, cells):
            self._record(choice, grid, len(all_cells), rate=round(tokens / (time.perf_counter() - start), 1))
        start = time.perf_counter()
        if measured := self._measure(grid, model, cells):
            self._record(choice, grid, len(all_cells), measuring=round(measured / (time.perf_counter() - start), 2))

    def _grid(self, choice: ModelChoice, model: Model) -> Grid:
        def watch(amount: Amount) -> None:
            self._progress(SweepProgress("fitting", model.info.model, amount.texts, amount.total, amount.tokens))
            self._check()

        experiment = self._experiment
        check_operators(experiment, model.info)
        check_prompts(model, experiment)
        own, others = (
            tuple(steered(vector, model, watch) for vector in vectors if vector.is_for(choice.name))
            for vectors in (experiment.vectors, experiment.others)
        )
        named = {item.name: (item.identity, item.vector) for item in (*others, *own)}
        expressions = resolved(experiment, model, named, self._notify)
        grid = Grid(experiment, choice, model.info, model.scale, own, expressions)
        check_positions(model, grid)
        for item in grid.vectors:
            warnings = item.vector.check_compatible(model.info)
            for line in (*warnings, *item.vector.check_scale(model.scale, grid.layers(item))):
                self._notify(f"warning: {line}")
        return grid

    def _generate(self, grid: Grid, model: Model, cells: Sequence[Cell]) -> int:
        """Generate in batches, leaving out cells that another process has finished meanwhile. Returns the number of
        tokens."""
        names = watches(grid)
        width = self._width or (ROWS if model.info.device == "cpu" else _ROWS_ON_A_GPU)
        tokens, backwards = 0, False
        while True:
            finished = self._cells.keys()
            pending = [cell for cell in cells if cell.key not in finished]
            done = len(cells) - len(pending)
            self._progress(SweepProgress("generating", model.info.model, done, len(cells), tokens))
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
                        self._progress(SweepProgress("generating", model.info.model, done, len(cells), tokens, last))
                    self._check()
            except OutOfMemory:
                if width == 1:
                    raise
                width //= 2
            if new < len(wave) / 2:  # another process does the same cells: continue from the other end
                backwards = not backwards

    def _measure(self, grid: Grid, model: Model, cells: Sequence[Cell]) -> int:
        """Add the measures that need the model to answers that lack them. Returns how many."""
        if not self._experiment.measures:
            return 0
        keys = {cell.key for cell in cells}
        pending = [answer for answer in self._cells.read() if answer.measures is None and answer.cell.key in keys]
        done, tokens = 0, 0
        if pending:  # the first batch takes some seconds
            self._progress(SweepProgress("measuring", model.info.model, 0, len(pending)))
        for measures in model_measures.measure(model, grid, pending, self._check):
            self._cells.measured(measures)
            tokens += sum(len(answer.ids) for answer in pending[done : done + len(measures)])
            done += len(measures)
            self._progress(SweepProgress("measuring", model.info.model, done, len(pending), tokens))
            self._check()
        return done

    def _judge(self) -> None:
        if self._experiment.judge is None:
            return
        pending = judge.pending(self._experiment, self._cells.read())
        for done, judgements in enumerate(judge.judge(self._experiment, pending, notify=self._notify), 1):
            self._cells.judged(judgements)
            self._progress(SweepProgress("judging", self._experiment.judge.generator, done, len(pending)))
            self._check()

    def _check(self) -> None:
        if self._stop():
            raise _Stopped


def _place(facts: Mapping[str, Any]) -> tuple[object, ...]:
    return tuple(facts[name] for name in ("model", "engine", "dtype", "quantisation", "weights"))
