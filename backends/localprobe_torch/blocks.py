"""Finding the transformer blocks of a model."""

from __future__ import annotations

from typing import Any

from torch import nn

from localprobe.errors import UnsupportedModel
from localprobe_torch.head import find_decoder

# Path to the list of blocks, by the model_type of the text config. All of these are tested.
KNOWN = {
    "llama": "model.layers",
    "mistral": "model.layers",
    "qwen2": "model.layers",
    "qwen3": "model.layers",
    "phi3": "model.layers",
    "gemma2": "model.layers",
    "gemma3_text": "model.layers",
    "gpt2": "transformer.h",
    "gpt_neox": "gpt_neox.layers",
}


def find_blocks(model: Any) -> list[nn.Module]:
    """The transformer blocks of a causal language model, first to last.

    Known architectures by path; any other by structure: the one nn.ModuleList in the text decoder that holds
    `num_hidden_layers` blocks, of one class or of several (Jamba mixes attention and Mamba). Raises UnsupportedModel,
    with the reason, if there is no such list or more than one.
    """
    config = model.config.get_text_config(decoder=True)
    path = KNOWN.get(model.config.model_type)
    return list(model.get_submodule(path)) if path else _by_structure(model, config)


def _by_structure(model: Any, config: Any) -> list[nn.Module]:
    architecture = model.config.model_type
    count = getattr(config, "num_hidden_layers", None)
    if not count:
        raise UnsupportedModel(f"the config of architecture {architecture!r} does not say num_hidden_layers")
    lists = _lists(find_decoder(model), "", count)
    if not lists:
        raise UnsupportedModel(f"architecture {architecture!r} has no list of {count} blocks to hook")
    if len(lists) > 1:
        raise UnsupportedModel(
            f"architecture {architecture!r} has several lists of {count} blocks ({', '.join(lists)}): "
            "which one carries the residual stream is not known"
        )
    return next(iter(lists.values()))


def _lists(module: nn.Module, path: str, count: int) -> dict[str, list[nn.Module]]:
    """Outermost module lists of `count` modules under `module`, by path; lists inside blocks are not searched."""
    lists: dict[str, list[nn.Module]] = {}
    for name, child in module.named_children():
        below = f"{path}.{name}" if path else name
        if isinstance(child, nn.ModuleList) and len(child) == count:
            lists[below] = list(child)
        else:
            lists |= _lists(child, below, count)
    return lists
