"""The vectors of an experiment on a model: read from a file, or fitted on it and kept, so that a run that goes on
steers with the same one.

A fitted vector is known by what it is fitted on and how; its file, in the data folder, is written whole, by the first
process that has it. What it reaches on the pairs held out is in the file beside each direction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from localprobe.capture.job import Amount, Capture
from localprobe.contrast.pairs import Pair, read_pairs, split
from localprobe.engine import FloatArray, Info
from localprobe.errors import DataError
from localprobe.experiments.experiment import VectorChoice, sha256
from localprobe.experiments.grid import Steered
from localprobe.model import Model
from localprobe.probing.fitting import fit_vector, probe_of, with_measures
from localprobe.probing.measures import measure
from localprobe.probing.study import LIMIT, pairs_in
from localprobe.vectors import files as vector_files
from localprobe.vectors.vector import Vector

Watcher = Callable[[Amount], None]
"""Told how far a capture is, between two slices; it may end the work by raising."""


def steered(choice: VectorChoice, model: Model, watcher: Watcher) -> Steered:
    """The vector of a choice on a model. Raises what reading, capturing and fitting raise; VectorError for another
    width."""
    if choice.file is not None:
        vector = vector_files.load(choice.file)
        identity = sha256([choice.sha256])
    else:
        vector = _fitted(choice, model, watcher)
        identity = sha256(_recipe(choice, model.info))
    vector.check_compatible(model.info)
    return Steered(choice.name, identity, vector)


def _recipe(choice: VectorChoice, info: Info) -> list[object]:
    """What a fitted vector is known by, on whatever machine: nothing that is measured."""
    return [info.weights, choice.sha256, choice.method, choice.pooling, choice.test_fraction, choice.seed]


def _fitted(choice: VectorChoice, model: Model, watcher: Watcher) -> Vector:
    info = model.info
    from localprobe.store.paths import data

    about = [*_recipe(choice, info), info.engine, info.dtype, str(info.quantisation)]
    path = data() / "vectors" / f"{choice.name}-{sha256(about)[:16]}.safetensors"
    if path.exists():
        return vector_files.load(path)
    vector = fit(choice, model, watcher)
    with _alone(path):
        if not path.exists():
            vector_files.save(vector, path)
    return vector_files.load(path)


def fit(choice: VectorChoice, model: Model, watcher: Watcher) -> Vector:
    """Fit on the training pairs at every layer, as `localprobe fit` does, and measure on the others."""
    if choice.fit is None:
        raise DataError(f"{choice.name} names no pairs to fit on")
    pairs = read_pairs(choice.fit)
    train, test = (
        split(pairs, test_fraction=choice.test_fraction, seed=choice.seed) if choice.test_fraction else (pairs, [])
    )
    layers = model.layers()
    capture = Capture(
        model.engine,
        [*pairs_in(train, choice.pooling), *(pairs_in(test, choice.pooling) if test else [])],
        layers,
        choice.pooling,
        limit=LIMIT,
    )
    for amount in capture:
        watcher(amount)
    n = len(train)
    poles = capture.residuals[:n], capture.residuals[n : 2 * n]
    vector = fit_vector(
        choice.name,
        model.info,
        train,
        poles,
        layers,
        model.scale,
        method=choice.method,
        pooling=choice.pooling,
        seed=choice.seed,
    )
    return _measured(vector, test, capture.residuals[2 * n :]) if test else vector


def _measured(vector: Vector, test: list[Pair], residuals: FloatArray) -> Vector:
    """With what each layer reaches on the test pairs: residuals (2 * pairs, layers, width), positive ones first."""
    layers = sorted(vector.directions)
    probe = probe_of(vector, layers)
    scores = probe.scores(residuals)  # (2 * pairs, layers)
    high, low = scores[: len(test)], scores[len(test) :]
    reached = {layer: measure(high[:, i], low[:, i], float(probe.thresholds[i])) for i, layer in enumerate(layers)}
    return with_measures(vector, reached)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    from filelock import FileLock

    from localprobe.store.paths import cache

    lock = cache() / "locks" / f"{path.stem}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock):
        yield
