"""A probe file from contrast pairs: directions at every layer, thresholds, scale, and the layer chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

import numpy as np

from localprobe.contrast.pairs import Pair
from localprobe.engine import FloatArray, Info
from localprobe.errors import DataError
from localprobe.probing.choice import choose_layer, middle
from localprobe.probing.measures import Measures
from localprobe.probing.methods import fit
from localprobe.probing.probe import Probe
from localprobe.vectors.vector import Direction, Origin, Vector


def fit_vector(
    concept: str,
    info: Info,
    pairs: Sequence[Pair],
    poles: tuple[FloatArray, FloatArray],
    layers: Sequence[int],
    scale: FloatArray,
    *,
    method: str = "mean-difference",
    pooling: str = "mean",
    seed: int = 0,
) -> Vector:
    """Fit at each of `layers` on both poles (pairs, layers, width) of training pairs.

    The layer to use is chosen by cross-validation inside these pairs: of the middle ones if every layer of the model is
    here, else of all. `scale` is the model's, for all of its layers. Raises DataError, UsageError.
    """
    probe = fit(*poles, method)
    among = candidates(info.layers, layers)
    chosen = choose_layer(poles[0][:, among], poles[1][:, among], method=method, seed=seed)
    origin = Origin.of(info, method=method, pooling=pooling, trained_on=trained_on(pairs))
    return as_vector(probe, concept, origin, layers, scale, layers[among[chosen]])


def trained_on(pairs: Sequence[Pair]) -> tuple[str, ...]:
    """Names of the pairs that a probe was fitted on, for its file."""
    return tuple(sorted(pair.hash for pair in pairs))


def as_vector(
    probe: Probe,
    concept: str,
    origin: Origin,
    layers: Sequence[int],
    scale: FloatArray,
    best: int,
    measures: Sequence[Mapping[str, float]] | None = None,
) -> Vector:
    """A fitted probe as a file holds it; `measures`, a layer each, are what it reached on pairs held out."""
    directions = {
        layer: Direction(
            vector=probe.directions[i],
            norm=float(probe.norms[i]),
            threshold=float(probe.thresholds[i]),
            scale=float(scale[layer]),
            measures=measures[i] if measures else {},
        )
        for i, layer in enumerate(layers)
    }
    return Vector(concept, origin, directions, best)


def with_measures(vector: Vector, measures: Mapping[int, Measures]) -> Vector:
    """The vector with what each of its layers reached on pairs held out, for its file."""
    directions = {b: replace(each, measures=asdict(measures[b])) for b, each in vector.directions.items()}
    return replace(vector, directions=directions)


def candidates(model_layers: int, layers: Sequence[int]) -> list[int]:
    """Indices into `layers` of those that the layer to use is chosen from: the middle ones if every layer of the model
    is here, else all."""
    return middle(model_layers) if len(layers) == model_layers else list(range(len(layers)))


def probe_of(vector: Vector, layers: Sequence[int]) -> Probe:
    """The directions of a probe file as the statistics need them. DataError for one that is not of length 1."""
    directions = np.stack([vector.directions[layer].vector for layer in layers])
    if not np.allclose(np.linalg.norm(directions, axis=-1), 1, atol=1e-3):
        raise DataError(f"{vector.concept} holds control vectors of other lengths, not a probe: fit one")
    return Probe(
        directions,
        np.array([vector.directions[layer].norm for layer in layers], dtype=np.float32),
        np.array([vector.directions[layer].threshold for layer in layers], dtype=np.float32),
    )
