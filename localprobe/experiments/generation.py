"""Cells into answers: one batch of rows of any strength, layer, vector and prompt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from localprobe.engine import Steering, Watch
from localprobe.errors import UsageError
from localprobe.experiments.cells import CellAnswer
from localprobe.experiments.experiment import Experiment
from localprobe.experiments.grid import Cell, Grid
from localprobe.experiments.model_measures import wanted
from localprobe.generation.answer import AnswerBuilder
from localprobe.generation.decode import Request, steps
from localprobe.generation.events import Finished
from localprobe.model import Model
from localprobe.steering.knob import steering


def generate(
    model: Model, grid: Grid, cells: Sequence[Cell], watches: Mapping[str, Watch], width: int
) -> Iterator[list[CellAnswer]]:
    """The answers of cells, those that end at one step together, and an empty list for a step where none does."""
    rows = [AnswerBuilder() for _ in cells]
    asked = requests(model, grid, cells)
    for events in steps(model.engine, asked, list(watches.values()), width=width):
        ended = []
        for event in events:
            rows[event.row].take(event)
            if isinstance(event, Finished):
                cell = cells[event.row]
                ended.append(_answer(cell, rows[event.row], list(watches), wanted(grid, cell, watches)))
                rows[event.row] = AnswerBuilder()  # a long sweep need not hold what it has handed over
        yield ended


def _answer(cell: Cell, row: AnswerBuilder, watched: Sequence[str], kept: Sequence[str]) -> CellAnswer:
    """A cell's answer, with its mean score on those of the watched directions that are kept."""
    said = row.answer()
    scores = {}
    if len(said):
        means = said.projections.mean(axis=0)  # (watches,)
        scores = {name: float(means[watched.index(name)]) for name in kept}
    return CellAnswer(cell, said.text, said.reason, said.ids, scores)


def check_prompts(model: Model, experiment: Experiment) -> None:
    """Raises UsageError for a prompt that is too long for the model, alone or after a system prompt of the experiment.

    For before vectors are fitted, which may take an hour.
    """
    system = experiment.system if {"system", "both"} & set(experiment.arms) else None
    for prompt in experiment.prompts:
        for text in ("", system.positive, system.negative) if system else ("",):
            try:
                model.ids(prompt.text, system=text, raw=prompt.raw)
            except UsageError as error:
                raise UsageError(f"prompt {prompt.id}: {error}") from error


def requests(model: Model, grid: Grid, cells: Sequence[Cell]) -> list[Request]:
    """What to ask for. Cells of one condition share their steering, so that it is in memory once."""
    prompts: dict[tuple[str, bool, str], np.ndarray[tuple[int], np.dtype[np.int32]]] = {}
    steerings: dict[tuple[object, ...], Steering] = {}
    requests = []
    for cell in cells:
        prompt = grid.prompt(cell)
        asked = cell.scenario, cell.pressure, cell.pole
        if asked not in prompts:
            prompts[asked] = model.ids(prompt.text, system=grid.system(cell.pole), raw=prompt.raw)
        ids = prompts[asked]
        sample = cell.sample if cell.arm == "random" else None  # each has a direction of its own
        condition = (len(ids), cell.arm == "random", cell.vector, cell.layer, cell.alpha, sample)
        if condition not in steerings:
            steerings[condition] = steering(grid.knobs(cell), len(ids))
        experiment = grid.experiment
        requests.append(Request(ids, steerings[condition], experiment.sampler, cell.stream, experiment.tokens))
    return requests
