"""config.json for mlx-lm: what transformers 5 leaves out or names in another way, RoPE aside (`dialect` has that).

mlx-lm refuses a config without a field that has no default, and takes its default for any other: the residuals are then
silently wrong. So what it reads is given here, from tables.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from localprobe.errors import UnsupportedModel
from localprobe_mlx.checkpoint import Checkpoint, Config

SAME: tuple[tuple[str, ...], ...] = (
    ("num_experts", "num_local_experts", "n_routed_experts"),
    ("num_experts_per_tok", "num_experts_per_token"),
    ("num_shared_experts", "n_shared_experts"),
    ("norm_topk_prob", "moe_renormalize"),
    ("n_group", "num_expert_group"),
    ("rms_norm_eps", "layernorm_epsilon", "layer_norm_epsilon", "norm_eps", "layer_norm_eps", "norm_epsilon"),
    ("sliding_window", "sliding_window_size"),
    ("max_position_embeddings", "model_max_length"),
    ("intermediate_size", "block_ff_dim"),
)
"""Names of one value: a name that a config lacks gets the value of one that it has."""

_SIGMOID = {"topk_method": "noaux_tc", "scoring_func": "sigmoid"}
FIXED: dict[str, Config] = {
    "apertus": {"mlp_bias": False, "post_norm": False, "qk_norm": True},
    "glm_moe_dsa": {**_SIGMOID, "moe_layer_freq": 1},
    "longcat_flash": {
        "attention_method": "MLA",
        "zero_expert_type": "identity",
        "mla_scale_q_lora": True,
        "mla_scale_kv_lora": True,
    },
    "mimo_v2_flash": {
        **_SIGMOID,
        "add_swa_attention_sink_bias": True,
        "add_full_attention_sink_bias": False,
        "n_shared_experts": None,
    },
    "solar_open": {"first_k_dense_replace": 0, "partial_rotary_factor": 1.0},
    "kimi_linear": {"mla_use_nope": True, "rope_theta": 10_000.0},
    "minimax_m2": {"shared_intermediate_size": 0},
}
"""What transformers has in code and mlx-lm in the config."""

FOREIGN: dict[str, str] = {
    "minimax": "mlx-lm's minimax is MiniMax-M2, and this is MiniMax-Text-01",
    "llama4_text": "mlx-lm's llama4_text is a smaller form of it, without experts",
    "nanochat": "mlx-lm reads nanochat only as its author saved it, not as transformers does",
    "olmo_hybrid": "mlx-lm's olmo_hybrid has norms in other places than that of transformers",
    "olmo": "mlx-lm reads the first Olmo only as AI2 saved it, not as transformers does",
}
"""Architectures that the two libraries call by one name and are not the same: said where loading one fails."""


def fields_for_mlx(checkpoint: Checkpoint) -> Config:
    """Additions to a checkpoint's config that mlx-lm needs; see `config_for_mlx` for RoPE.

    Raises UnsupportedModel, with the reason, if mlx-lm cannot run what the config says.
    """
    config = checkpoint.config
    kind = checkpoint.architecture
    additions = _additions(kind, config)
    inner = config.get("text_config")
    if isinstance(inner, dict):
        additions["text_config"] = {**inner, **_additions(inner.get("model_type", kind), inner)}
    return additions


def overrides(checkpoint: Checkpoint) -> Config:
    """Fields whose values mlx-lm reads in another way than transformers 5 writes them."""
    config = checkpoint.config
    override = _OVERRIDES.get(checkpoint.architecture)
    return override(config) if override else {}


def _additions(kind: str, config: Config) -> Config:
    additions: Config = {}
    for names in SAME:
        present = [config[name] for name in names if config.get(name) is not None]
        if present:
            additions |= {name: present[0] for name in names if config.get(name) is None}
    for name, derive in {**_EVERYWHERE, **_DERIVED.get(kind, {})}.items():
        if config.get(name) is None and (value := derive(config)) is not None:
            additions[name] = value
    return {**{name: value for name, value in FIXED.get(kind, {}).items() if name not in config}, **additions}


def _unable(config: Config, what: str) -> UnsupportedModel:
    return UnsupportedModel(f"mlx-lm cannot run a {config.get('model_type')} {what}: use another engine")


def _head_size(config: Config) -> int | None:
    width, heads = config.get("hidden_size"), config.get("num_attention_heads")
    return width // heads if isinstance(width, int) and isinstance(heads, int) and heads else None


def _period(config: Config, last: str, other: str) -> int | None:
    """Every how many layers one is of the kind `last`, all others of the kind `other`; None if none is `other`."""
    kinds = config.get("layer_types") or []
    if other not in kinds:
        return None
    period = kinds.index(last) + 1 if last in kinds else len(kinds) + 1
    if kinds != [other if (number + 1) % period else last for number in range(len(kinds))]:
        raise _unable(config, f"whose layers of {last} are not evenly spaced")
    return period


def _letters(config: Config) -> str | None:
    """EXAONE 4's pattern of windows: `LLLG`."""
    period = _period(config, "full_attention", "sliding_attention")
    return "L" * (period - 1) + "G" if period else None


