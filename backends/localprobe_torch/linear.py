"""Linear layers by oneDNN, on machines where it is clearly faster than MKL, torch's default.

torch computes a float32 `nn.Linear` by MKL on x86, which leaves the wide registers of some processors unused. oneDNN,
which torch includes too, may take half the time there; `linear_speed` measures it. For the gain of a whole pass see
`scripts/bench engines`. The weights are unchanged. An engine's version names the library, so that captures by the two
are not mixed.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from localprobe_torch.linear_speed import onednn_is_faster

_LEAST = 10_000_000
"""Minimum number of weights for which the choice matters."""


class OneDnnLinear(nn.Linear):
    """An `nn.Linear` of float32 weights on the CPU. For `torch.inference_mode`: the operation has no gradients."""

    def forward(self, rows: Tensor) -> Tensor:
        """(..., in) float32 -> (..., out) float32."""
        return onednn_linear(rows, self.weight, self.bias)


def onednn_linear(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """A linear layer by oneDNN, called as by torch's compiler, without a post-operation."""
    return torch.ops.mkldnn._linear_pointwise.default(rows, weight, bias, "none", [], "")  # type: ignore[no-any-return]


def use_onednn(model: nn.Module) -> bool:
    """Let oneDNN compute the linear layers of a model if that is faster. Returns whether it does.

    Layers of another class, dtype or device are left unchanged, as are models that are partly on a card or too small to
    gain.
    """
    layers = [layer for layer in model.modules() if type(layer) is nn.Linear and layer.weight.dtype == torch.float32]
    if sum(layer.weight.numel() for layer in layers) < _LEAST:
        return False
    if any(weights.device.type != "cpu" for weights in model.parameters()) or not gains():
        return False
    for layer in layers:
        layer.__class__ = OneDnnLinear
    return True


def gains() -> bool:
    """Whether to use oneDNN for float32 layers on this machine: torch has it, would use MKL, and that is slower.

    Measured by the first call on a machine. `torch.backends.mkldnn.set_flags(False)` turns oneDNN off.
    """
    available: list[Callable[[], bool]] = [torch.backends.mkl.is_available, torch.backends.mkldnn.is_available]
    has_both = all(library() for library in available) and bool(torch.backends.mkldnn.enabled)
    return has_both and _works() and onednn_is_faster(onednn_linear)


def _works() -> bool:
    """Whether this torch has the operation, and it computes a linear layer correctly."""
    rows, weight = torch.linspace(-1, 1, 3 * 24).reshape(3, 24), torch.linspace(1, -2, 8 * 24).reshape(8, 24)
    bias = torch.linspace(-1, 2, 8)
    try:
        with torch.inference_mode():
            outputs = onednn_linear(rows, weight, bias)
            return torch.allclose(outputs, nn.functional.linear(rows, weight, bias), rtol=1e-4, atol=1e-4)
    except (AttributeError, RuntimeError, TypeError):
        return False
