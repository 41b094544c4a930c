"""Linear layers by oneDNN, on machines where it is clearly faster than MKL, which torch takes for them.

torch computes a float32 `nn.Linear` by MKL on x86, which leaves the wide registers of some processors unused. oneDNN,
which torch brings along too, may take half of the time there; `linear_speed` tells where. What a whole pass gains is in
`scripts/bench engines`. The weights stay as they are. An engine's version says which library computes, so that what was
captured by the one is not mixed with what was captured by the other.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from localprobe_torch.linear_speed import onednn_is_faster

_LEAST = 10_000_000
"""Weights of a model for which the choice matters."""


class OneDnnLinear(nn.Linear):
    """An `nn.Linear` of float32 weights on the CPU. For `torch.inference_mode`: the operation has no gradients."""

    def forward(self, rows: Tensor) -> Tensor:
        """(..., in) float32 -> (..., out) float32."""
        return onednn_linear(rows, self.weight, self.bias)


def onednn_linear(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """A linear layer by oneDNN, as torch's compiler calls it; something may be done to each output, here nothing."""
    return torch.ops.mkldnn._linear_pointwise.default(rows, weight, bias, "none", [], "")  # type: ignore[no-any-return]


def use_onednn(model: nn.Module) -> bool:
    """Let oneDNN compute the linear layers of a model, if it is to gain by that. Returns whether it does.

    Layers of another class, dtype or device stay as they are: so do those of a model that is partly on a card, and of
    one so small that it would gain nothing worth measuring.
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
    """Whether float32 layers on this machine are for oneDNN: torch has it, would take MKL, and that is slower.

    The first call on a machine measures. `torch.backends.mkldnn.set_flags(False)` turns oneDNN off.
    """
    available: list[Callable[[], bool]] = [torch.backends.mkl.is_available, torch.backends.mkldnn.is_available]
    has_both = all(library() for library in available) and bool(torch.backends.mkldnn.enabled)
    return has_both and _works() and onednn_is_faster(onednn_linear)


def _works() -> bool:
    """Whether this torch has the operation, and it computes what a linear layer does."""
    rows, weight = torch.linspace(-1, 1, 3 * 24).reshape(3, 24), torch.linspace(1, -2, 8 * 24).reshape(8, 24)
    bias = torch.linspace(-1, 2, 8)
    try:
        with torch.inference_mode():
            outputs = onednn_linear(rows, weight, bias)
            return torch.allclose(outputs, nn.functional.linear(rows, weight, bias), rtol=1e-4, atol=1e-4)
    except (AttributeError, RuntimeError, TypeError):
        return False
