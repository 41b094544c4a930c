"""The weights to bake, as a folder, and the directions to remove, before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localprobe.baking.families import refuse_norms
from localprobe.errors import UnsupportedModel, VectorError
from localprobe.gguf.folder import MARK, source_of
from localprobe.models.checkpoint import read_json
from localprobe.models.weights import converted
from localprobe.probing.named import Reference
from localprobe.progress import Progress, silent
from localprobe.store.names import path_of
from localprobe.vectors import files
from localprobe.vectors.library import Library, is_path
from localprobe.vectors.vector import Vector

if TYPE_CHECKING:
    from localprobe.engine import Weights

_MODELOPT = "hf_quant_config.json"


def read_files(references: list[Reference]) -> list[Reference]:
    """The references, those to files replaced by their vectors. Raises VectorError before a model is looked for."""
    return [
        files.load(path_of(given)) if not isinstance(given, Vector) and is_path(given) else given
        for given in references
    ]


def find(name: str, progress: Progress = silent) -> Weights:
    """The folder of a model, downloaded, or converted from GGUF, if necessary.

    Raises ModelError: UnsupportedModel for a GGUF file of an architecture that cannot be baked, before it is converted.
    """
    from localprobe import discovery, models
    from localprobe.gguf.parts import read_model
    from localprobe.models.catalogue import CATALOGUE, FAKE
    from localprobe.models.names import locate, source, variant

    backend = discovery.backend("torch")  # what loads folders; nothing of torch is imported for it
    if name != FAKE:
        entry = CATALOGUE.get(name.lower())
        path = locate(variant(entry, backend) if entry else source(name), backend, download=True, progress=progress)
        if path.is_file():
            refuse_norms(read_model(path).architecture)
    return models.resolve(name, backend, progress=progress)


def quantisation_of(folder: Path) -> str:
    """The quantisation of the GGUF file that a folder of our cache was converted from; empty for any other folder."""
    if source_of(folder, converted()) is None:
        return ""
    return str(read_json(folder / MARK).get("quantisation") or "")


def refuse_quantised(name: str, folder: Path, config: Mapping[str, Any]) -> None:
    """Raise UnsupportedModel for a folder of quantised weights, which cannot hold the edit."""
    declared = config.get("quantization_config") or config.get("quantization")
    if not declared and not (folder / _MODELOPT).is_file():
        return
    kind = declared.get("quant_method", "") if isinstance(declared, dict) else ""
    raise UnsupportedModel(
        f"{name} is quantised ({kind or 'by mlx-lm' if declared else _MODELOPT}), and quantised weights cannot hold "
        "the removal: bake the original weights, then quantise the result"
    )


def vectors_for(
    references: list[Reference], weights: Weights, layers: int, width: int, library: Library | None = None
) -> tuple[list[Vector], list[str]]:
    """The vectors of references for a model that is not loaded, and notices about them.

    A name is looked up in the library: the vector fitted on these weights, or else on others of the same base model.
    VectorError if there is none, or if one has another width.
    """
    library = library or Library()
    found = [given if isinstance(given, Vector) else _named(library, str(given), weights) for given in references]
    fitting = [vector.within(weights.name, layers, width) for vector in found]
    notices = [notice for vector in fitting for notice in vector.notices]
    notices += [
        f"vector {vector.concept!r} was made for {vector.origin.model}, not for {weights.name}: expect little of it"
        for vector in fitting
        if not _made_for(vector, weights) and vector.origin.model
    ]
    return [replace(vector, notices=()) for vector in fitting], notices


def _named(library: Library, name: str, weights: Weights) -> Vector:
    exact = library.path(name, weights.fingerprint)
    if exact.is_file():
        return files.load(exact)
    named = library.named(name)
    if fitting := [entry.vector for entry in named if _made_for(entry.vector, weights)]:
        return fitting[0]
    if not named:
        raise VectorError(f"no vector {name!r}: it is neither a file nor a name of `localprobe vector list`")
    kept = ", ".join(dict.fromkeys(entry.vector.origin.model for entry in named))
    raise VectorError(f"the vector {name!r} is kept for {kept}, not for {weights.name}: fit one for it, or name a file")


def _made_for(vector: Vector, weights: Weights) -> bool:
    origin = vector.origin
    return origin.weights == weights.fingerprint or (origin.model == weights.name and bool(origin.model))
