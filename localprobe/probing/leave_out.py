"""Does a probe hold where it was not fitted? Each scenario, or each generator, is scored by a probe without it."""

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
    """One scenario or generator, scored by a probe that was fitted, and whose layer was chosen, on the others."""

    name: str
    pairs: int
    layer: int
    """The layer chosen inside the others."""
    at_layer: Area
    aurocs: tuple[float, ...]
    """At every layer."""


@dataclass(frozen=True, slots=True)
class LeaveOut:
    """All groups, each left out once."""

    by: str
    """`scenario` or `generator`."""
    pooled: Area
    """Of all pairs together, each at the layer chosen without its group, on the scale of its own probe, where the
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
    """Leave out each of `names`, one for each pair; layers are chosen among `choices` (indices), or among all.

    Raises DataError if a pair has no name, there are not two groups, or a group leaves fewer than two pairs.
    """
    labels = np.array(names)
    if len(labels) != len(examples) or not all(names):
        raise DataError(f"leaving out each {by} takes a {by} for every pair: some have none")
    among = list(range(len(layers)) if choices is None else choices)
    found = np.unique(labels)
    if len(found) < 2:
        raise DataError(f"all pairs have the {by} {names[0]!r}: leaving one out takes at least two")
    high, low = np.empty((2, len(examples), examples.positive.shape[1]))  # (pairs, layers)
    at_layer = np.empty((2, len(examples)))
    groups = []
    for name in found:
        out = labels == name
        chosen, scores = _without(examples, out, by, str(name), among, method, seed)
        high[out], low[out] = scores
        at_layer[:, out] = [pole[:, chosen] for pole in scores]
        groups.append(
            Group(
                str(name),
                int(out.sum()),
                layers[chosen],
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
    chosen = choices[choose_layer(*(pole[:, choices] for pole in rest.poles), method=method, seed=seed)]
    return chosen, (probe.positions(examples.positive[out]), probe.positions(examples.negative[out]))
