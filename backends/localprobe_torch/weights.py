"""Loading weights into memory, on a device and in a dtype."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError

from localprobe.errors import CorruptFile, EngineNotInstalled, OutOfMemory, UnsupportedModel, first_line
from localprobe.models.checkpoint import size
from localprobe_torch.memory import check_room, is_out_of_memory
from localprobe_torch.quantise import quantising


@dataclass(frozen=True, slots=True)
class Placement:
    """Device and dtype of the weights."""

    device: torch.device
    dtype: torch.dtype
    spread: bool = False
    """Spread over all cards, and host memory if they are not enough."""
    quantise: Literal["4bit", "8bit"] | None = None


def load_model(folder: Path, config: Any, placement: Placement, trust_remote_code: bool) -> Any:
    """A causal language model of transformers, ready to run.

    Raises CorruptFile if the weights do not match the config, OutOfMemory if they do not fit.
    """
    from transformers import AutoModelForCausalLM

    bits = placement.quantise
    quantiser = quantising(bits, placement.dtype, placement.device) if bits else None
    _check_card(folder, placement)
    try:
        model, report = AutoModelForCausalLM.from_pretrained(
            folder,
            config=config,
            dtype=placement.dtype,
            device_map=_device_map(placement),
            quantization_config=quantiser,
            attn_implementation=_attention(config),
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=trust_remote_code,
            output_loading_info=True,
        )
    except ImportError as error:
        raise EngineNotInstalled(f"{folder} needs a package that is not installed: {first_line(error)}") from None
    except SafetensorError as error:
        raise CorruptFile(f"the weights in {folder} are torn ({first_line(error)}): download them again") from None
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise CorruptFile(f"the weights in {folder} are not those of its config: {first_line(error)}") from None
    if missing := sorted(report["missing_keys"]):
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise CorruptFile(f"the weights in {folder} lack {', '.join(missing[:3])}{more}: download them again")
    if "disk" in (getattr(model, "hf_device_map", None) or {}).values():
        raise OutOfMemory(f"{folder} fits neither the cards nor the memory of this machine: choose a smaller model")
    if model.config.get_text_config(decoder=True)._attn_implementation not in ("sdpa", "eager"):
        raise UnsupportedModel(f"{folder} asks for attention that this engine cannot mask: take it out of config.json")
    return model.eval()


def _check_card(folder: Path, placement: Placement) -> None:
    """Raise OutOfMemory before loading what a card cannot hold; the core has checked host memory."""
    if placement.device.type != "cuda" or placement.spread:
        return
    itemsize = {"4bit": 1, "8bit": 1, None: placement.dtype.itemsize}[placement.quantise]
    needed = size(folder).in_memory(itemsize) * (0.6 if placement.quantise == "4bit" else 1)
    what = f"{folder.name} does not fit onto the card: choose device auto, quantise, or a smaller model"
    check_room(int(needed), placement.device, what)


def _device_map(placement: Placement) -> Any:
    if placement.spread:
        return "auto"
    return None if placement.device.type == "cpu" else {"": placement.device}


def _attention(config: Any) -> str | None:
    """The attention implementation; None leaves it to transformers: sdpa, or eager for models that require it."""
    return "eager" if getattr(config.get_text_config(decoder=True), "attn_logit_softcapping", None) else None
