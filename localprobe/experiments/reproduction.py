"""An experiment's grid for other models and pairs: the steering half of `localprobe reproduce`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from localprobe.contrast.system_prompts import SystemPrompts
from localprobe.experiments.experiment import Experiment, ModelChoice, VectorChoice
from localprobe.probing.config import ProbeConfig


def adapted(
    grid: Experiment,
    models: Sequence[ModelChoice],
    pairs: Path,
    probe: ProbeConfig,
    *,
    concept: str,
    system: SystemPrompts | None = None,
) -> Experiment:
    """The grid with these models, each steered by its own probe, fitted on the training part of `pairs`.

    A model that the grid already names keeps its layers and strengths. `system` replaces the grid's system prompts, if
    its arms use any. DataError if the pairs cannot be read.
    """
    own = {model.name: model for model in grid.models}
    return replace(
        grid,
        concept=concept,
        models=tuple(
            replace(model, layers=own[model.name].layers, strengths=own[model.name].strengths)
            if model.name in own
            else model
            for model in models
        ),
        vectors=(VectorChoice(concept, fit=pairs, probe=probe),),
        system=system if system and grid.system else grid.system,
        seed=probe.seed,
    )
