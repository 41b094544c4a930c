"""Quantising to 4 or 8 bits by bitsandbytes while loading."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, Literal

import torch

from localprobe.errors import EngineNotInstalled, UsageError


def quantising(bits: Literal["4bit", "8bit"], dtype: torch.dtype, device: torch.device) -> Any:
    """The quantisation config for transformers.

    Raises UsageError if there is no CUDA card, EngineNotInstalled if bitsandbytes is missing.
    """
    if device.type != "cuda":
        raise UsageError(
            f"quantise={bits} needs a CUDA card, this is {device}: leave it out, or take a GGUF file instead"
        )
    if find_spec("bitsandbytes") is None:
        raise EngineNotInstalled(f"quantise={bits} needs bitsandbytes. Install it: pip install bitsandbytes")
    from transformers import BitsAndBytesConfig

    if bits == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)


def quantisation(config: Any, bits: str | None) -> str | None:
    """The value of `Info.quantisation`: the requested bits, or the quantisation of the checkpoint itself."""
    own = getattr(config, "quantization_config", None)
    if bits or not own:
        return bits
    method = own.get("quant_method") if isinstance(own, dict) else getattr(own, "quant_method", None)
    return str(getattr(method, "value", method) or "quantised")
