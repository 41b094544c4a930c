"""torch's own linear layers for a while, where the engine lets oneDNN compute them: what is left of a ratio without."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from benchmarks.timing import interleaved, row
from localprobe.model import Model
from localprobe_torch.linear import OneDnnLinear


def rows(
    model: Model,
    measure: str,
    ours: Callable[[], float | None],
    other: Callable[[], float | None],
    units: float,
    goal: float,
    rounds: int,
) -> list[dict[str, Any]]:
    """A row as localprobe computes it and, where that is by oneDNN, one as torch would, for which there is no goal."""
    found = [row(measure, *interleaved(ours, other, rounds), units, "tok/s", goal)]
    layers = [layer for layer in model.engine._network.head._model.modules() if type(layer) is OneDnnLinear]  # type: ignore[attr-defined]
    if layers:
        for layer in layers:
            layer.__class__ = nn.Linear
        found.append(row("the same by MKL", *interleaved(ours, other, rounds), units, "tok/s", None))
        for layer in layers:
            layer.__class__ = OneDnnLinear
    return found
