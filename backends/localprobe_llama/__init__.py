"""The llama.cpp engine: any GGUF file, through the C functions that llama-cpp-python binds.

Importing this package imports no llama_cpp; `available` and `load` do.
"""

from __future__ import annotations

from importlib import metadata, util

from localprobe.engine import Availability, Engine, LoadOptions, Weights, WeightsFormat
from localprobe.errors import EngineNotInstalled

INSTALL = "pip install 'localprobe[llama]'"


class LlamaBackend:
    """The backend `llama`: see `localprobe.engine.Backend`."""

    name: str = "llama"
    formats: tuple[WeightsFormat, ...] = ("gguf",)

    def available(self) -> Availability:
        if util.find_spec("llama_cpp") is None:
            return Availability(False, reason=f"llama-cpp-python is not installed: {INSTALL}")
        try:
            from localprobe_llama import device
        except Exception as error:  # an incompatible shared library can raise anything
            reason = f"llama-cpp-python cannot be loaded ({error}): reinstall it, {INSTALL}"
            return Availability(False, version=metadata.version("llama-cpp-python"), reason=reason)
        return device.availability()

    def load(self, weights: Weights, options: LoadOptions) -> Engine:
        availability = self.available()
        if not availability.installed:
            raise EngineNotInstalled(availability.reason)
        from localprobe_llama.load import load

        return load(weights, options)


backend = LlamaBackend()
