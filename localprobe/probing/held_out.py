"""A probe fitted on some pairs, its layer chosen among them, and measured on others."""

from __future__ import annotations

from dataclasses import dataclass

from localprobe.engine import FloatArray, Info
from localprobe.probing.choice import choose_layer
from localprobe.probing.measures import Measures, measure
from localprobe.probing.methods import fit
from localprobe.probing.probe import Probe
from localprobe.vectors import Direction, Origin, Vector


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """A mean-difference probe of every layer, and what it measures on pairs that it has not seen."""

    probe: Probe
    measures: tuple[Measures, ...]
    """A layer each, on the pairs held out."""
    best: int
    """The layer chosen inside the training pairs, of the middle ones."""

    def vector(self, concept: str, info: Info, pooling: str, scale: FloatArray) -> Vector:
        """The probe as a vector to steer with; `scale` is the model's, (layers,)."""
        directions = {
            layer: Direction(
                vector=self.probe.directions[layer],
                norm=float(self.probe.norms[layer]),
                threshold=float(self.probe.thresholds[layer]),
                scale=float(scale[layer]),
                measures={"auroc": each.auroc, "accuracy": each.accuracy, "separation": each.separation},
            )
            for layer, each in enumerate(self.measures)
        }
        return Vector(concept, Origin.of(info, method="mean-difference", pooling=pooling), directions, self.best)


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


def middle(layers: int) -> list[int]:
    """The middle half of a model's layers, 8 to 24 of the paper's 32: to steer with, a layer below reads little but the
    words that stand there, and one above little but the word that comes next."""
    return list(range(layers // 4, 3 * layers // 4 + 1))
