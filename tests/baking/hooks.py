"""Directional ablation by hand-written hooks of PyTorch, which baked weights are compared with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from localprobe.baking.subspace import Basis


def transformers_model(folder: Path) -> Any:
    """transformers' own view of a folder, in float32."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()


def embeddings(model: Any) -> list[nn.Module]:
    """What writes to the residual stream before the first block."""
    if model.config.model_type == "gpt2":
        return [model.transformer.wte, model.transformer.wpe]
    return [model.get_input_embeddings()]


def blocks(model: Any) -> list[nn.Module]:
    if model.config.model_type == "gpt2":
        return list(model.transformer.h)
    return list(model.gpt_neox.layers if model.config.model_type == "gpt_neox" else model.model.layers)


def parts(block: Any) -> list[nn.Module]:
    """Attention and MLP of a block, whose outputs are added to the residual stream."""
    named = dict(block.named_children())
    return [module for name, module in named.items() if name in ("self_attn", "attn", "attention", "mlp")]


@contextmanager
def ablating(modules: Sequence[nn.Module], directions: Basis, share: float = 1.0) -> Iterator[None]:
    """Remove `share` of the directions (width, k) from the output of modules, or the first of their outputs."""
    d = torch.tensor(directions, dtype=torch.float32)

    def hook(module: nn.Module, inputs: Any, output: Any) -> Any:
        whole: Tensor = output[0] if isinstance(output, tuple) else output
        left = whole - share * (whole @ d) @ d.T
        return (left, *output[1:]) if isinstance(output, tuple) else left

    handles = [module.register_forward_hook(hook) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def all_writers(model: Any) -> list[nn.Module]:
    """Everything that writes to the residual stream."""
    return [*embeddings(model), *(part for block in blocks(model) for part in parts(block))]


@torch.inference_mode()
def logits(model: Any, ids: Sequence[int]) -> Tensor:
    """(n, vocabulary)."""
    result: Tensor = model(torch.tensor([list(ids)])).logits[0]
    return result


@torch.inference_mode()
def residuals(model: Any, ids: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Outputs of the blocks as they enter the next one (layers, n, width), and log-probabilities (n, vocabulary)."""
    taken: list[Tensor] = []

    def take(module: nn.Module, inputs: Any, output: Any) -> None:
        taken.append(output[0] if isinstance(output, tuple) else output)

    handles = [block.register_forward_hook(take) for block in blocks(model)]
    try:
        scores = logits(model, ids)
    finally:
        for handle in handles:
            handle.remove()
    return torch.cat([one.reshape(1, len(ids), -1) for one in taken]), scores.log_softmax(-1)


@dataclass(frozen=True)
class Distance:
    """How far one way of running a model is from another, over the positions of some texts."""

    cosine: Tensor
    """(layers,): mean cosine of the residuals."""
    kl: float
    """Mean KL divergence of next-token predictions, in nats."""
    argmax: float
    """Share of positions with the same most likely next token."""


def distance(pairs: Sequence[tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]]) -> Distance:
    """The distance of each text's second (residuals, log-probabilities) from its first."""
    cosine = torch.cat([torch.cosine_similarity(one, other, dim=-1) for (one, _), (other, _) in pairs], dim=1)
    kl = torch.cat([(p.exp() * (p - q)).sum(-1) for (_, p), (_, q) in pairs])
    same = torch.cat([p.argmax(-1) == q.argmax(-1) for (_, p), (_, q) in pairs])
    return Distance(cosine.mean(dim=1), float(kl.mean()), float(same.float().mean()))


def ways(model: Any) -> dict[str, list[nn.Module]]:
    """Ways to ablate while the model runs -> the modules whose outputs are edited."""
    first, outputs = embeddings(model), blocks(model)
    attention = [parts(block)[0] for block in outputs]
    return {
        "block outputs": outputs,
        "block outputs and embedding": [*first, *outputs],
        "block outputs and attention": [*attention, *outputs],
        "block outputs, embedding and attention": [*first, *attention, *outputs],
        "nothing": [],
    }


def distances(model: Any, texts: Sequence[Sequence[int]], directions: Basis) -> dict[str, Distance]:
    """How far each of `ways` is from removing the directions from everything that is written, which baking does."""
    with ablating(all_writers(model), directions):
        baked = [residuals(model, ids) for ids in texts]
    found = {}
    for name, modules in ways(model).items():
        with ablating(modules, directions):
            found[name] = distance([(one, residuals(model, ids)) for one, ids in zip(baked, texts, strict=True)])
    return found
