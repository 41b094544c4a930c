"""What mlx-lm's model of an architecture computes otherwise than transformers does, corrected in the loaded model.

RoPE's scaling has `rope`, activations have `activations`; here is what concerns one architecture alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mlx.core as mx

from localprobe_mlx.checkpoint import Config


def correct_architecture(model: Any, config: Config) -> str:
    """Correct a model. Returns the name of what was corrected, empty if nothing was."""
    name, correct = _CORRECTIONS.get(str(config.get("model_type")), ("", _nothing))
    return name if correct(model, config) else ""


def _nothing(model: Any, config: Config) -> bool:
    return False


def _rotate_part(model: Any, config: Config) -> bool:
    """GLM-4 rotates a part of each head (`partial_rotary_factor`), and mlx-lm all of it."""
    part = (config.get("rope_parameters") or config).get("partial_rotary_factor", 0.5)
    if part == 1:
        return False
    for block in model.layers:
        block.self_attn.rope.dims = int(block.self_attn.head_dim * part)
    return True


def _weigh_among_all(model: Any, config: Config) -> bool:
    """Jamba weighs the chosen experts by their share among all of them, and mlx-lm by that among the chosen ones."""
    from mlx_lm.models.jamba import JambaSparseMoeBlock

    class Weighed(JambaSparseMoeBlock):  # type: ignore[misc]
        def __call__(self, x: mx.array) -> mx.array:
            shares = mx.softmax(self.router(x), axis=-1, precise=True)  # (rows, length, experts)
            chosen = mx.argpartition(-shares, kth=self.num_experts_per_tok - 1, axis=-1)[
                ..., : self.num_experts_per_tok
            ]
            weights = mx.take_along_axis(shares, chosen, axis=-1)
            mixed: mx.array = (self.switch_mlp(x, chosen) * weights[..., None]).sum(axis=-2)
            return mixed

    experts = [block.feed_forward for block in model.layers if type(block.feed_forward) is JambaSparseMoeBlock]
    for layer in experts:
        layer.__class__ = Weighed
    return bool(experts)


_CORRECTIONS: dict[str, tuple[str, Callable[[Any, Config], bool]]] = {
    "glm": ("partial RoPE", _rotate_part),
    "jamba": ("experts", _weigh_among_all),
}
