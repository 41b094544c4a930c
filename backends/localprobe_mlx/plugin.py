"""Registers MLX as an engine. Importing this module does not import mlx."""

from __future__ import annotations

import importlib
import os
import platform
from importlib import metadata
from typing import Any

from localprobe.engine import Availability, Engine, LoadOptions, Weights, WeightsFormat
from localprobe.errors import EngineNotInstalled, UnsupportedModel, first_line
from localprobe_mlx.versions import device_name, version

INSTALL = "pip install 'localprobe[mlx]'"
_OPENBLAS = "/usr/lib/x86_64-linux-gnu/openblas-pthread/libopenblas.so.0"


class MlxBackend:
    """MLX, through the models of mlx-lm."""

    name = "mlx"
    formats: tuple[WeightsFormat, ...] = ("folder",)

    def available(self) -> Availability:
        try:
            core: Any = importlib.import_module("mlx.core")
            libraries = version()
        except Exception as problem:  # an incompatible wheel can raise anything
            return Availability(installed=False, reason=_reason(problem))
        gpu = bool(core.is_available(core.gpu))
        notes = () if gpu or platform.system() == "Darwin" else _linux_notes()
        return Availability(True, libraries, device=device_name(core, core.default_device()), gpu=gpu, notes=notes)

    def load(self, weights: Weights, options: LoadOptions) -> Engine:
        availability = self.available()
        if not availability.installed:
            raise EngineNotInstalled(availability.reason)
        if weights.format not in self.formats:
            raise UnsupportedModel(f"the MLX engine loads folders, not {weights.format} files: {weights.path}")
        from localprobe_mlx.engine import MlxEngine

        return MlxEngine(weights, options)


def _linux_notes() -> tuple[str, ...]:
    note = "MLX on Linux runs on the CPU, for tests"
    if "openblas" not in os.environ.get("LD_PRELOAD", ""):
        note += f"; without OpenBLAS it is twenty times slower: set LD_PRELOAD={_OPENBLAS}"
    return (note,)


def _reason(problem: Exception) -> str:
    if isinstance(problem, (ModuleNotFoundError, metadata.PackageNotFoundError)) and (problem.name or "").startswith(
        "mlx"
    ):
        return f"{problem.name.split('.')[0] if problem.name else 'mlx'} is not installed: {INSTALL}"
    return f"MLX cannot be imported ({first_line(problem)}): {INSTALL}"
