"""Measures of an answer by the unsteered model: perplexity, probe scores, and how far steering moved the next token.

The reference is always the model with no vector and no system prompt, on the cell's own prompt. So the arms of an
experiment can be compared, and a text is judged without the steering that it was written under.

- `nll`: mean negative log-likelihood of the answer's tokens, in nats per token; e to its power is the perplexity.
- `readings`: mean projection of the answer's residuals, the text read with nothing added, under `vector:layer`.
- `kl`: KL divergence in nats of the next-token distribution at the end of the prompt, as the cell was steered, from the
  unsteered one: what steering does to the first token of an answer, before any text differs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from localprobe import batches
from localprobe.checks import check_rows
from localprobe.engine import FloatArray, IntArray, Row, Steering, Watch
from localprobe.experiments.cells import CellAnswer, CellMeasures
from localprobe.experiments.grid import BASELINE, Cell, Grid
from localprobe.generation.gates import RowGates
from localprobe.generation.place import PromptPlace
from localprobe.model import Model
from localprobe.steering import knob

_Reading: TypeAlias = tuple[float | None, dict[str, float]]
"""`nll` and `readings` of an answer."""
_AT_ONCE = 16
"""Answers measured between two writes to the store: one batch, some seconds on a small machine."""


def name_of(vector: str, layer: int) -> str:
    """The key of a reading."""
    return f"{vector}:{layer}"


def watches(grid: Grid) -> dict[str, Watch]:
    """The readings: every vector at the layers that it steers, and at one layer above each."""
    readings = {}
    for steered in grid.vectors:
        for layer in grid.layers(steered):
            for reading_layer in (layer, grid.above(layer)):
                if reading_layer in steered.vector.directions:
                    readings[name_of(steered.name, reading_layer)] = knob.watch(steered.vector, reading_layer)
    return readings


def wanted(grid: Grid, cell: Cell, names: Iterable[str]) -> list[str]:
    """The readings of a cell: its own vector's at its layer and above it; all of them if it is unsteered."""
    if cell.layer is None:
        return list(names)
    own = {name_of(cell.vector, cell.layer), name_of(cell.vector, grid.above(cell.layer))}
    return [name for name in names if name in own]


def measure(
    model: Model, grid: Grid, answers: Sequence[CellAnswer], check: Callable[[], None] = lambda: None
) -> Iterator[dict[str, CellMeasures]]:
    """Yield the measures of answers by key, one batch at a time. `check` is called after every forward pass and may
    raise.

    Raises OutOfMemory if a single row does not fit in memory.
    """
    reading = watches(grid)
    divergences = _Divergences(model, grid, check)
    # Sorted by condition, so that its divergence is computed once.
    for start in range(0, len(answers), _AT_ONCE):
        some = answers[start : start + _AT_ONCE]
        divergences.learn([answer.cell for answer in some])
        texts = _read(model, grid, some, reading, check)
        yield {
            answer.cell.key: CellMeasures(*text, divergences.of(answer.cell))
            for answer, text in zip(some, texts, strict=True)
        }


def reference(model: Model, grid: Grid, cell: Cell) -> IntArray:
    """Ids of a cell's prompt for the unsteered model, with no system prompt."""
    prompt = grid.prompt(cell)
    return model.ids(prompt.text, raw=prompt.raw)


def _read(
    model: Model, grid: Grid, answers: Sequence[CellAnswer], reading: Mapping[str, Watch], check: Callable[[], None]
) -> list[_Reading]:
    layers = sorted({watch.layer for watch in reading.values()})
    rows, numbers = [], []
    measures: list[_Reading] = [(None, {})] * len(answers)
    for number, answer in enumerate(answers):
        if not len(answer.ids):
            continue
        prompt = reference(model, grid, answer.cell)
        n, end = len(prompt), len(prompt) + len(answer.ids)
        if end > model.info.context:  # only if the reference prompt is longer than the cell's own
            continue
        targets = np.stack([np.arange(n - 1, end - 1), answer.ids], axis=1).astype(np.int32)
        rows.append(Row(np.concatenate([prompt, answer.ids]), spans=((n, end),), targets=targets))
        numbers.append(number)
    check_rows(model.info, rows, layers)
    for batch, outputs in batches.forward(model.engine, rows, layers):
        for i, output in zip(batch, outputs, strict=True):
            number = numbers[i]
            means = {layer: output.residuals[at, 0] for at, layer in enumerate(layers)}  # (width,) each
            names = wanted(grid, answers[number].cell, reading)
            scores = {name: float(means[reading[name].layer] @ reading[name].vector) for name in names}
            measures[number] = (float(-output.targets.mean()), scores)
        check()
    return measures


class _Divergences:
    """KL divergence of each condition, computed once for all of its samples."""

    def __init__(self, model: Model, grid: Grid, check: Callable[[], None]) -> None:
        self._model, self._grid, self._check = model, grid, check
        self._plain: dict[bytes, FloatArray] = {}
        self._known: dict[tuple[object, ...], float] = {}

    def of(self, cell: Cell) -> float:
        """In nats."""
        return self._known[self._condition(cell)]

    def learn(self, cells: Iterable[Cell]) -> None:
        """Compute the divergences that are missing."""
        missing = {self._condition(cell): cell for cell in cells}
        fresh = [cell for condition, cell in missing.items() if condition not in self._known]
        prompts = {ids.tobytes(): ids for ids in map(self._reference, fresh)}
        if not prompts.keys() <= self._plain.keys():  # rows are as wide as the vocabulary: keep only these
            self._plain = dict(zip(prompts, self._next([(ids, ()) for ids in prompts.values()]), strict=True))
        self._known.update({self._condition(cell): 0.0 for cell in fresh if cell.arm == BASELINE})
        steered = [cell for cell in fresh if cell.arm != BASELINE]
        for cell, row in zip(steered, self._next([self._asked(cell) for cell in steered]), strict=True):
            self._known[self._condition(cell)] = _divergence(row, self._plain[self._reference(cell).tobytes()])

    def _condition(self, cell: Cell) -> tuple[object, ...]:
        sample = cell.sample if cell.arm == "random" else None  # each sample has its own direction
        return cell.scenario, cell.pressure, cell.arm, cell.pole, cell.vector, cell.layer, cell.alpha, sample

    def _reference(self, cell: Cell) -> IntArray:
        return reference(self._model, self._grid, cell)

    def _asked(self, cell: Cell) -> tuple[IntArray, Steering]:
        prompt = self._grid.prompt(cell)
        ids = self._model.ids(prompt.text, system=self._grid.system(cell.pole), raw=prompt.raw)
        place = PromptPlace.of(self._model.engine, ids, message=prompt.text)
        return ids, RowGates(self._model.engine, knob.steering(self._grid.knobs(cell), place)).steering()

    def _next(self, asked: Sequence[tuple[IntArray, Steering]]) -> list[FloatArray]:
        """Log-probabilities (vocabulary,) of the token after each prompt."""
        rows = [Row(ids, steering, spans=(), full=(len(ids) - 1,)) for ids, steering in asked]
        check_rows(self._model.info, rows, [])
        logs: list[FloatArray] = [np.empty(0, np.float32)] * len(rows)
        for batch, outputs in batches.forward(self._model.engine, rows):
            for i, output in zip(batch, outputs, strict=True):
                logs[i] = output.full[0]
            self._check()
        return logs


def _divergence(steered: FloatArray, plain: FloatArray) -> float:
    logs = steered.astype(np.float64)
    return max(0.0, float((np.exp(logs) * (logs - plain)).sum()))
