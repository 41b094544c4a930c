"""`import localprobe as lp`: what it offers, and that it is instant."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import localprobe as lp

NAMES = [
    "Answer",
    "CalibrationReport",
    "CanaryFailed",
    "DataError",
    "Direction",
    "EngineError",
    "Knob",
    "LDA",
    "Lens",
    "Library",
    "LoadOptions",
    "LocalprobeError",
    "Logistic",
    "MeanDifference",
    "Model",
    "ModelError",
    "OutOfMemory",
    "PCA",
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


def test_the_public_names_are_these_and_all_can_be_had() -> None:
    assert sorted(lp.__all__) == NAMES
    for name in NAMES:
        assert getattr(lp, name) is not None
    assert set(NAMES) <= set(dir(lp))


def test_another_name_is_an_attribute_error_that_lists_them() -> None:
    with pytest.raises(AttributeError, match=r"localprobe has no 'fitt': it has .*Answer.*fit"):
        _ = lp.fitt  # type: ignore[attr-defined]


def test_importing_it_imports_nothing_heavy() -> None:
    code = "import json, sys, localprobe; print(json.dumps(sorted(sys.modules)))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    modules = json.loads(printed)
    assert not {"numpy", "scipy", "sklearn", "click", "rich", "torch", "pandas", "matplotlib"} & set(modules)
    assert {name for name in modules if name.startswith("localprobe")} == {"localprobe", "localprobe.version"}
