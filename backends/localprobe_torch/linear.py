"""Linear layers by oneDNN where MKL, which torch would take for them, is slow: on x86 that Intel did not make.

torch computes a float32 `nn.Linear` by MKL, which leaves the wide registers of other makers' processors unused. On an
AMD EPYC with AVX-512 a layer by oneDNN, which torch brings along too, takes a third to a half of the time; what a whole
pass gains is in `scripts/bench engines`. The weights stay as they are. Which library computes depends on the machine
alone, so a run can be repeated to the last bit.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

_CPUINFO = Path("/proc/cpuinfo")


class OneDnnLinear(nn.Linear):
    """An `nn.Linear` of float32 weights on the CPU. For `torch.inference_mode`: the operation has no gradients."""

    def forward(self, rows: Tensor) -> Tensor:
        """(..., in) float32 -> (..., out) float32."""
        return _pointwise()(rows, self.weight, self.bias, "none", [], "")  # type: ignore[no-any-return]


def use_onednn(model: nn.Module) -> bool:
    """Let oneDNN compute the linear layers of a model, if it is to gain by that. Returns whether it does.

    Layers of another class, dtype or device stay as they are: so do those of a model that is partly on a card.
    """
    if not gains() or any(weights.device.type != "cpu" for weights in model.parameters()):
        return False
    plain = [each for each in model.modules() if type(each) is nn.Linear and each.weight.dtype == torch.float32]
    for layer in plain:
        layer.__class__ = OneDnnLinear
    return bool(plain)


def gains() -> bool:
    """Whether float32 layers on this machine are for oneDNN: torch has it and would take MKL, on a foreign processor.

    `torch.backends.mkldnn.set_flags(False)` turns it off.
    """
    available: list[Callable[[], bool]] = [torch.backends.mkl.is_available, torch.backends.mkldnn.is_available]
    has_both = all(library() for library in available) and bool(torch.backends.mkldnn.enabled)
    return has_both and _foreign_to_mkl() and _works()


def _foreign_to_mkl() -> bool:
    """Whether AMD or Hygon made this processor; not where the system does not say."""
    try:
        said = _CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        said = platform.processor()  # ends in the maker's name on Windows
    return "AuthenticAMD" in said or "HygonGenuine" in said


def _works() -> bool:
    """Whether this torch has the operation, and it computes what a linear layer does."""
    rows, weight = torch.linspace(-1, 1, 3 * 24).reshape(3, 24), torch.linspace(1, -2, 8 * 24).reshape(8, 24)
    bias = torch.linspace(-1, 2, 8)
    try:
        with torch.inference_mode():
            found = _pointwise()(rows, weight, bias, "none", [], "")
            return torch.allclose(found, nn.functional.linear(rows, weight, bias), rtol=1e-4, atol=1e-4)
    except (AttributeError, RuntimeError, TypeError):
        return False


def _pointwise() -> Callable[..., Any]:
    """oneDNN's linear layer with something done to each output; here, nothing. torch's compiler uses it so."""
    return torch.ops.mkldnn._linear_pointwise.default
