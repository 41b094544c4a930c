"""Tiny values for the fields of a config, by the names that transformers and mlx-lm give them.

What an architecture needs beside these is in `extras.py`.
"""

from __future__ import annotations

import re
from typing import Any

VOCABULARY = 400
"""Beyond the 385 tokens of the tiny tokenizer."""
WIDTH, INNER, LAYERS, HEADS, KEY_VALUE_HEADS, HEAD, CONTEXT, WINDOW = 64, 96, 4, 4, 2, 16, 256, 8
_EXPERTS, _CHOSEN, _EXPERT_INNER, _RANK, _STATE = 4, 2, 32, 16, 8

_NAMES = (
    (VOCABULARY, "vocab_size vocab_size_per_layer_input unpadded_vocab_size num_vocab"),
    (
        WIDTH,
        """hidden_size n_embd d_model dim word_embed_proj_dim embedding_size input_embedding_size
        output_embedding_size text_hidden_size model_dim hidden_size_global backbone_hidden_size
        projection_hidden_dim out_hidden_size output_proj_dims embedding_dim projection_dim hidden_dim block_dim""",
    ),
    (
        INNER,
        """intermediate_size ffn_dim n_inner d_ff decoder_ffn_dim encoder_ffn_dim dff dim_ff d_inner emb_dim
        ffn_hidden_size intermediate_size_mlp dense_intermediate_size feed_forward_size mlp_hidden_size
        ff_intermediate_size block_ff_dim mlp_dim""",
    ),
    (
        LAYERS,
        """num_hidden_layers n_layer num_layers n_layers decoder_layers encoder_layers num_decoder_layers
        num_encoder_layers max_window_layers num_transformer_layers""",
    ),
    (
        HEADS,
        """num_attention_heads n_head n_heads num_heads decoder_attention_heads encoder_attention_heads
        attention_heads num_encoder_attention_heads num_decoder_attention_heads swa_num_attention_heads
        linear_num_value_heads linear_num_heads num_query_heads""",
    ),
    (
        KEY_VALUE_HEADS,
        """num_key_value_heads swa_num_key_value_heads kv_n_heads linear_num_key_heads
        num_global_key_value_heads n_kv_heads num_kv_heads num_attention_groups""",
    ),
    (
        HEAD,
        """head_dim attention_head_size kv_channels dim_head swa_head_dim global_head_dim qk_nope_head_dim v_head_dim
        linear_key_head_dim linear_value_head_dim linear_head_dim query_pre_attn_scalar swa_v_head_dim
        mamba_head_dim mamba_d_head hidden_size_per_head index_head_dim hidden_size_per_layer_input""",
    ),
    (
        CONTEXT,
        """max_position_embeddings n_positions n_ctx max_seq_len context_length max_target_positions
        max_source_positions max_sequence_length position_bias_max_distance model_max_length
        original_max_position_embeddings rel_extent""",
    ),
    (
        WINDOW,
        """sliding_window attention_chunk_size sliding_window_size window_size attention_window_size
        local_attention keep_window_size chunk_size mamba_chunk_size local_attn_chunk_length lsh_attn_chunk_length
        loop_window_size index_topk qk_rope_head_dim rotary_dim window_length conf_attention_chunk_size""",
    ),
    (_EXPERTS, """num_experts num_local_experts n_routed_experts moe_num_experts num_routed_experts zero_expert_num"""),
    (
        _CHOSEN,
        """num_experts_per_tok num_experts_per_token moe_topk moe_top_k moe_k top_k_experts n_group
        num_experts_to_choose""",
    ),
    (
        _EXPERT_INNER,
        """moe_intermediate_size shared_expert_intermediate_size shared_intermediate_size
        moe_shared_expert_intermediate_size expert_ffn_hidden_size share_expert_dim shared_experts_intermediate_size
        moe_hidden_size""",
    ),
    (
        _RANK,
        """q_lora_rank kv_lora_rank o_lora_rank laurel_rank adapter_rank gated_norm_rank loop_gate_rank
        router_hidden_size mamba_dt_rank time_step_rank""",
    ),
    (_STATE, "mamba_d_state state_size ssm_state_size mamba_num_heads mamba_n_heads"),
    (
        1,
        """first_k_dense_replace num_dense_layers n_shared_experts num_shared_experts moe_num_shared_experts
        mamba_n_groups n_groups mamba_ngroups num_shared_expert moe_layer_start_index topk_group
        num_expert_group""",
    ),
    (0, "pad_token_id num_mtp_layers num_nextn_predict_layers num_kv_shared_layers"),
)
SIZES = {name: size for size, names in _NAMES for name in names.split()}
_TOKEN = re.compile(r"(_token_id|_token_index|_index|_token_offset|vocab_offset)$")
_TOKENS = {"bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1, "forced_eos_token_id": 2}


def tiny(name: str, default: Any) -> Any:
    """The tiny value of the field `name`; its `default` where nothing is known of it."""
    if name in SIZES:
        return SIZES[name] if default or name in _ALWAYS else default  # None and 0 switch a part off
    if name in _TOKENS:
        return _TOKENS[name]
    if _TOKEN.search(name) and isinstance(default, int) and default >= VOCABULARY:
        return VOCABULARY - 1
    return default


_ALWAYS = {
    *("pad_token_id", "head_dim", "num_key_value_heads", "max_position_embeddings"),
    *("ssm_state_size", "moe_intermediate_size", "num_experts_per_tok", "n_group", "topk_group"),
}
"""Fields that are set even where their default is None."""