def _dense(config: Config) -> int | None:
    """How many layers are dense before those with experts."""
    kinds = config.get("mlp_layer_types")
    if kinds is None:
        return None
    count = kinds.index("sparse") if "sparse" in kinds else len(kinds)
    if "dense" in kinds[count:]:
        raise _unable(config, "with a dense layer after one with experts")
    return int(count)


def _where(name: str, kind: str, of: Callable[[bool], Any]) -> Callable[[Config], list[Any] | None]:
    """For each layer, `of` whether the list `name` says that it is of this kind."""

    def derive(config: Config) -> list[Any] | None:
        return None if config.get(name) is None else [of(own == kind) for own in config[name]]

    return derive


def _rotary(config: Config) -> int | None:
    """How many dimensions of a head are rotated."""
    size = config.get("head_dim") or _head_size(config)
    share = (config.get("rope_parameters") or {}).get("partial_rotary_factor", 1.0)
    return None if size is None else int(size * share)


def _rope_of(kind: str, name: str, default: Any = None) -> Callable[[Config], Any]:
    """A value of `rope_parameters` for one kind of layer."""
    return lambda config: ((config.get("rope_parameters") or {}).get(kind) or {}).get(name, default)


def _kimi(config: Config) -> Config | None:
    """Kimi Linear's layers, which mlx-lm counts from 1."""
    kinds = config.get("layer_types")
    if kinds is None:
        return None
    numbers = {kind: [number + 1 for number, own in enumerate(kinds) if own == kind] for kind in set(kinds)}
    return {
        "kda_layers": numbers.get("linear_attention", []),
        "full_attn_layers": numbers.get("full_attention", []),
        "num_heads": config["linear_num_heads"],
        "head_dim": config["linear_head_dim"],
        "short_conv_kernel_size": config["linear_conv_kernel_dim"],
    }


def _global_head_size(config: Config) -> int | None:
    """The size of a head in Gemma 4's layers of full attention, which transformers lists layer by layer."""
    sizes = {own["head_dim"] for own in (config.get("per_layer_config") or {}).values() if "head_dim" in own}
    return sizes.pop() if len(sizes) == 1 else config.get("head_dim")


def _same_as(name: str) -> Callable[[Config], Any]:
    return lambda config: config.get(name)


def _granite(config: Config) -> Config:
    names = {"linear_attention": "mamba", "full_attention": "attention"}
    kinds = config.get("layer_types")
    rotated = {} if config.get("position_embedding_type") == "rope" else {"position_embedding_type": "nope"}
    return rotated | ({"layer_types": [names.get(kind, kind) for kind in kinds]} if kinds else {})


