"""Find, test and steer a concept inside a language model on your own machine.

    import localprobe as lp

    model = lp.load("smollm2-135m")
    report = lp.fit(model, lp.pairs("empathy"))
    print(model.answer("My friend has gone quiet.", steer=report.vector, dose=0.2))

Names are imported when they are first used (PEP 562), so importing localprobe is instant.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from localprobe.version import __version__

if TYPE_CHECKING:
    from localprobe.api import bake, calibrate, concept, connect, fit, load, validate, vector
    from localprobe.contrast.pair_set import PairSet, pairs
    from localprobe.contrast.pairs import Pair
    from localprobe.engine import LoadOptions, Sampler
    from localprobe.errors import (
        CanaryFailed,
        DataError,
        EngineError,
        LocalprobeError,
        ModelError,
        OutOfMemory,
        UsageError,
        VectorError,
    )
    from localprobe.estimators import LDA, PCA, Logistic, MeanDifference
    from localprobe.experiments.from_python import sweep
    from localprobe.experiments.sweep_report import SweepReport
    from localprobe.generation.answer import Answer
    from localprobe.lens.result import Lens
    from localprobe.model import Model
    from localprobe.probing.arrays import validate_arrays
    from localprobe.probing.calibrate import CalibrationReport
    from localprobe.probing.config import ProbeConfig
    from localprobe.probing.report import ProbeReport
    from localprobe.steering.knob import Knob
    from localprobe.store.runs import Runs
    from localprobe.vectors.library import Library
    from localprobe.vectors.vector import Direction, Vector

_EXPORTS = {
    "localprobe.api": ("bake", "calibrate", "concept", "connect", "fit", "load", "validate", "vector"),
    "localprobe.contrast.pair_set": ("PairSet", "pairs"),
    "localprobe.contrast.pairs": ("Pair",),
    "localprobe.engine": ("LoadOptions", "Sampler"),
    "localprobe.errors": (
        "CanaryFailed",
        "DataError",
        "EngineError",
        "LocalprobeError",
        "ModelError",
        "OutOfMemory",
        "UsageError",
        "VectorError",
    ),
    "localprobe.estimators": ("LDA", "Logistic", "MeanDifference", "PCA"),
    "localprobe.experiments.from_python": ("sweep",),
    "localprobe.experiments.sweep_report": ("SweepReport",),
    "localprobe.generation.answer": ("Answer",),
    "localprobe.lens.result": ("Lens",),
    "localprobe.model": ("Model",),
    "localprobe.probing.arrays": ("validate_arrays",),
    "localprobe.probing.calibrate": ("CalibrationReport",),
    "localprobe.probing.config": ("ProbeConfig",),
    "localprobe.probing.report": ("ProbeReport",),
    "localprobe.steering.knob": ("Knob",),
    "localprobe.store.runs": ("Runs",),
    "localprobe.vectors.library": ("Library",),
    "localprobe.vectors.vector": ("Direction", "Vector"),
}
_MODULES = {name: module for module, names in _EXPORTS.items() for name in names}
"""Public name -> the module that holds it."""

__all__ = [
    "LDA",
    "PCA",
    "Answer",
    "CalibrationReport",
    "CanaryFailed",
    "DataError",
    "Direction",
    "EngineError",
    "Knob",
    "Lens",
    "Library",
    "LoadOptions",
    "LocalprobeError",
    "Logistic",
    "MeanDifference",
    "Model",
    "ModelError",
    "OutOfMemory",
    "Pair",
    "PairSet",
    "ProbeConfig",
    "ProbeReport",
    "Runs",
    "Sampler",
    "SweepReport",
    "UsageError",
    "Vector",
    "VectorError",
    "__version__",
    "bake",
    "calibrate",
    "concept",
    "connect",
    "fit",
    "load",
    "pairs",
    "sweep",
    "validate",
    "validate_arrays",
    "vector",
]


def __getattr__(name: str) -> Any:
    """A public name, imported now and kept."""
    if name not in _MODULES:
        raise AttributeError(f"localprobe has no {name!r}: it has {', '.join(__all__)}")
    value = getattr(importlib.import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
