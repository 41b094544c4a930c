"""The backend that the package registers in `localprobe.backends`. Importing this module does not import torch."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from localprobe.engine import Availability, LoadOptions, Weights, WeightsFormat
from localprobe.errors import EngineNotInstalled, UnsupportedModel, first_line
from localprobe_torch.versions import versions

if TYPE_CHECKING:
    from localprobe_torch.engine import TorchEngine

INSTALL = "pip install 'localprobe[torch]'"


class TorchBackend:
    """Loads Hugging Face folders of safetensors with transformers."""

    name = "torch"
    formats: tuple[WeightsFormat, ...] = ("folder",)

    def available(self) -> Availability:
        """Versions and the device that a load would use, or what is missing and the command that installs it."""
        if reason := _missing():
            return Availability(installed=False, reason=reason)
        try:
            from localprobe_torch.device import best_device, describe
        except (ImportError, OSError) as error:  # a torch built for another machine fails to load its libraries
            return Availability(
                installed=False, reason=f"torch does not import: {first_line(error)}. Reinstall: {INSTALL}"
            )
        device = best_device()
        return Availability(True, versions(), device=describe(device), gpu=device.type != "cpu")

    def load(self, weights: Weights, options: LoadOptions) -> TorchEngine:
        """Load a folder of safetensors.

        Raises EngineNotInstalled, UsageError for options that do not apply, and ModelError for weights that are not a
        model folder, are damaged, of an unknown architecture, or too large.
        """
        if reason := _missing():
            raise EngineNotInstalled(reason)
        if weights.format not in self.formats:
            raise UnsupportedModel(
                f"the torch engine loads Hugging Face folders, not {weights.format} files: {weights.path}"
            )
        from localprobe_torch.load import load_engine

        return load_engine(weights, options)


def _missing() -> str:
    """The missing requirement, with the command that installs it; empty if there is none."""
    for name in ("torch", "transformers", "accelerate"):
        try:
            installed = version(name)
        except PackageNotFoundError:
            return f"{name} is not installed. Install it: {INSTALL}"
        if name == "transformers" and int(installed.split(".")[0]) < 5:
            return f"transformers {installed} is too old; 5.0 or newer is needed. Install it: {INSTALL}"
    return ""
