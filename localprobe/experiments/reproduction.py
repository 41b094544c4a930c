"""An experiment's grid for other models and pairs: the steering half of `localprobe reproduce`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from localprobe.contrast.system_prompts import SystemPrompts
from localprobe.experiments.experiment import Experiment, ModelChoice, VectorChoice


def adapted(
    grid: Experiment,
    models: Sequence[ModelChoice],
    pairs: Path,
    *,
    concept: str,
    method: str,
    pooling: str,
    test_fraction: float,
    seed: int,
    system: SystemPrompts | None = None,
) -> Experiment:
    """The grid with these models, each steered by a probe of its own, fitted on the training part of `pairs`.

    A model that the grid knows by name keeps the layers and strengths that the grid gives it. `system` takes the place
    of its system prompts, if its arms use any.
    """
    known = {model.name: model for model in grid.models}
    chosen = [
        replace(model, layers=known[model.name].layers, strengths=known[model.name].strengths)
        if model.name in known
        else model
        for model in models
    ]
    vector = VectorChoice(
        name=concept,
        fit=pairs,
        method=method,
        pooling=pooling,
        test_fraction=test_fraction,
        seed=seed,
        sha256=hashlib.sha256(pairs.read_bytes()).hexdigest(),
    )
    return replace(
        grid,
        concept=concept,
        models=tuple(chosen),
        vectors=(vector,),
        system=system if system and grid.system else grid.system,
        seed=seed,
    )
