"""Whether a probe generalises: each scenario, or each generator, is scored by a probe fitted without it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from localprobe.engine import FloatArray
from localprobe.errors import DataError
from localprobe.probing.choice import choose_layer
from localprobe.probing.examples import Examples
from localprobe.probing.methods import fit
from localprobe.stats.auroc import aurocs
from localprobe.stats.intervals import Area, area


@dataclass(frozen=True, slots=True)
class Group:
    """One scenario or generator, scored by a probe that was fitted and whose layer was chosen on the others."""

    name: str
    pairs: int
    layer: int
    """The layer cross-validated inside the other groups."""
    at_layer: Area
    """Without an interval for a single pair."""
    aurocs: tuple[float, ...]
    """At every layer."""


@dataclass(frozen=True, slots=True)
class LeaveOut:
    """All groups, each left out once."""

    by: str
    """`scenario` or `generator`."""
    pooled: Area
    """AUROC of all pairs together, each scored at the layer chosen without its group, on a scale where its probe's
    training means are 0 and 1."""
    pooled_aurocs: tuple[float, ...]
    """At every layer."""
    groups: tuple[Group, ...]


def leave_out(
    examples: Examples,
    names: Sequence[str],
    layers: Sequence[int],
    *,
    by: str,
    choices: Sequence[int] | None = None,
    method: str = "mean-difference",
    resamples: int = 2000,
    seed: int = 0,
) -> LeaveOut:
    """Leave out each group in turn; `names` has the group of each pair. Layers are chosen among `choices` (indices).

    Raises DataError if a pair has no name, there are not two groups, or a group leaves fewer than two pairs.
    """
    labels = np.array(names)
    if len(labels) != len(examples) or not all(names):
        raise DataError(f"leaving out each {by} needs the {by} of every pair: some have none")
    among = list(range(len(layers)) if choices is None else choices)
    distinct = np.unique(labels)
    if len(distinct) < 2:
        raise DataError(f"all pairs have the {by} {names[0]!r}: leaving one out needs at least two")
    high, low = np.empty((2, len(examples), examples.positive.shape[1]))  # (pairs, layers)
    at_layer = np.empty((2, len(examples)))
    groups = []
    for name in distinct:
        out = labels == name
        layer_index, scores = _without(examples, out, by, str(name), among, method, seed)
        high[out], low[out] = scores
        at_layer[:, out] = [pole[:, layer_index] for pole in scores]
        groups.append(
            Group(
                str(name),
                int(out.sum()),
                layers[layer_index],
                area(*at_layer[:, out], resamples=resamples, seed=seed),
                tuple(aurocs(scores[0].T, scores[1].T).tolist()),
            )
        )
    pooled = area(*at_layer, resamples=resamples, seed=seed)
    return LeaveOut(by, pooled, tuple(aurocs(high.T, low.T).tolist()), tuple(groups))


def _without(
    examples: Examples, out: NDArray[np.bool_], by: str, name: str, choices: list[int], method: str, seed: int
) -> tuple[int, tuple[FloatArray, FloatArray]]:
    """Index of the layer chosen without a group, and the group's scores (pairs, layers) of both poles."""
    rest = examples.rows(~out)
    if len(rest) < 2:
        raise DataError(f"without the {by} {name!r} there is {len(rest)} pair left to fit on: it takes at least 2")
    probe = fit(*rest.poles, method)
    layer_index = choices[choose_layer(*(pole[:, choices] for pole in rest.poles), method=method, seed=seed)]
    return layer_index, (probe.positions(examples.positive[out]), probe.positions(examples.negative[out]))
