"""What a tiny config needs beside its sizes, by architecture."""

from __future__ import annotations

from typing import Any

_SLIDING, _FULL, _LINEAR = "sliding_attention", "full_attention", "linear_attention"
_CONVOLVED = ["conv", _FULL, "conv", _FULL]
_VISION: dict[str, Any] = {"image_size": 28, "patch_size": 14}
_ROPE: dict[str, Any] = {"rope_type": "default", "rope_theta": 10_000.0}
_QWEN4 = {
    "indexer_n_heads": 4,
    "indexer_kv_heads": 1,
    "indexer_head_dim": 16,
    "indexer_budget": 8,
    "indexer_compress_ratio": 2,
}

TRANSFORMERS: dict[str, dict[str, Any]] = {
    "bailing_hybrid": {"layer_group_size": 2},
    "bamba": {"attn_layer_indices": [1, 3]},
    "blt": {"encoder_hash_byte_group_vocab": 500},
    "cohere_compass_text": {
        "rope_parameters": {_FULL: _ROPE | {"mrope_section": [4, 2, 2]}, _SLIDING: _ROPE | {"mrope_section": [4, 2, 2]}}
    },
    "dbrx": {
        "attn_config": {"rope_theta": 10_000.0, "clip_qkv": 8.0, "kv_n_heads": 2},
        "ffn_config": {"moe_num_experts": 4, "moe_top_k": 2, "ffn_hidden_size": 32},
    },
    "dots1": {"n_routed_experts": 4, "n_shared_experts": 1},
    "dots3_note_text": {"num_key_value_heads": 4, "swa_head_dim": 24, "swa_qk_nope_head_dim": 16, "swa_v_head_dim": 16},
    "falcon_h1": {"mamba_d_ssm": 128},
    "gemma3": {"text_config": {"num_hidden_layers": 6}},
    "gemma3_text": {"num_hidden_layers": 6},
    "gemma4_assistant": {"text_config": {"hidden_size_per_layer_input": 0, "vocab_size_per_layer_input": 0}},
    "gemma4_unified_assistant": {"text_config": {"hidden_size_per_layer_input": 0}},
    "gpt_neo": {"attention_types": [[["global", "local"], 2]]},
    "gpt_neox": {"intermediate_size": 256},
    "got_ocr2": {"vision_config": {"image_size": 64, "global_attn_indexes": [1], "window_size": 2}},
    "granitemoehybrid": {"layer_types": [_LINEAR, _FULL, _LINEAR, _FULL]},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "kimi_linear": {"layer_types": [_LINEAR, _FULL, _LINEAR, _FULL]},
    "lfm2": {"layer_types": _CONVOLVED, "block_multiple_of": 16},
    "lfm2_moe": {"layer_types": _CONVOLVED},
    "lfm3": {"layer_types": _CONVOLVED},
    "mamba2": {"num_heads": 8},
    "mimo_v2_flash": {"head_dim": 24},
    "phimoe": {"attention_bias": True, "lm_head_bias": True},
    "qwen4_exp": {"text_config": _QWEN4},
    "qwen4_exp_text": _QWEN4,
    "recurrent_gemma": {"num_key_value_heads": 1},
    "reformer": {"axial_pos_shape": [16, 16], "axial_pos_embds_dim": [32, 32]},
    "xlm": {"causal": True},
    "xmod": {"languages": ["en_XX"], "default_language": "en_XX"},
    "zamba": {"num_hidden_layers": 8, "attn_layer_period": 3, "attn_layer_offset": 2},
    "zamba2": {"layers_block_type": [_LINEAR, "hybrid", _LINEAR, "hybrid"]},
    "zaya": {"num_experts_per_tok": 1},
}

