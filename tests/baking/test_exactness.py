"""Baked weights compute what hooks compute that remove the direction from all that writes to the residual stream."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors import safe_open

from localprobe.baking import bake
from localprobe.baking.subspace import Basis, basis
from localprobe.errors import ModelError, UnsupportedModel
from localprobe.testing.tiny import tiny_folder
from localprobe.vectors.vector import Vector
from tests.backends.torch_models import SMALL, write_folder
from tests.baking.hooks import ablating, all_writers, logits, transformers_model

Made = Callable[..., Vector]
IDS = [3, 141, 59, 265, 358, 97, 93, 238, 46, 264]
TOLERANCE = 1e-4
"""Of float32 logits, relative to the largest."""
ARCHITECTURES = [
    name if name in ("llama", "gpt2") else pytest.param(name, marks=pytest.mark.slow)
    for name in ("llama", "gpt2", "mistral", "qwen2", "qwen3", "phi3", "gpt_neox")
]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def assert_equal_to_hooks(source: Path, baked: Path, directions: Basis, share: float) -> None:
    original = transformers_model(source)
    plain = logits(original, IDS)
    with ablating(all_writers(original), directions, share):
        expected = logits(original, IDS)
    found = logits(transformers_model(baked), IDS)
    largest = float(expected.abs().max())
    assert float((found - expected).abs().max()) < TOLERANCE * largest
    assert float((plain - expected).abs().max()) > 100 * TOLERANCE * largest, "the removal should change something"


@pytest.mark.parametrize("share", [1.0, 0.4])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_logits_are_those_of_hooks(architecture: str, share: float, vector: Made, tmp_path: Path) -> None:
    source = tiny_folder(architecture, tmp_path / "source")
    vectors = [vector(0), vector(1)]
    bake(str(source), vectors, tmp_path / "baked", share=share)
    assert_equal_to_hooks(source, tmp_path / "baked", basis(vectors, [2, 2]), share)


MORE: dict[str, dict[str, Any]] = {
    "granite": {"embedding_multiplier": 3.0, "residual_multiplier": 0.4, "tie_word_embeddings": True},
    "mixtral": {"num_local_experts": 4, "num_experts_per_tok": 2},
    "qwen2_moe": {"num_experts": 4, "moe_intermediate_size": 32, "shared_expert_intermediate_size": 48},
    "qwen3_moe": {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "head_dim": 16},
    "cohere": {"tie_word_embeddings": False},
}
"""Multipliers, experts, and one whose name localprobe does not know."""


@pytest.mark.slow
@pytest.mark.parametrize("architecture", MORE)
def test_multipliers_experts_and_an_unknown_architecture(architecture: str, vector: Made, tmp_path: Path) -> None:
    config = transformers.AutoConfig.for_model(architecture, **SMALL, **MORE[architecture])
    source = write_folder(config, tmp_path / "source")
    bake(str(source), [vector(0)], tmp_path / "baked")
    assert_equal_to_hooks(source, tmp_path / "baked", basis([vector(0)], [2]), 1.0)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["olmo2", "glm4"])
def test_norms_after_the_projections_are_refused(architecture: str, vector: Made, tmp_path: Path) -> None:
    config = transformers.AutoConfig.for_model(architecture, **SMALL)
    source = write_folder(config, tmp_path / "source")
    with pytest.raises(UnsupportedModel, match=f"{architecture} has a norm between its projections"):
        bake(str(source), [vector(0)], tmp_path / "baked")


def test_a_writer_that_was_missed_is_found_and_nothing_is_kept(
    vector: Made, llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from localprobe.baking import removal
    from localprobe.baking.families import plan

    def careless(config: Any, tensors: Any) -> Any:
        found = plan(config, tensors)
        del found.writes["model.layers.1.self_attn.o_proj.weight"]
        return found

    monkeypatch.setattr(removal, "plan", careless)
    with pytest.raises(ModelError, match=r"the removal does not hold: at layer [123] "):
        bake(str(llama), [vector(0)], tmp_path / "baked")
    assert [path.name for path in tmp_path.iterdir()] == ["tiny-llama"]


def test_bfloat16_is_kept_and_passes_its_own_tolerance(vector: Made, llama: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    file = llama / "model.safetensors"
    save_file({name: tensor.bfloat16() for name, tensor in load_file(file).items()}, file, {"format": "pt"})
    done = bake(str(llama), [vector(0)], tmp_path / "baked")
    assert done.dtype == "bfloat16"
    assert done.check is not None
    assert 0 < done.check.left < done.check.tolerance == 0.05
    with safe_open(tmp_path / "baked" / "model.safetensors", framework="pt") as written:
        assert {str(written.get_tensor(name).dtype) for name in written.keys()} == {"torch.bfloat16"}  # noqa: SIM118


@pytest.mark.slow
def test_shards_and_their_index_are_kept(vector: Made, tmp_path: Path) -> None:
    model = transformers_model(tiny_folder("qwen2", tmp_path / "whole"))
    source = tiny_folder("qwen2", tmp_path / "source")
    (source / "model.safetensors").unlink()
    model.save_pretrained(source, max_shard_size="100KB")
    shards = sorted(path.name for path in source.glob("*.safetensors"))
    assert len(shards) > 2
    bake(str(source), [vector(0)], tmp_path / "baked")
    assert sorted(path.name for path in (tmp_path / "baked").glob("*.safetensors")) == shards
    index = json.loads((tmp_path / "baked" / "model.safetensors.index.json").read_text())
    assert index["weight_map"]["lm_head.weight"] == index["weight_map"]["model.embed_tokens.weight"]
    assert_equal_to_hooks(source, tmp_path / "baked", basis([vector(0)], [2]), 1.0)


def test_the_unembedding_is_untied_with_its_old_values(vector: Made, tmp_path: Path) -> None:
    source = tiny_folder("gpt2", tmp_path / "source")
    bake(str(source), [vector(0)], tmp_path / "baked")
    original, baked = transformers_model(source), transformers_model(tmp_path / "baked")
    old = original.lm_head.weight.detach().numpy()
    np.testing.assert_array_equal(baked.lm_head.weight.detach().numpy(), old)
    d = basis([vector(0)], [2])
    np.testing.assert_allclose(baked.transformer.wte.weight.detach().numpy() @ d, 0, atol=1e-6)
    assert np.abs(old @ d).max() > 0.1
