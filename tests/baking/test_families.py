"""Which tensors write to the residual stream, and which checkpoints are refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from localprobe.baking.families import KNOWN, Plan, plan
from localprobe.errors import CorruptFile, UnsupportedModel
from localprobe.testing.tiny.configs import config
from localprobe.testing.tiny.weights import weights

TINY = sorted({"llama", "mistral", "qwen2", "qwen3", "phi3", "gpt2", "gpt_neox"})


def shapes(architecture: str) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in weights(architecture).items()}


def planned(architecture: str, **changed: Any) -> Plan:
    return plan(config(architecture) | changed, shapes(architecture))


@pytest.mark.parametrize("architecture", TINY)
def test_two_projections_of_each_block_and_the_embedding_write(architecture: str) -> None:
    found = planned(architecture)
    biases = 2 if architecture in ("gpt2", "gpt_neox") else 1
    positions = {"position embedding": 1} if architecture == "gpt2" else {}
    assert found.changed == {"token embedding": 1, **positions, "attention": 4 * biases, "MLP": 4 * biases}
    assert found.certain
    assert found.untie == (architecture in ("gpt2", "qwen2"))


def test_gpt2_stores_its_projections_with_inputs_first() -> None:
    found = planned("gpt2")
    assert found.writes["h.0.mlp.c_proj.weight"].axis == -1
    assert planned("llama").writes["model.layers.0.mlp.down_proj.weight"].axis == -2


def test_gpt2_with_the_prefix_and_the_buffers_of_older_files() -> None:
    older = {f"transformer.{name}": shape for name, shape in shapes("gpt2").items()}
    older |= {f"transformer.h.{i}.attn.bias": (1, 1, 256, 256) for i in range(4)}
    older |= {f"transformer.h.{i}.attn.masked_bias": () for i in range(4)}
    found = plan(config("gpt2"), older)
    assert found.embedding == "transformer.wte.weight"
    assert len(found.writes) == 18
    assert "transformer.h.0.attn.bias" not in found.writes


def experts(block: str, names: str, fused: bool) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Experts of width 64 and an inner width of 32, as (name, shape)."""
    if fused:
        yield f"{block}.experts.gate_up_proj", (4, 64, 64)
        yield f"{block}.experts.down_proj", (4, 64, 32)
        return
    gate, up, down = names.split()
    for number in range(4):
        yield f"{block}.experts.{number}.{gate}.weight", (32, 64)
        yield f"{block}.experts.{number}.{up}.weight", (32, 64)
        yield f"{block}.experts.{number}.{down}.weight", (64, 32)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize(
    ("architecture", "mlp", "names"),
    [("mixtral", "block_sparse_moe", "w1 w3 w2"), ("qwen3_moe", "mlp", "gate_proj up_proj down_proj")],
)
def test_every_expert_writes(architecture: str, mlp: str, names: str, fused: bool) -> None:
    tensors = {name: shape for name, shape in shapes("llama").items() if ".mlp." not in name}
    for layer in range(4):
        tensors[f"model.layers.{layer}.{mlp}.gate.weight"] = (4, 64)
        tensors |= dict(experts(f"model.layers.{layer}.{mlp}", names, fused))
    found = plan(config("llama") | {"model_type": architecture}, tensors)
    assert found.changed == {"token embedding": 1, "attention": 4, "experts": 4 if fused else 16}
    assert {write.axis for write in found.writes.values() if write.what == "experts"} == {-2}


@pytest.mark.parametrize("architecture", ["gemma2", "gemma3_text"])
def test_a_norm_after_the_projections_is_refused(architecture: str) -> None:
    line = rf"{architecture} has a norm between its projections and the residual stream \(model.layers.0.post_feed"
    with pytest.raises(UnsupportedModel, match=line):
        planned(architecture)


def test_a_norm_of_an_unknown_architecture_is_found_by_its_tensor() -> None:
    tensors = shapes("llama") | {"model.layers.0.post_self_attn_layernorm.weight": (64,)}
    with pytest.raises(UnsupportedModel, match=r"new has a norm between.*post_self_attn_layernorm"):
        plan(config("llama") | {"model_type": "new"}, tensors)


def test_an_unknown_architecture_with_the_names_of_llama_is_planned_but_not_certain() -> None:
    assert "new" not in KNOWN
    found = planned("llama", model_type="new")
    assert not found.certain
    assert found.writes == planned("llama").writes


def test_an_unknown_tensor_is_refused_by_its_name() -> None:
    tensors = shapes("llama") | {"model.layers.0.cross_attn.o_proj.weight": (64, 64)}
    with pytest.raises(UnsupportedModel, match=r"what its tensor 'model.layers.0.cross_attn.o_proj.weight' does"):
        plan(config("llama"), tensors)


def test_an_unknown_architecture_with_tied_embeddings_is_refused() -> None:
    with pytest.raises(UnsupportedModel, match="its embedding is also its unembedding"):
        planned("llama", model_type="new", tie_word_embeddings=True)


def test_a_head_that_the_config_ties_is_replaced() -> None:
    assert planned("llama", tie_word_embeddings=True).untie
    assert not planned("llama").untie


def test_a_model_of_more_than_text_is_refused() -> None:
    with pytest.raises(UnsupportedModel, match="llava reads more than text"):
        plan({"model_type": "llava", "text_config": {}}, {})


@pytest.mark.parametrize(
    ("changed", "why"), [({"hidden_size": 32}, "a width of 32"), ({"num_hidden_layers": 5}, "5 layers")]
)
def test_tensors_of_another_model_than_the_configs(changed: dict[str, int], why: str) -> None:
    with pytest.raises(CorruptFile, match=why):
        planned("llama", **changed)