_KDA = {
    "kda_layers": [1, 3],
    "full_attn_layers": [2, 4],
    "num_heads": 4,
    "head_dim": 16,
    "short_conv_kernel_size": 4,
}
MLX: dict[str, dict[str, Any]] = {
    "Klear": {"mlp_only_layers": [], "decoder_sparse_step": 1},
    "afm7": {"num_kv_reuse_layers": 1},
    "baichuan_m1": {"sliding_window_layers": [0, 2]},
    "bailing_moe_linear": {"layer_group_size": 2, "group_norm_size": 1},
    "bailing_moe_v3": {"layer_group_size": 2},
    "deepseek": {"n_shared_experts": 1, "n_routed_experts": 4, "num_experts_per_tok": 2},
    "deepseek_v41": {"o_groups": 2, "compress_ratios": [0, 0, 0, 0]},
    "gear": {"layer_types": [_SLIDING, _FULL, _SLIDING, _FULL]},
    "hunyuan": {
        "use_mixed_mlp_moe": True,
        "moe_intermediate_size": [32] * 4,
        "moe_topk": [2] * 4,
        "num_shared_expert": [1] * 4,
        "rope_scaling": {"type": "dynamic", "factor": 1.0, "alpha": 1000.0},
    },
    "kimi_k3": {
        "hidden_act": "situ",
        "linear_attn_config": _KDA,
        **dict.fromkeys(("q_lora_rank", "kv_lora_rank", "qk_nope_head_dim", "v_head_dim"), 16),
        **{"qk_rope_head_dim": 8, "num_experts": 4, "moe_intermediate_size": 32},
    },
    "lfm2": {"block_ff_dim": 96, "full_attn_idxs": [1, 3]},
    "lille-130m": {"block_size": 256},
    "longcat_flash": {
        "mla_scale_q_lora": True,
        "mla_scale_kv_lora": True,
        "attention_method": "MLA",
        "zero_expert_type": "identity",
    },
    "llama4": {"num_experts_per_tok": 1, "rope_scaling": None, "use_qk_norm": True},
    "longcat_flash_ngram": {"mla_scale_q_lora": True, "mla_scale_kv_lora": True},
    "mistral4": {
        "rope_parameters": _ROPE | {"llama_4_scaling_beta": 0.1, "original_max_position_embeddings": 256, "factor": 1.0}
    },
    "qwen3": {"rope_theta": 10_000.0},
    "qwen3_moe": {"mlp_only_layers": [], "decoder_sparse_step": 1},
    "muse_spark": {
        "layer_rope_theta": [1e4, 0.0, 1e4, 0.0],
        "layer_types": [_SLIDING, _FULL, _SLIDING, _FULL],
        "rope_parameters": _ROPE,
        "post_norm_eps": 1e-5,
    },
    "nemotron-nas": {"block_configs": [{"attention": {"n_heads_in_group": 2}, "ffn": {"ffn_mult": 1.5}}] * 4},
    "openelm": {
        "num_query_heads": [4] * 4,
        "num_kv_heads": [2] * 4,
        "ffn_multipliers": [1.5] * 4,
        "ffn_dim_divisor": 16,
    },
    "phi3small": {"gegelu_limit": 20.0},
    "plamo": {"n_shared_head": 2},
    "rwkv7": dict.fromkeys(("a_low_rank_dim", "v_low_rank_dim", "gate_low_rank_dim", "decay_low_rank_dim"), 8),
    "spark2_5": {"rope_parameters": {_SLIDING: _ROPE, _FULL: _ROPE}},
}
"""Values of a ModelArgs, or of the text config inside it."""

WRAPPED = {
    "kimi_k25": "deepseek_v3",
    "lfm2-vl": "lfm2",
    "mistral3": "llama",
    "llava": "llama",
    "pixtral": "llama",
    "qwen3_5_moe": "qwen3_5",
    "qwen2_vl": "qwen2",
    "qwen2_5_vl": "qwen2",
    "qwen3_vl": "qwen3",
    "qwen3_vl_moe": "qwen3_moe",
}
"""Architectures of mlx-lm whose text model is that of another."""

_METAL = "has kernels for Metal alone, and this was no Mac"
_CODES = "decodes codes of audio in several books at once, not tokens of a text"
NOT_BUILT = {
    "dots3_note": "has a vision tower whose experts are counted layer by layer; its text model is dots3_note_text",
    "gemma3n": "needs the package timm for its vision tower; its text model is gemma3n_text",
    "moshi": _CODES,
    "muse_spark": _METAL,
    "musicgen": _CODES,
    "musicgen_melody": _CODES,
    "phi3small": "gives NaN in mlx-lm itself when it is tiny",
    "prism_hadamard_qwen35": "is a form of Qwen3.5 in packed 2-bit weights, which no tiny model was made of",
}
"""Architectures that this table does not check, with the reason."""
