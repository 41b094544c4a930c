"""Generating the answers of cells, whose strengths, layers, vectors and prompts may differ within a batch."""

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
from localprobe.generation.place import PromptPlace
from localprobe.model import Model
from localprobe.steering.knob import steering


def generate(
    model: Model, grid: Grid, cells: Sequence[Cell], watches: Mapping[str, Watch], width: int
) -> Iterator[list[CellAnswer]]:
    """Yield the answers that end at each decoding step; an empty list if none does."""
    rows = [AnswerBuilder() for _ in cells]
    for events in steps(model.engine, requests(model, grid, cells), list(watches.values()), width=width):
        ended = []
        for event in events:
            rows[event.row].take(event)
            if isinstance(event, Finished):
                cell = cells[event.row]
                ended.append(_answer(cell, rows[event.row], list(watches), wanted(grid, cell, watches)))
                rows[event.row] = AnswerBuilder()  # free its memory
        yield ended


def _answer(cell: Cell, row: AnswerBuilder, watched: Sequence[str], names: Sequence[str]) -> CellAnswer:
    """A cell's answer, with its mean scores on the directions `names`, which are among the `watched`."""
    answer = row.answer()
    scores = {}
    if len(answer):
        means = answer.projections.mean(axis=0)  # (watches,)
        scores = {name: float(means[watched.index(name)]) for name in names}
    return CellAnswer(cell, answer.text, answer.reason, answer.ids, scores)


def check_prompts(model: Model, experiment: Experiment) -> None:
    """Raises UsageError for a prompt that is too long for the model, alone or after a system prompt of the experiment.

    Call it before fitting vectors, which may take an hour.
    """
    system = experiment.system if {"system", "both"} & set(experiment.arms) else None
    for prompt in experiment.prompts:
        for text in ("", system.positive, system.negative) if system else ("",):
            try:
                model.ids(prompt.text, system=text, raw=prompt.raw)
            except UsageError as error:
                raise UsageError(f"prompt {prompt.id}: {error}") from error


def requests(model: Model, grid: Grid, cells: Sequence[Cell]) -> list[Request]:
    """The requests for cells. Cells of one condition share their steering, so that it is in memory once."""
    prompts: dict[tuple[str, bool, str], np.ndarray[tuple[int], np.dtype[np.int32]]] = {}
    steerings: dict[tuple[object, ...], Steering] = {}
    requests = []
    for cell in cells:
        prompt = grid.prompt(cell)
        key = cell.scenario, cell.pressure, cell.pole
        if key not in prompts:
            prompts[key] = model.ids(prompt.text, system=grid.system(cell.pole), raw=prompt.raw)
        ids = prompts[key]
        sample = cell.sample if cell.arm == "random" else None  # each sample has its own direction
        condition = (key, cell.arm == "random", cell.vector, cell.layer, cell.alpha, sample)
        if condition not in steerings:
            place = PromptPlace.of(model.engine, ids, message=prompt.text)
            steerings[condition] = steering(grid.knobs(cell), place)
        experiment = grid.experiment
        requests.append(Request(ids, steerings[condition], experiment.sampler, cell.stream, experiment.tokens))
    return requests
