"""A pass over rows without a cache: rows packed into batches, residuals pooled as they appear, log-probabilities."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from localprobe.engine import FloatArray, Output, Row, Steering
from localprobe.sampling import log_softmax
from localprobe_llama.callback import Reader, Work
from localprobe_llama.context import MOST_SEQUENCES, Context
from localprobe_llama.edits import Edit
from localprobe_llama.model import LlamaModel
from localprobe_llama.pool import Need, Pool
from localprobe_llama.steering import control, effective, plan

_ROWS = min(64, MOST_SEQUENCES)
_LOGITS = 16  # rows of logits turned into log-probabilities at a time


def forward(model: LlamaModel, pool: Pool, rows: Sequence[Row], layers: Sequence[int]) -> list[Output]:
    """See `localprobe.engine.Engine.forward`."""
    gathered = [_Gathered(row, layers, model) for row in rows]
    busy = [row for row in gathered if layers or row.scored]
    if busy:
        # llama.cpp splits batches of recurrent models itself, so their rows are run one by one.
        groups = list(_groups(busy, model.batch, _ROWS if model.rewinds else 1))
        context = pool.take(_need(model, groups, layers))
        try:
            deltas = control([(row.steering, 0) for row in busy])
            controlled = deltas is not None and (model.controls or not deltas)
            context.control(deltas if deltas and controlled else {})
            for group in groups:
                _run_group(context, model, group, layers, steered=not controlled)
                context.clear()
        finally:
            pool.give(context)
    return [row.output() for row in gathered]


def _groups(rows: Sequence[_Gathered], size: int, count: int) -> Iterator[list[_Gathered]]:
    """Groups of up to `count` rows for one batch of at most `size` tokens. A longer row is run alone, in pieces."""
    group: list[_Gathered] = []
    tokens = 0
    for row in rows:
        if group and (tokens + len(row.row.ids) > size or len(group) == count):
            yield group
            group, tokens = [], 0
        group.append(row)
        tokens += len(row.row.ids)
    yield group


def _need(model: LlamaModel, groups: Sequence[Sequence[_Gathered]], layers: Sequence[int]) -> Need:
    longest = max(len(row.row.ids) for group in groups for row in group)
    scored = max(sum(int(row.wanted.sum()) for row in group) for group in groups)
    outputs = model.batch if model.layers - 1 in layers else min(scored, model.batch)
    tokens = max(sum(len(row.row.ids) for row in group) for group in groups)
    return Need(tokens, max(map(len, groups)), longest, outputs)


def _run_group(
    context: Context, model: LlamaModel, group: Sequence[_Gathered], layers: Sequence[int], *, steered: bool
) -> None:
    scored = any(row.scored for row in group)
    stop = None if scored else max(layers)
    length = max(len(row.row.ids) for row in group)
    for start in range(0, length, model.batch):  # more than one piece only if the group is one long row
        pieces: list[_Piece] = []
        first = 0
        for row in group:
            pieces.append(_Piece(row, start, min(len(row.row.ids), start + model.batch), first))
            first = pieces[-1].last
        _run_batch(context, model, pieces, layers, stop, steered=steered)


@dataclass(frozen=True, slots=True)
class _Piece:
    """Positions [start, stop) of a row, as rows [first, last) of a batch."""

    row: _Gathered
    start: int
    stop: int
    first: int

    @property
    def last(self) -> int:
        return self.first + self.stop - self.start


def _run_batch(
    context: Context,
    model: LlamaModel,
    pieces: Sequence[_Piece],
    layers: Sequence[int],
    stop: int | None,
    *,
    steered: bool,
) -> None:
    lengths = [piece.stop - piece.start for piece in pieces]
    tokens = np.concatenate([piece.row.row.ids[piece.start : piece.stop] for piece in pieces])
    positions = np.concatenate([np.arange(piece.start, piece.stop, dtype=np.int32) for piece in pieces])
    sequences = np.repeat(np.arange(len(pieces), dtype=np.int32), lengths)
    scored = np.concatenate([piece.row.wanted[piece.start : piece.stop] for piece in pieces])
    # The residual of the top block is computed only for outputs.
    outputs = np.ones_like(scored) if model.layers - 1 in layers else scored
    work = Work(_edits(pieces) if steered else {}, _readers(pieces, layers), stop)
    context.decode(tokens, positions, sequences, outputs, work)
    if scored.any():
        _score(context.logits(int(outputs.sum())), pieces, scored, outputs)


def _edits(pieces: Sequence[_Piece]) -> Mapping[int, Sequence[Edit]]:
    edits: dict[int, list[Edit]] = {}
    for piece in pieces:
        plan(edits, piece.row.steering, piece.start, piece.stop, piece.first)
    return edits


def _readers(pieces: Sequence[_Piece], layers: Sequence[int]) -> Mapping[int, Reader]:
    def reader(layer: int) -> Reader:
        places = [place for place, requested in enumerate(layers) if requested == layer]

        def read(residual: FloatArray) -> None:  # (rows, width)
            for piece in pieces:
                for place in places:
                    piece.row.take(place, residual[piece.first : piece.last], piece.start)

        return read

    return {layer: reader(layer) for layer in set(layers)}


def _score(logits: FloatArray, pieces: Sequence[_Piece], scored: NDArray[np.bool_], outputs: NDArray[np.bool_]) -> None:
    """Hand log-probabilities to the rows that requested them. `logits` (outputs, vocabulary)."""
    places = np.cumsum(outputs) - 1
    requested = [
        (piece.row, position, places[piece.first + position - piece.start])
        for piece in pieces
        for position in np.flatnonzero(piece.row.wanted[piece.start : piece.stop]) + piece.start
    ]
    for at in range(0, len(requested), _LOGITS):
        part = requested[at : at + _LOGITS]
        logprobs = log_softmax(logits[[place for _, _, place in part]])  # (part, vocabulary)
        for (row, position, _), line in zip(part, logprobs, strict=True):
            row.score(int(position), line)


class _Gathered:
    """The results of one row so far."""

    def __init__(self, row: Row, layers: Sequence[int], model: LlamaModel) -> None:
        self.row = row
        self.steering: Steering = effective(row.steering)
        self.targets = np.zeros((0, 2), np.int32) if row.targets is None else row.targets
        self.wanted = np.zeros(len(row.ids), np.bool_)  # positions whose logits are needed
        self.wanted[self.targets[:, 0]] = True
        self.wanted[list(row.full)] = True
        self.scored = bool(self.wanted.any())
        count = len(row.ids) if row.spans is None else len(row.spans)
        self._residuals = np.zeros((len(layers), count, model.width), np.float32)
        self._target_logprobs = np.zeros(len(self.targets), np.float32)
        self._full_logprobs = np.zeros((len(row.full), model.vocabulary.size), np.float32)

    def take(self, place: int, residual: FloatArray, start: int) -> None:
        """Residuals (n, width) of positions from `start` on, of the layer at index `place`."""
        stop = start + len(residual)
        if self.row.spans is None:
            self._residuals[place, start:stop] = residual
            return
        for number, (first, last) in enumerate(self.row.spans):
            inside = residual[max(first - start, 0) : max(last - start, 0)]
            self._residuals[place, number] += inside.sum(axis=0)

    def score(self, position: int, logprobs: FloatArray) -> None:
        """Next-token log-probabilities (vocabulary,) of a position."""
        at = self.targets[:, 0] == position
        self._target_logprobs[at] = logprobs[self.targets[at, 1]]
        for number, full in enumerate(self.row.full):
            if full == position:
                self._full_logprobs[number] = logprobs

    def output(self) -> Output:
        if self.row.spans:
            lengths = np.array([stop - start for start, stop in self.row.spans], np.float32)
            self._residuals /= lengths[:, None]
        return Output(self._residuals, self._target_logprobs, self._full_logprobs)
