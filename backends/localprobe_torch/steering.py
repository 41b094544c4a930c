"""Terms of a batch as a few tensors per layer: a few operations after each steered block, none after the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from localprobe import edits
from localprobe.edits import Edits
from localprobe.engine import Steering
from localprobe_torch.coordinates import Shifts

_TINY = 1e-30


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
    made: dict[tuple[int, torch.device], LayerSteering] = {}
    planned = {}
    for layer, own in edits.plan(rows, starts, lengths).items():
        key = id(own), devices[layer]  # layers that are edited alike share their tensors
        if key not in made:
            made[key] = LayerSteering([_edit(each, devices[layer]) for each in own])
        planned[layer] = made[key]
    return planned


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
