"""Cells into answers: one batch of rows of any strength, layer, vector and prompt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from localprobe.engine import Steering, Watch
from localprobe.experiments.cells import CellAnswer
from localprobe.experiments.grid import Cell, Grid
from localprobe.experiments.model_measures import wanted
from localprobe.generation import decode
from localprobe.generation.decode import Finished, Request, Score, Token
from localprobe.model import Model
from localprobe.steering.knob import steering


def generate(
    model: Model, grid: Grid, cells: Sequence[Cell], watches: Mapping[str, Watch], width: int
) -> Iterator[list[CellAnswer]]:
    """The answers of cells, those that end at one step together, and an empty list for a step where none does."""
    rows = [_Row(model, cell) for cell in cells]
    asked = requests(model, grid, cells)
    for events in decode.steps(model.engine, asked, list(watches.values()), width=width):
        ended = []
        for event in events:
            rows[event.row].take(event)
            if isinstance(event, Finished):
                kept = wanted(grid, cells[event.row], watches)
                ended.append(rows[event.row].answer(event, [list(watches).index(name) for name in kept], kept))
        yield ended


def requests(model: Model, grid: Grid, cells: Sequence[Cell]) -> list[Request]:
    """What to ask for. Cells of one condition share their steering, so that it is in memory once."""
    prompts: dict[tuple[str, bool, str], np.ndarray[tuple[int], np.dtype[np.int32]]] = {}
    steerings: dict[tuple[object, ...], Steering] = {}
    found = []
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
        found.append(Request(ids, steerings[condition], experiment.sampler, cell.stream, experiment.tokens))
    return found


class _Row:
    """An answer as it comes."""

    def __init__(self, model: Model, cell: Cell) -> None:
        self._cell, self._eos = cell, frozenset(model.info.eos)
        self._text: list[str] = []
        self._ids: list[int] = []
        self._scores: list[np.ndarray[tuple[int], np.dtype[np.float32]]] = []

    def take(self, event: decode.Event) -> None:
        if isinstance(event, Score):
            self._scores.append(event.values)
            return
        self._text.append(event.text)
        if isinstance(event, Token) and event.id not in self._eos:
            self._ids.append(event.id)

    def answer(self, end: Finished, columns: Sequence[int], names: Sequence[str]) -> CellAnswer:
        scores = {}
        if self._scores:
            means = np.mean(self._scores, axis=0)  # (watches,)
            scores = {name: float(means[column]) for name, column in zip(names, columns, strict=True)}
        return CellAnswer(self._cell, "".join(self._text), end.reason, np.array(self._ids, dtype=np.int32), scores)
