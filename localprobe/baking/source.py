"""The weights to bake, as a folder, and the directions to remove, before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localprobe.baking.families import refuse_norms
from localprobe.errors import UnsupportedModel
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
    library, target = library or Library(), _Target(weights.name, weights.fingerprint, layers, width)
    found = [given if isinstance(given, Vector) else library.vector(given, target) for given in references]
    notices = [notice for vector in found for notice in vector.check_compatible(target)]
    return [replace(vector.within(target.model, layers, width), notices=()) for vector in found], notices


@dataclass(frozen=True, slots=True)
class _Target:
    """The model to bake, as `localprobe.vectors.vector.ModelShape` asks for it."""

    model: str
    weights: str
    layers: int
    width: int