def _exaone(config: Config) -> Config:
    return {} if isinstance(config.get("sliding_window_pattern"), str) else {"sliding_window_pattern": _letters(config)}


def _deepseek(config: Config) -> Config:
    """mlx-lm always scales DeepSeek-V2's RoPE by YaRN: by 1 if the config asks for none."""
    scaling = config.get("rope_scaling") or config.get("rope_parameters") or {}
    if "factor" in scaling:
        return {}
    length = config.get("max_position_embeddings")
    return {"rope_scaling": {"type": "yarn", "factor": 1.0, "original_max_position_embeddings": length}}


def _minicpm(config: Config) -> Config:
    """mlx-lm always scales MiniCPM 3's RoPE: by 1 if the config asks for none."""
    scaling = config.get("rope_scaling") or config.get("rope_parameters") or {}
    if scaling.get("short_factor"):
        return {}
    length = config.get("max_position_embeddings")
    return {"rope_scaling": {"short_factor": 1.0, "long_factor": 1.0, "original_max_position_embeddings": length}}


_OVERRIDES: dict[str, Callable[[Config], Config]] = {
    "deepseek_v2": _deepseek,
    "exaone4": _exaone,
    "granitemoehybrid": _granite,
    "minicpm3": _minicpm,
}

_Derive = Mapping[str, Callable[[Config], Any]]
_EVERYWHERE: _Derive = {
    "head_dim": _head_size,
    "vocab_size": lambda config: (config.get("text_config") or {}).get("vocab_size"),  # Gemma's wins over the inner one
}
_INTERVAL: _Derive = {"full_attention_interval": lambda config: _period(config, "full_attention", "linear_attention")}
_DENSE: _Derive = {"first_k_dense_replace": _dense}
_DERIVED: dict[str, _Derive] = {
    **dict.fromkeys(("qwen3_next", "qwen3_5", "qwen3_5_text", "qwen3_5_moe", "qwen3_5_moe_text"), _INTERVAL),
    **dict.fromkeys(("deepseek_v32", "glm_moe_dsa", "glm4_moe_lite"), _DENSE),
    "cohere2": {"sliding_window_pattern": lambda config: _period(config, "full_attention", "sliding_attention")},
    "exaone": {"num_layers": _same_as("num_hidden_layers")},
    "exaone_moe": {"is_moe_layer": _where("mlp_layer_types", "sparse", bool)},
    "gemma4_text": {
        "global_head_dim": _global_head_size,
        "num_global_key_value_heads": _same_as("num_key_value_heads"),
        "global_partial_rotary_factor": _rope_of("full_attention", "partial_rotary_factor", 1.0),
    },
    "gpt_bigcode": {"n_inner": lambda config: 4 * config["n_embd"]},
    "kimi_linear": {"linear_attn_config": _kimi, **_DENSE},
    "lfm2": {"block_dim": _same_as("hidden_size")},
    "mamba2": {"intermediate_size": lambda config: config["num_heads"] * config["head_dim"]},
    "mimo_v2_flash": {
        "hybrid_layer_pattern": _where("layer_types", "sliding_attention", int),
        "moe_layer_freq": _where("mlp_layer_types", "sparse", int),
        "swa_num_attention_heads": _same_as("num_attention_heads"),
        "swa_num_key_value_heads": lambda config: 2 * config["num_key_value_heads"],
        "swa_head_dim": _same_as("head_dim"),
        "swa_v_head_dim": _same_as("v_head_dim"),
        "rope_theta": _rope_of("full_attention", "rope_theta"),
        "swa_rope_theta": _rope_of("sliding_attention", "rope_theta"),
        "partial_rotary_factor": _rope_of("full_attention", "partial_rotary_factor", 1.0),
    },
    "minimax_m2": {"rotary_dim": _rotary},
    "solar_open": {"intermediate_size": _same_as("moe_intermediate_size")},
}
"""Fields that are computed from others, by the architecture's `model_type`."""
