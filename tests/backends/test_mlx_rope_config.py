"""How MLX reads RoPE in config.json. No MLX needed."""

from __future__ import annotations

from typing import Any

import pytest

from localprobe.errors import CorruptFile, UnsupportedModel
from localprobe_mlx.rope_config import Rope

YARN = {"rope_type": "yarn", "rope_theta": 1e6, "factor": 4.0, "original_max_position_embeddings": 32768}
LONG = {"rope_type": "longrope", "short_factor": [1.0], "long_factor": [2.0]}
SLIDING_THEN_FULL = ["sliding_attention", "full_attention"]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"rope_theta": 5e5}, {"rope_type": "default", "rope_theta": 5e5}),
        ({"rope_parameters": YARN}, YARN),
        ({"rope_theta": 1e6, "rope_scaling": {k: v for k, v in YARN.items() if k != "rope_theta"}}, YARN),
        ({"rope_scaling": YARN, "rope_parameters": {"rope_type": "default", "rope_theta": 7.0}}, YARN),
        ({"rope_scaling": {"type": "linear", "factor": 2}}, {"type": "linear", "rope_type": "linear", "factor": 2}),
        (
            {"rope_scaling": {"type": "yarn", "factor": None}, "max_position_embeddings": 64},
            {"type": "yarn", "rope_type": "yarn", "factor": 1.0, "original_max_position_embeddings": 64},
        ),
    ],
)
def test_parameters_are_those_that_transformers_reads(config: dict[str, Any], expected: dict[str, Any]) -> None:
    rope = Rope(config)
    assert rope.main == rope.of(0) == expected
    assert rope.length is None


@pytest.mark.parametrize(
    ("config", "length"),
    [
        ({"model_type": "phi3", "rope_scaling": LONG, "max_position_embeddings": 131072}, 4096),
        ({"model_type": "phi3", "rope_scaling": {**LONG, "rope_type": "su"}}, 4096),
        ({"model_type": "phi3", "rope_parameters": LONG, "original_max_position_embeddings": 8192}, 8192),
        ({"model_type": "llama", "rope_parameters": {**LONG, "original_max_position_embeddings": 512}}, 512),
        ({"model_type": "llama", "rope_parameters": LONG, "max_position_embeddings": 2048}, 2048),
        ({"rope_parameters": {"full_attention": {**LONG, "original_max_position_embeddings": 64}}}, 64),
    ],
)
def test_the_length_at_which_long_rope_changes(config: dict[str, Any], length: int) -> None:
    assert Rope({"layer_types": SLIDING_THEN_FULL, **config}).length == length


def test_kinds_of_layers_with_other_lengths_are_refused() -> None:
    kinds = dict(
        zip(SLIDING_THEN_FULL, ({**LONG, "original_max_position_embeddings": n} for n in (8, 16)), strict=True)
    )
    with pytest.raises(UnsupportedModel, match=r"different lengths on: \[8, 16\]"):
        _ = Rope({"layer_types": SLIDING_THEN_FULL, "rope_parameters": kinds}).length


def test_each_layer_has_that_of_its_kind() -> None:
    sliding = {"rope_type": "default", "rope_theta": 1e4}
    kinds = {"sliding_attention": sliding, "full_attention": {"rope_type": "default", "rope_theta": 1e6}}
    rope = Rope({"layer_types": SLIDING_THEN_FULL, "rope_parameters": kinds, "rope_scaling": {"factor": 2.0}})
    assert rope.of(0) == sliding
    assert rope.of(1) == rope.main == {"rope_type": "default", "rope_theta": 1e6, "factor": 2.0}
    without = Rope({"layer_types": SLIDING_THEN_FULL, "rope_parameters": {**kinds, "sliding_attention": None}})
    assert without.of(0) == {}


def test_a_scaling_that_scales_nothing_is_left_out() -> None:
    """Some of mlx-lm's models refuse a default one."""
    default = {"rope_type": "default", "rope_theta": 1e4}
    assert Rope({"rope_scaling": default, "rope_parameters": default}).changes()["rope_scaling"] is None
    sections = {"type": "mrope", "mrope_section": [1, 1, 2]}
    assert "rope_scaling" not in Rope({"rope_scaling": sections}).changes()


@pytest.mark.parametrize(("positions", "context"), [(32768, 131072), (131072, 131072)])
def test_yarn_extends_the_context(positions: int, context: int) -> None:
    assert Rope({"rope_parameters": YARN}).extended(positions) == context
    assert Rope({"rope_parameters": {"rope_type": "linear", "factor": 2.0}}).extended(positions) == positions


@pytest.mark.parametrize(
    ("config", "line"),
    [
        ({"rope_scaling": "yarn"}, "rope_scaling is 'yarn', not an object"),
        ({"rope_parameters": [1]}, r"rope_parameters is \[1\], not an object"),
        ({"rope_theta": "big"}, "rope_theta of its RoPE is 'big', not a number"),
        ({"rope_parameters": YARN | {"factor": [4]}}, r"factor of its RoPE is \[4\], not a number"),
        ({"rope_parameters": LONG}, "longrope RoPE needs original_max_position_embeddings, which is None"),
        ({"rope_parameters": YARN | {"original_max_position_embeddings": "8"}}, "embeddings, which is '8'"),
        ({"layer_types": ["full"], "rope_parameters": {"full": 3}}, "full is 3, not an object"),
    ],
)
def test_what_is_no_rope_is_named(config: dict[str, Any], line: str) -> None:
    with pytest.raises(CorruptFile, match=line):
        Rope(config)
