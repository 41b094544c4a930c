"""Baking: from a model's name and vectors to a folder of weights without their directions."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from localprobe.baking import check as checking
from localprobe.baking import note, source
from localprobe.baking.families import plan
from localprobe.baking.folder import Source, check_output, copy_rest, new_folder, write_weights
from localprobe.baking.result import Baked, Check, Removed
from localprobe.baking.stored import NAMES, Edit, tensors
from localprobe.baking.subspace import Basis, basis
from localprobe.engine import Weights
from localprobe.errors import EngineNotInstalled, OutOfMemory, UnsupportedModel, UsageError
from localprobe.experiments.experiment import vector_hash
from localprobe.models.checkpoint import read_json, weight_files
from localprobe.models.shape import shape
from localprobe.probing.named import Reference
from localprobe.progress import Progress, silent
from localprobe.vectors.vector import Vector


def bake(
    model: str,
    vectors: Sequence[Reference],
    output: Path,
    *,
    layer: int | None = None,
    share: float = 1.0,
    check: bool = True,
    notify: Callable[[str], None] = warnings.warn,
    progress: Progress = silent,
) -> Baked:
    """Write a model's weights into the folder `output`, with the directions of `vectors` removed from all that writes
    to the residual stream: the token embedding, and the outputs of attention and MLP with their biases.

    `model` is a name, a Hugging Face folder or a GGUF file, which is converted. Each of `vectors` is a vector, a file
    or a name in the library, and its direction is that of `layer`, or of its best layer; several are removed as the
    subspace that they span. `share` s in (0, 1] of it is removed: W' = W - s D D^T W. At share 1 this is the weight
    orthogonalisation of Arditi et al. 2024 (arXiv:2406.11717), equal in exact arithmetic to projecting D out of the
    embedding and of every attention and MLP output while the model runs. An embedding that is also the unembedding is
    untied, so that the unembedding stays.

    The result is loaded on an engine that loads folders, and its residuals are searched for what is left, unless
    `check` is False; see `check.check`. The folder appears whole or not at all. Needs memory for the largest tensor
    twice, and for the model where it is checked.

    Raises UsageError, VectorError, ModelError (UnsupportedModel for weights that cannot hold the removal) and, from the
    check, EngineError.
    """
    output = output.expanduser().absolute()
    if not 0 < share <= 1:
        raise UsageError(f"`share` {share:g} is out of range: give a number above 0, up to 1")
    if not vectors:
        raise UsageError("there is no vector: give at least one")
    check_output(output)
    read = source.read_files(list(vectors))
    weights = source.find(model, progress)
    found = _checkpoint(weights)
    chosen, notices = source.vectors_for(read, weights, *_shape(weights.path))
    for line in notices:
        notify(line)
    layers = [vector.layer(layer) for vector in chosen]
    directions = basis(chosen, layers)
    if not found.plan.certain and not (check and checking.engines()):
        raise UnsupportedModel(
            f"{found.plan.architecture} is not an architecture that localprobe knows how to bake: its result must be "
            "checked on an engine that loads folders, so install torch or mlx-lm, and do not turn the check off"
        )
    removed = [_removed(vector, layer) for vector, layer in zip(chosen, layers, strict=True)]
    baked = _baked(output, weights, found, share, removed)
    return _written(baked, found, directions, check, progress)


def _checkpoint(weights: Weights) -> Source:
    folder = weights.path
    config = read_json(folder / "config.json")
    source.refuse_quantised(weights.name, folder, config)
    stored = tensors(weight_files(folder))
    return Source(folder, config, stored, plan(config, {name: tensor.shape for name, tensor in stored.items()}))


def _shape(folder: Path) -> tuple[int, int]:
    known = shape(str(folder))
    if known is None:
        raise UnsupportedModel(f"{folder / 'config.json'} does not say how many layers of what width the model has")
    return known.layers, known.width


def _removed(vector: Vector, layer: int) -> Removed:
    return Removed(vector.concept, layer, vector_hash(vector), vector.origin.model)


def _baked(output: Path, weights: Weights, found: Source, share: float, removed: Sequence[Removed]) -> Baked:
    kinds = sorted({found.tensors[name].dtype for name in found.plan.writes})
    added = found.plan.untie and found.plan.head not in found.tensors
    return Baked(
        output=output,
        model=weights.name,
        weights=weights.fingerprint,
        architecture=found.plan.architecture,
        dtype=", ".join(NAMES.get(kind, kind) for kind in kinds),
        share=share,
        removed=tuple(removed),
        changed=found.plan.changed,
        tensors=len(found.tensors) + added,
        untied=found.plan.untie,
        quantisation=source.quantisation_of(weights.path),
    )


def _written(baked: Baked, found: Source, directions: Basis, check: bool, progress: Progress) -> Baked:
    with new_folder(baked.output, found.size) as half:
        left_out = copy_rest(found, half)
        done, why = (None, "the check was turned off")
        if check:
            # What is left along the directions tells whether all writers were found only where all is removed.
            digests = write_weights(found, half, Edit(directions, 1.0), _count("writing", found.size, progress))
            done, why = _checked(half, directions, found, progress)
        if not check or baked.share != 1:
            edit = Edit(directions, baked.share)
            digests = write_weights(found, half, edit, _count("writing", found.size, progress))
        baked = replace(baked, left_out=left_out, check=done, unchecked=why)
        note.write(baked, found.folder, half, digests)
    return baked


def _checked(half: Path, directions: Basis, found: Source, progress: Progress) -> tuple[Check | None, str]:
    """What the check found, or why there was none."""
    kinds = {found.tensors[name].dtype for name in found.plan.writes}
    coarsest = max((NAMES[kind] for kind in kinds), key=lambda kind: checking.TOLERANCE[kind])
    try:
        return checking.check(half, directions, coarsest, progress), ""
    except (EngineNotInstalled, OutOfMemory) as error:
        if not found.plan.certain:
            raise
        return None, str(error)


def _count(what: str, total: int, progress: Progress) -> Callable[[int], None]:
    done = 0

    def count(written: int) -> None:
        nonlocal done
        done += written
        progress(f"{what} the weights", done, total)

    return count
