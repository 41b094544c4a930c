"""A probe fitted on some pairs, its layer chosen among them, and measured on others."""

from __future__ import annotations

from dataclasses import dataclass

from localprobe.engine import FloatArray
from localprobe.probing.choice import choose_layer, middle
from localprobe.probing.measures import Measures, measure
from localprobe.probing.methods import fit
from localprobe.probing.probe import Probe


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """A mean-difference probe of every layer, and what it measures on pairs that it has not seen."""

    probe: Probe
    measures: tuple[Measures, ...]
    """A layer each, on the pairs held out."""
    best: int
    """The layer chosen inside the training pairs, of the middle ones."""


def hold_out(train: tuple[FloatArray, FloatArray], test: tuple[FloatArray, FloatArray], *, seed: int = 0) -> HeldOut:
    """Fit on the training pairs and measure on the test pairs.

    Each is (positive, negative), pooled residuals (pairs, layers, width) of which row i is one pair. The layer is
    chosen of the `middle` ones. Raises DataError.
    """
    candidates = middle(train[0].shape[1])
    probe = fit(*train)
    high, low = probe.scores(test[0]), probe.scores(test[1])  # (pairs, layers)
    measures = tuple(
        measure(high[:, layer], low[:, layer], float(probe.thresholds[layer])) for layer in range(high.shape[1])
    )
    chosen = choose_layer(train[0][:, candidates], train[1][:, candidates], seed=seed)
    return HeldOut(probe, measures, candidates[chosen])
