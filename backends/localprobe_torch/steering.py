"""Terms of a batch as a few tensors per layer: a few operations after each steered block, none after the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
import torch
from torch import Tensor

from localprobe import edits
from localprobe.edits import Edits
from localprobe.engine import FloatArray, Steering
from localprobe_torch.coordinates import Shifts

_TINY = 1e-30
_Planned: TypeAlias = dict[int, tuple[Edits, ...]]


class Edit(Protocol):
    """An edit of residuals at one layer, for all rows of a pass."""

    def to(self, hidden: Tensor) -> Tensor:
        """Edit a residual (rows, columns, width); float32 in, float32 out."""
        ...


@dataclass(frozen=True, slots=True)
class Addition:
    """One delta per row, for some of its columns; zeros for a row without one."""

    deltas: Tensor
    """(rows, 1, width) float32."""
    columns: Tensor | None
    """(rows, columns, 1) float32, 1 where the delta applies; None where it applies to all."""

    def to(self, hidden: Tensor) -> Tensor:
        if self.columns is None:
            return hidden + self.deltas
        return torch.addcmul(hidden, self.columns, self.deltas)


@dataclass(frozen=True, slots=True)
class Turn:
    """An addition that keeps the length of the residual. Where the delta is 0, both lengths are the same number."""

    addition: Addition

    def to(self, hidden: Tensor) -> Tensor:
        added = self.addition.to(hidden)
        return added * (_length(hidden) / _length(added).clamp_(min=_TINY))


@dataclass(frozen=True, slots=True)
class LayerSteering:
    """All edits of one layer in one pass. Calling it steers a residual (rows, columns, width), in float32."""

    edits: Sequence[Edit]

    def __call__(self, hidden: Tensor) -> Tensor:
        steered = hidden.float()
        for edit in self.edits:
            steered = edit.to(steered)
        return steered.to(hidden.dtype)


def plan_steering(
    rows: Sequence[Steering], starts: Sequence[int], lengths: Sequence[int], devices: Sequence[torch.device]
) -> dict[int, LayerSteering]:
    """Steering of one pass, by layer. `devices` are those of each layer's residual; see `localprobe.edits.plan`."""
    return _placed(edits.plan(rows, starts, lengths), devices)


class RowSteering:
    """The terms of a row that decodes, whose edits are planned anew only where a term begins or ends."""

    def __init__(self, steering: Steering) -> None:
        self.steering = steering
        self.until = float("-inf")
        """The position at which the edits change next."""
        self._edits: _Planned = {}

    def at(self, position: int) -> _Planned:
        """Its edits of one position, by layer; positions do not go back."""
        if position >= self.until:
            self._edits = edits.plan([self.steering], [position], [1])
            self.until = next_change(self.steering, position)
        return self._edits


def plan_step(
    rows: Sequence[RowSteering], positions: Sequence[int], devices: Sequence[torch.device]
) -> tuple[dict[int, LayerSteering], float]:
    """Steering of a pass over one position of each row, by layer, and for how many steps it stays valid."""
    planned = _together([row.at(position) for row, position in zip(rows, positions, strict=True)])
    if planned is None:
        planned = edits.plan([row.steering for row in rows], positions, [1] * len(rows))
    steps = min(row.until - position for row, position in zip(rows, positions, strict=True))
    return _placed(planned, devices), steps


def _together(rows: Sequence[_Planned]) -> _Planned | None:
    """What `edits.plan` gives for all rows, from the edits of each; None unless each row makes one addition a layer.

    Arranging what rows have anew, rather than their terms, is what makes a row that joins many others cheap.
    """
    made: dict[tuple[int, ...], tuple[Edits, ...]] = {}  # layers at which all rows do the same share their edits
    together = {}
    for layer in sorted({layer for row in rows for layer in row}):
        own = [row.get(layer, ()) for row in rows]
        if any(len(each) > 1 or (each and each[0].kind != "add") for each in own):
            return None
        key = tuple(map(id, own))
        if key not in made:
            made[key] = (_stacked([each[0].deltas if each else None for each in own]),)
        together[layer] = made[key]
    return together


def _stacked(deltas: Sequence[FloatArray | None]) -> Edits:
    """One addition (1, 1, width) per row, or none."""
    width = next(own.shape[-1] for own in deltas if own is not None)
    stacked = np.zeros((len(deltas), 1, width), np.float32)
    for row, own in enumerate(deltas):
        if own is not None:
            stacked[row] = own[0]
    return Edits("add", None, stacked)


def _placed(planned: _Planned, devices: Sequence[torch.device]) -> dict[int, LayerSteering]:
    """Edits by layer, on the device of each layer."""
    made: dict[tuple[int, torch.device], LayerSteering] = {}
    placed = {}
    for layer, own in planned.items():
        key = id(own), devices[layer]  # layers that are edited alike share their tensors
        if key not in made:
            made[key] = LayerSteering([_edit(each, devices[layer]) for each in own])
        placed[layer] = made[key]
    return placed


def next_change(steering: Steering, position: int) -> float:
    """The first position after `position` where a term of a row begins or ends; infinity if none does."""
    edges = (edge for term in steering for edge in (term.start, term.stop) if edge is not None and edge > position)
    return min(edges, default=float("inf"))


def _length(hidden: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(hidden, dim=-1, keepdim=True)
    return length


def _edit(each: Edits, device: torch.device) -> Edit:
    if each.deltas is None:
        return Shifts.of(each, device)
    columns = None if each.columns is None else torch.from_numpy(each.columns).to(device, torch.float32)
    addition = Addition(torch.from_numpy(each.deltas).to(device, non_blocking=True), columns)
    return addition if each.kind == "add" else Turn(addition)
