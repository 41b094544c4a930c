"""The vectors of an experiment on a model: read from a file, or fitted on the model and stored, so that a resumed run
steers with the same vector.

A fitted vector is identified by its pairs and its configuration. The first process that has it writes its file in the
data folder, with the measures on held-out pairs beside each direction.
"""

from __future__ import annotations

from collections.abc import Callable

from localprobe.capture.job import Amount
from localprobe.chat_template import answers_move, template_key
from localprobe.contrast.pairs import read_pairs
from localprobe.engine import Info
from localprobe.errors import DataError
from localprobe.experiments.experiment import VectorChoice, sha256
from localprobe.experiments.grid import Steered
from localprobe.model import Model
from localprobe.probing.fit import fit
from localprobe.store.names import file_name
from localprobe.store.paths import data, lock
from localprobe.vectors import files as vector_files
from localprobe.vectors.vector import Vector

Watcher = Callable[[Amount], None]
"""Called with the progress of a capture between two slices; it may stop the work by raising."""


def steered(choice: VectorChoice, model: Model, watcher: Watcher) -> Steered:
    """The vector of a choice on a model. Raises what reading, capturing and fitting raise, and VectorError for another
    width."""
    if choice.fit is None:
        vector = choice.load()
        identity = sha256([choice.sha256])
    else:
        vector = _fitted(choice, model, watcher)
        identity = sha256(recipe(choice, model.info))
    info = model.info
    return Steered(choice.name, identity, vector.within(info.model, info.layers, info.width))


def recipe(choice: VectorChoice, info: Info) -> list[object]:
    """The identity of a fitted vector, the same on every machine: nothing that is measured. What 0.1.0 did not know is
    left out where it is not used."""
    probe = choice.probe
    identity = [info.weights, choice.sha256, probe.method, probe.pooling, probe.test_fraction, probe.seed]
    if probe.special_tokens:
        identity.append("special tokens")
    if probe.pooling == "answer" and (info.template_args or answers_move(info)):
        identity += ["whole exchange", template_key(info)]
    return identity


def _fitted(choice: VectorChoice, model: Model, watcher: Watcher) -> Vector:
    info = model.info
    about = [*recipe(choice, info), info.engine, info.dtype, str(info.quantisation), template_key(info)]
    path = data() / "vectors" / f"{file_name(choice.name)}-{sha256(about)[:16]}.safetensors"
    if path.exists():
        return vector_files.load(path)
    vector = fit_choice(choice, model, watcher)
    with lock(path.stem):
        if not path.exists():
            vector_files.save(vector, path)
    return vector_files.load(path)


def fit_choice(choice: VectorChoice, model: Model, watcher: Watcher) -> Vector:
    """Fit at every layer on the training pairs, as `localprobe fit` does, and measure on the rest."""
    if choice.fit is None:
        raise DataError(f"{choice.name} names no pairs to fit on")
    report = fit(model, read_pairs(choice.fit), choice.probe, concept=choice.name, validate=False, capturing=watcher)
    return report.vector
