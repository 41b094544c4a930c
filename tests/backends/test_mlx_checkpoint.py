"""What a model folder says about itself, and how its config is put into mlx-lm's words. No MLX needed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from localprobe.errors import CorruptFile, ModelError, UnsupportedModel
from localprobe_mlx.checkpoint import Checkpoint
from localprobe_mlx.dialect import config_for_mlx


def checkpoint(folder: Path, config: dict[str, Any], *tensors: str) -> Checkpoint:
    """A folder of that config and of little tensors with those names."""
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", **config}))
    save_file({name: np.zeros(2, np.float32) for name in tensors or ("x",)}, folder / "model.safetensors")
    return Checkpoint(folder)


def test_a_folder_without_config_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="has no config"):
        Checkpoint(tmp_path)


def test_a_torn_config_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "lla')
    with pytest.raises(CorruptFile, match=r"config\.json: not JSON .*fetch the file again"):
        Checkpoint(tmp_path)


def test_a_folder_without_safetensors_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="holds no model"):
        Checkpoint(tmp_path)


def test_a_config_without_model_type_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel, match="has no model_type"):
        checkpoint(tmp_path, {"model_type": None})


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"num_hidden_layers": -1}, "num_hidden_layers is -1, which cannot be"),
        ({"num_hidden_layers": [4]}, r"num_hidden_layers is \[4\], which cannot be"),
        ({"quantization": 4}, "quantization is 4, not an object"),
        ({"layer_types": "full_attention"}, "layer_types is 'full_attention', not a list"),
        ({"text_config": {"max_window_layers": "3"}}, "max_window_layers is '3', not a whole number"),
        ({"model_type": ["llama"]}, "has no model_type"),
    ],
)
def test_a_value_of_another_kind_is_named(tmp_path: Path, config: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        checkpoint(tmp_path, config)


def test_truncated_weights_are_found_before_loading(tmp_path: Path) -> None:
    checkpoint(tmp_path, {})
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    with pytest.raises(CorruptFile, match="bytes long and is"):
        Checkpoint(tmp_path)


def test_ends_of_an_answer_come_from_both_configs(tmp_path: Path) -> None:
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [7, 9]}')
    assert checkpoint(tmp_path, {"eos_token_id": 2}).eos == {2, 7, 9}
    assert checkpoint(tmp_path, {"eos_token_id": [float("nan"), "2", None]}).eos == {7, 9}


@pytest.mark.parametrize(
    ("config", "context"),
    [
        ({"max_position_embeddings": 4096}, 4096),
        ({"n_positions": 1024}, 1024),
        ({"text_config": {"n_ctx": 8}}, 8),
        ({}, None),
    ],
)
def test_context(tmp_path: Path, config: dict[str, Any], context: int | None) -> None:
    assert checkpoint(tmp_path, config).context == context


@pytest.mark.parametrize(
    ("config", "quantisation"),
    [
        ({}, None),
        ({"quantization": {"group_size": 64, "bits": 4}}, "4bit"),
        ({"quantization": {"group_size": 32, "bits": 4, "mode": "mxfp4"}}, "mxfp4"),
        ({"quantization_config": {"quant_method": "awq", "bits": 4}}, "4bit"),
    ],
)
def test_quantisation(tmp_path: Path, config: dict[str, Any], quantisation: str | None) -> None:
    assert checkpoint(tmp_path, config).quantisation == quantisation


WINDOWED = {"num_hidden_layers": 4, "sliding_window": 8}


@pytest.mark.parametrize(
    ("config", "windows"),
    [
        ({"model_type": "llama", "num_hidden_layers": 4}, [None] * 4),
        ({"model_type": "mistral", **WINDOWED}, [8] * 4),
        ({"model_type": "mistral", **WINDOWED, "sliding_window": None}, [None] * 4),
        ({"model_type": "phi3", **WINDOWED}, [8] * 4),
        ({"model_type": "gemma2", **WINDOWED}, [8, None, 8, None]),
        ({"model_type": "qwen2", **WINDOWED, "use_sliding_window": False}, [None] * 4),
        (
            {"model_type": "qwen2", **WINDOWED, "use_sliding_window": True, "max_window_layers": 3},
            [None, None, None, 8],
        ),
        ({**WINDOWED, "layer_types": ["sliding_attention", "full_attention"] * 2}, [8, None, 8, None]),
        ({"model_type": "unheard-of", **WINDOWED}, None),
    ],
)
def test_which_layers_have_a_sliding_window(
    tmp_path: Path, config: dict[str, Any], windows: list[int | None] | None
) -> None:
    assert checkpoint(tmp_path, config).layer_windows() == windows


def test_rope_parameters_get_their_old_names(tmp_path: Path) -> None:
    """Without rope_theta mlx-lm takes 10000, and every residual is quietly wrong."""
    changes = config_for_mlx(checkpoint(tmp_path, {"rope_parameters": {"rope_type": "default", "rope_theta": 1e5}}))
    assert changes["rope_theta"] == 1e5
    assert changes["rope_scaling"] is None


def test_rope_scaling_is_taken_along(tmp_path: Path) -> None:
    rope = {"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "original_max_position_embeddings": 64}
    scaling = config_for_mlx(checkpoint(tmp_path, {"rope_parameters": rope}))["rope_scaling"]
    assert (scaling["type"], scaling["factor"], scaling["original_max_position_embeddings"]) == ("llama3", 8.0, 64)


def test_an_old_config_is_left_alone(tmp_path: Path) -> None:
    config = {"rope_theta": 1e6, "rope_scaling": {"type": "linear", "factor": 2.0}, "tie_word_embeddings": True}
    changed = config | config_for_mlx(checkpoint(tmp_path, config))
    scaling = {**config["rope_scaling"], "rope_type": "linear", "rope_theta": 1e6}  # type: ignore[dict-item]
    assert {key: changed[key] for key in config} == config | {"rope_scaling": scaling}


def test_gpt_neox_and_gpt2_keys(tmp_path: Path) -> None:
    rope = {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.25}
    neox = config_for_mlx(checkpoint(tmp_path, {"model_type": "gpt_neox", "rope_parameters": rope}))
    assert (neox["rotary_emb_base"], neox["rotary_pct"]) == (1e4, 0.25)
    assert config_for_mlx(checkpoint(tmp_path, {"model_type": "gpt2", "n_positions": 1024}))["n_ctx"] == 1024


def gemma3(*kinds: str) -> dict[str, Any]:
    rope = {"full_attention": {"rope_theta": 1e6}, "sliding_attention": {"rope_theta": 1e4}}
    return {"model_type": "gemma3_text", "layer_types": list(kinds), "rope_parameters": rope}


def test_gemma3_has_two_ropes_and_a_pattern(tmp_path: Path) -> None:
    sliding, full = "sliding_attention", "full_attention"
    changes = config_for_mlx(checkpoint(tmp_path, gemma3(sliding, sliding, full, sliding, sliding, full, sliding)))
    assert (changes["rope_theta"], changes["rope_local_base_freq"]) == (1e6, 1e4)
    assert changes["sliding_window_pattern"] == 3
    with pytest.raises(UnsupportedModel, match="evenly"):
        config_for_mlx(checkpoint(tmp_path, gemma3(sliding, full, full, sliding)))


def test_a_text_model_inside_another_is_translated_too(tmp_path: Path) -> None:
    inner = {"model_type": "llama", "rope_parameters": {"rope_theta": 1e5}, "hidden_size": 64}
    changes = config_for_mlx(checkpoint(tmp_path, {"text_config": inner}))
    assert changes["text_config"]["rope_theta"] == 1e5
    assert changes["text_config"]["hidden_size"] == 64


@pytest.mark.parametrize(("tensor", "tied"), [("lm_head.weight", False), ("model.norm.weight", True)])
def test_whether_embeddings_are_tied_is_seen_in_the_weights(tmp_path: Path, tensor: str, tied: bool) -> None:
    assert config_for_mlx(checkpoint(tmp_path, {}, tensor))["tie_word_embeddings"] is tied


def test_a_tensor_in_two_files_is_refused(tmp_path: Path) -> None:
    """mlx-lm reads every model*.safetensors, in the order of the disk: which of the two counts would be chance."""
    checkpoint(tmp_path, {}, "x", "y")
    save_file({"z": np.zeros(2, np.float32)}, tmp_path / "model-2.safetensors")
    assert Checkpoint(tmp_path).tensors == ["z", "x", "y"]
    save_file({"y": np.ones(2, np.float32)}, tmp_path / "model-old.safetensors")
    with pytest.raises(CorruptFile, match=r"model\.safetensors both hold the tensor 'y', and mlx-lm reads both files"):
        Checkpoint(tmp_path)
