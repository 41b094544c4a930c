"""The activation of the feed-forward layers, as the config asks for.

mlx-lm's models compute one activation whatever the config says: GPT-NeoX the approximation of GELU by tanh, where
Pythia asks for GELU itself; Gemma and StarCoder 2 the other way round.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import mlx.core as mx
from mlx import nn

from localprobe.errors import UnsupportedModel
from localprobe_mlx.checkpoint import Config

Function = Callable[[mx.array], mx.array]

_NAMES = ("hidden_activation", "hidden_act", "activation_function")
_ALIKE = {"gelu_new": "gelu_pytorch_tanh", "gelu_fast": "gelu_pytorch_tanh", "gelu_python": "gelu", "swish": "silu"}
_FUNCTIONS: dict[str, Function] = {
    "gelu": nn.gelu,
    "gelu_pytorch_tanh": nn.gelu_approx,
    "relu": nn.relu,
    "relu2": lambda x: nn.relu(x).square(),
    "silu": nn.silu,
}


class Layer(NamedTuple):
    """The feed-forward layer of an architecture of mlx-lm."""

    computes: str
    up: str
    down: str
    gate: str = ""


_GATED = ("up_proj", "down_proj", "gate_proj")
LAYERS: dict[str, Layer] = {
    "gemma": Layer("gelu", *_GATED),
    "gemma2": Layer("gelu_pytorch_tanh", *_GATED),
    "gpt2": Layer("gelu_pytorch_tanh", "c_fc", "c_proj"),
    "gpt_bigcode": Layer("gelu", "c_fc", "c_proj"),
    "gpt_neox": Layer("gelu_pytorch_tanh", "dense_h_to_4h", "dense_4h_to_h"),
    "gptj": Layer("gelu_pytorch_tanh", "fc_in", "fc_out"),
    "phi": Layer("gelu_pytorch_tanh", "fc1", "fc2"),
    "starcoder2": Layer("gelu", "c_fc", "c_proj"),
    **{name: Layer("silu", *_GATED) for name in ("llama", "mistral", "qwen2", "qwen3", "olmo2", "granite", "cohere")},
}


def correct_activation(model: Any, config: Config) -> bool:
    """Let the feed-forward layers of an mlx-lm model compute the activation that its config names. Returns whether any
    had to be changed.

    Raises UnsupportedModel if the config names an activation that is not known here.
    """
    kind = str(config.get("model_type"))
    layer, wanted = LAYERS.get(kind), _wanted(config)
    if layer is None or wanted in (None, layer.computes):
        return False
    if wanted not in _FUNCTIONS:
        raise UnsupportedModel(
            f"mlx-lm computes {layer.computes} in a {kind}, and config.json asks for {wanted}: use another engine"
        )
    changed = False
    for block in model.layers:
        for _, module in block.named_modules():
            if all(name in module for name in (layer.up, layer.down)):
                module.__class__ = _with(type(module), layer, _FUNCTIONS[wanted])
                changed = True
    return changed


def _wanted(config: Config) -> str | None:
    """The activation that the config names; None if it names none."""
    name = next((config[name] for name in _NAMES if isinstance(config.get(name), str)), None)
    if config.get("model_type") == "gemma" and name == "gelu":  # the official releases mean the approximation
        return "gelu_pytorch_tanh"
    return _ALIKE.get(str(name), name)


def _with(kind: type, layer: Layer, act: Function) -> type:
    """The class of a feed-forward layer, computing this activation."""

    def call(self: Any, x: mx.array) -> mx.array:
        inner = self[layer.up](x)
        inner = act(self[layer.gate](x)) * inner if layer.gate else act(inner)
        out: mx.array = self[layer.down](inner)
        return out

    return type(kind.__name__, (kind,), {"__call__": call})
