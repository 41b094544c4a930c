"""A vector by reference: a file, a name in the library, or a shipped set of pairs to fit it on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from localprobe.capture.job import Amount
from localprobe.contrast.pairs import PAIR_SETS, read_pairs
from localprobe.errors import DataError, VectorError
from localprobe.model import Model
from localprobe.probing.fit import fit
from localprobe.store.names import path_of
from localprobe.vectors import files
from localprobe.vectors.library import Library, is_path
from localprobe.vectors.vector import Origin, Vector

Reference = Vector | str | Path


def vector_for(
    model: Model,
    reference: Reference,
    *,
    library: Library | None = None,
    notify: Callable[[str], None] = lambda line: None,
    capturing: Callable[[Amount], None] = lambda amount: None,
) -> Vector:
    """The vector that a reference stands for on a model.

    A vector is returned as it is, and a path is read. A name is looked up in the library among the vectors for this
    model; if there is none, and a contrast set of that name ships, the vector is fitted on that set and kept, with a
    message to `notify`; a model on a server has the names of the server only. Raises VectorError if there is neither,
    and what reading and fitting raise.
    """
    if isinstance(reference, Vector):
        return reference
    name = str(reference)
    try:
        return model.find(reference) if library is None else library.vector(reference, model.info)
    except VectorError as error:
        if is_path(reference) or model.served:
            raise
        try:
            pairs = read_pairs(PAIR_SETS.path(name))
        except DataError:
            raise error from None
    notify(f"no vector {name!r} is kept for {model.info.model}: fitting it on the {len(pairs)} pairs that ship")
    vector = fit(model, pairs, concept=name, validate=False, capturing=capturing).vector
    notify(f"kept as {(library or Library()).keep(vector)}")
    return vector


def origin_of(reference: Reference, library: Library | None = None) -> Origin | None:
    """The origin of the vector that a reference stands for, before a model is loaded; None if it is unknown.

    It is also None if the library has vectors of that name for several models.
    """
    if isinstance(reference, Vector):
        return reference.origin
    if is_path(reference):
        return files.load(path_of(reference)).origin
    origins = {entry.vector.origin.model: entry.vector.origin for entry in (library or Library()).named(str(reference))}
    return next(iter(origins.values())) if len(origins) == 1 else None
