"""Configs as transformers 5 writes them, with every field that mlx-lm reads.

That residuals are then the same is compared by `scripts/architectures`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

if os.environ.get("LOCALPROBE_TEST_MLX") != "1":
    pytest.skip("needs a process of its own: LOCALPROBE_TEST_MLX=1", allow_module_level=True)
pytest.importorskip("mlx.core")
pytest.importorskip("mlx_lm")

import mlx.core as mx
from safetensors.numpy import save_file

from localprobe.engine import LoadOptions, Row, Weights
from localprobe.errors import UnsupportedModel
from localprobe.testing.tiny import tiny_folder
from localprobe_mlx import backend
from localprobe_mlx.checkpoint import Checkpoint
from localprobe_mlx.experts import apart
from localprobe_mlx.fields import fields_for_mlx, overrides

pytestmark = pytest.mark.mlx

SLIDING, FULL, LINEAR = "sliding_attention", "full_attention", "linear_attention"


def fields(folder: Path, **config: Any) -> dict[str, Any]:
    """What is added to a config."""
    (folder / "config.json").write_text(json.dumps(config))
    save_file({"x": np.zeros(1, np.float32)}, folder / "model.safetensors")
    return fields_for_mlx(Checkpoint(folder))


def test_one_value_has_all_of_its_names(tmp_path: Path) -> None:
    added = fields(tmp_path, model_type="qwen3_moe", num_local_experts=128, rms_norm_eps=1e-6)
    assert added["num_experts"] == added["n_routed_experts"] == 128
    assert added["layer_norm_epsilon"] == 1e-6
    assert "num_local_experts" not in added


def test_what_the_config_says_is_never_replaced(tmp_path: Path) -> None:
    config = {"num_experts": 8, "num_local_experts": 4, "head_dim": 32, "hidden_size": 64, "num_attention_heads": 4}
    added = fields(tmp_path, model_type="qwen3_moe", **config)
    assert not config.keys() & added.keys()


def test_a_head_has_its_share_of_the_width(tmp_path: Path) -> None:
    assert fields(tmp_path, model_type="exaone4", hidden_size=64, num_attention_heads=4)["head_dim"] == 16


@pytest.mark.parametrize(
    ("kind", "layers", "field", "value"),
    [
        ("cohere2", [SLIDING, SLIDING, FULL] * 2, "sliding_window_pattern", 3),
        ("qwen3_next", [LINEAR, FULL] * 3, "full_attention_interval", 2),
        ("mimo_v2_flash", [FULL, SLIDING, SLIDING], "hybrid_layer_pattern", [0, 1, 1]),
    ],
)
def test_patterns_of_layers_are_read_from_their_list(
    tmp_path: Path, kind: str, layers: list[str], field: str, value: Any
) -> None:
    config = {"num_key_value_heads": 2}
    assert fields(tmp_path, model_type=kind, layer_types=layers, **config)[field] == value


def test_values_that_mlx_lm_reads_in_another_way_are_translated(tmp_path: Path) -> None:
    def overridden(**config: Any) -> dict[str, Any]:
        fields(tmp_path, **config)
        return overrides(Checkpoint(tmp_path))

    window = {"sliding_window_pattern": 4, "layer_types": [SLIDING, SLIDING, SLIDING, FULL]}
    assert overridden(model_type="exaone4", **window) == {"sliding_window_pattern": "LLLG"}
    assert overridden(model_type="exaone4", sliding_window_pattern=4, layer_types=[FULL]) == {
        "sliding_window_pattern": None
    }
    assert overridden(model_type="granitemoehybrid", layer_types=[LINEAR, FULL]) == {
        "layer_types": ["mamba", "attention"],
        "position_embedding_type": "nope",
    }
    assert overridden(model_type="llama", layer_types=[FULL]) == {}


def test_a_pattern_that_mlx_lm_cannot_express_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel, match="cohere2 whose layers of full_attention are not evenly spaced"):
        fields(tmp_path, model_type="cohere2", layer_types=[SLIDING, FULL, FULL])
    with pytest.raises(UnsupportedModel, match="with a dense layer after one with experts"):
        fields(tmp_path, model_type="glm_moe_dsa", mlp_layer_types=["dense", "sparse", "dense"])


def test_another_architecture_of_the_same_name_is_named_when_it_does_not_load(tmp_path: Path) -> None:
    folder = tiny_folder("llama", tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "minimax"}))
    with pytest.raises(UnsupportedModel, match=r"mlx-lm's minimax is MiniMax-M2, and this is MiniMax-Text-01; use an"):
        backend.load(Weights("tiny", folder, "folder", "tiny"), LoadOptions())


def test_a_model_of_mlx_lm_that_would_end_the_process_is_refused(tmp_path: Path) -> None:
    folder = tiny_folder("llama", tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "olmo"}))
    with pytest.raises(UnsupportedModel, match="mlx-lm reads the first Olmo only as AI2 saved it"):
        backend.load(Weights("tiny", folder, "folder", "tiny"), LoadOptions())


def test_a_text_model_inside_another_is_completed_too(tmp_path: Path) -> None:
    inner = {"model_type": "gemma3_text", "vocab_size": 500, "hidden_size": 64, "num_attention_heads": 4}
    added = fields(tmp_path, model_type="gemma3", text_config=inner)
    assert added["vocab_size"] == 500  # else mlx-lm takes 262208
    assert added["text_config"] == inner | {"head_dim": 16}


def test_joined_experts_are_taken_apart() -> None:
    joined, down = mx.arange(24).reshape(2, 4, 3), mx.arange(12).reshape(2, 3, 2)
    base = "model.layers.0.mlp.experts"
    weights = apart("qwen3_moe", {f"{base}.gate_up_proj": joined, f"{base}.down_proj": down, "x": joined})
    assert weights[f"{base}.1.gate_proj.weight"].tolist() == joined[1, :2].tolist()
    assert weights[f"{base}.1.up_proj.weight"].tolist() == joined[1, 2:].tolist()
    assert weights[f"{base}.0.down_proj.weight"].tolist() == down[0].tolist()
    assert len(weights) == 7
    assert apart("mixtral", {f"{base}.down_proj": down}).keys() == {f"{base}.0.w2.weight", f"{base}.1.w2.weight"}
    assert apart("llama", {f"{base}.down_proj": down}).keys() == {f"{base}.down_proj"}


def residual(folder: Path, activation: str) -> Any:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"hidden_act": activation}))
    engine = backend.load(Weights("tiny", folder, "folder", "tiny"), LoadOptions())
    output = engine.forward([Row(np.arange(9, dtype=np.int32))], [3])[0].residuals
    version = engine.info.version
    engine.close()
    return output, version


def test_the_activation_is_the_one_that_the_config_names(tmp_path: Path) -> None:
    folder = tiny_folder("gpt_neox", tmp_path)
    approximate, plain = residual(folder, "gelu_new")
    exact, corrected = residual(folder, "gelu")
    assert corrected == f"{plain}, activation as in transformers"
    distance = np.linalg.norm(exact - approximate) / np.linalg.norm(exact)
    assert 1e-5 < distance < 1e-2
    with pytest.raises(UnsupportedModel, match=r"computes gelu_pytorch_tanh in a gpt_neox, .* asks for mish"):
        residual(folder, "mish")
