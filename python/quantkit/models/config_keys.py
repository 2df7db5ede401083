"""The keys of config.json that quantkit reads: the types and ranges of their values.

Source: the annotations of transformers' config classes.
"""

from __future__ import annotations

from ..settings import (
    COUNT,
    FLAG,
    OBJECT,
    SIZE,
    TEXT,
    Kind,
    either,
    integer,
    list_of,
    number,
)
from .config_kinds import (
    BASE,
    BINARY,
    BITS,
    EPSILON,
    EPSILON_OF_1,
    EXPERTS,
    FINITE,
    LAYERS,
    LAYERS_OR_NONE,
    LIMITS,
    MAX_EXPERTS,
    MAX_F32,
    MAX_LAYERS,
    POSITIVE,
    SHARE,
    TOKEN,
)

__all__ = ["INSIDE", "KINDS", "ROPE_KINDS"]


def _each(kind: Kind, keys: str) -> dict[str, Kind]:
    return dict.fromkeys(keys.split(), kind)


def _together(*tables: dict[str, Kind]) -> dict[str, Kind]:
    """The tables as one; no key is in two of them."""
    found: dict[str, Kind] = {}
    for table in tables:
        assert not found.keys() & table.keys(), found.keys() & table.keys()
        found |= table
    return found


ROPE_KINDS = {
    **_each(TEXT, "rope_type type"),
    **_each(BASE, "rope_theta"),
    **_each(SHARE, "partial_rotary_factor"),
    **_each(SIZE, "original_max_position_embeddings"),
    **_each(POSITIVE, "factor alpha attention_factor attn_factor"),
    **_each(POSITIVE, "beta_fast beta_slow low_freq_factor high_freq_factor"),
    **_each(FINITE, "extrapolation_factor"),
    **_each(number(0, MAX_F32), "mscale mscale_all_dim llama_4_scaling_beta"),
    **_each(list_of(POSITIVE), "short_factor long_factor"),
    **_each(POSITIVE, "short_mscale long_mscale"),
    **_each(list_of(COUNT), "mrope_section xdrope_section"),
    **_each(FLAG, "truncate mrope_interleaved"),
}
"""Keys inside `rope_parameters` and `rope_scaling`."""

MPT_KINDS = {
    **_each(SIZE, "kv_n_heads"),
    **_each(FLAG, "alibi prefix_lm qk_ln qk_gn rope attn_uses_sequence_id"),
    **_each(POSITIVE, "alibi_bias_max clip_qkv softmax_scale"),
    **_each(TEXT, "attn_type"),
    **_each(BASE, "rope_theta"),
    **_each(integer(-1), "sliding_window_size"),
}
"""Keys inside the `attn_config` of MPT and DBRX."""

DBRX_KINDS = {
    **_each(SIZE, "ffn_hidden_size moe_top_k"),
    **_each(EXPERTS, "moe_num_experts"),
    **_each(POSITIVE, "moe_normalize_expert_weights"),
    **_each(OBJECT, "ffn_act_fn"),
}
"""Keys inside DBRX's `ffn_config`."""

OTHER_ATTENTION_KINDS = {
    **_each(SIZE, "num_attention_heads num_attention_groups head_dim true_head_dim"),
    **_each(TEXT, "attention_type"),
}
"""Keys inside `attention_other_setting`."""

SPARSE_ATTENTION_KINDS = {
    **_each(SIZE, "sparse_num_index_heads sparse_index_dim sparse_topk_blocks"),
    **_each(SIZE, "sparse_block_size"),
    **_each(COUNT, "sparse_local_block"),
    **_each(BINARY, "sparse_attention_freq"),
    **_each(FLAG, "use_sparse_attention"),
}
"""Keys inside `sparse_attention_config`."""

LINEAR_KINDS = {
    **_each(list_of(SIZE), "full_attn_layers kda_layers"),
    **_each(SIZE, "head_dim num_heads short_conv_kernel_size"),
    **_each(number(-MAX_F32, 0), "gate_lower_bound"),
    **_each(FLAG, "safe_gate"),
}
"""Keys inside `linear_attn_config`."""
DRAFT_KINDS = {
    **_each(SIZE, "block_size conv_kernel_size conv_group_size"),
    **_each(SIZE, "selector_rank selector_top_k swa_window_size"),
    **_each(COUNT, "mask_token_id"),
    **_each(list_of(COUNT), "target_layer_ids"),
    **_each(FLAG, "use_swa causal"),
    **_each(POSITIVE, "attention_value_scale output_multiplier input_embedding_scale"),
    **_each(number(0, MAX_F32), "final_logit_softcapping"),
    **_each(TEXT, "markov_head_type"),
}
"""Keys inside `dflash_config`."""
VISION_KINDS = {
    **_each(list_of(COUNT), "deepstack_visual_indexes"),
}
"""Keys inside `vision_config` that the text model's metadata needs."""

KINDS = _together(
    _each(list_of(TEXT), "architectures layer_types mlp_layer_types indexer_types"),
    _each(LAYERS, "num_hidden_layers n_layer n_layers num_layers"),
    _each(SIZE, "hidden_size n_embd n_embed dim d_model dim_model_base"),
    _each(SIZE, "num_attention_heads n_head n_heads"),
    _each(SIZE, "num_key_value_heads n_kv_heads n_head_kv"),
    _each(either(SIZE, list_of(SIZE)), "num_kv_heads"),
    _each(SIZE, "multi_query_group_num kv_channels rotary_dim"),
    _each(SIZE, "global_head_dim num_global_key_value_heads backbone_hidden_size"),
    _each(COUNT, "hidden_size_per_layer_input num_kv_shared_layers"),
    _each(COUNT, "vocab_size_per_layer_input"),
    _each(SIZE, "kv_lora_rank q_lora_rank"),
    _each(COUNT, "qk_nope_head_dim qk_rope_head_dim v_head_dim"),
    _each(COUNT, "head_dim"),  # 0 in Glm5Next
    _each(either(SIZE, list_of(SIZE)), "intermediate_size"),
    _each(SIZE, "n_inner ffn_hidden_size hidden_dim"),
    _each(SIZE, "altup_num_inputs laurel_rank"),
    _each(COUNT, "altup_active_idx"),
    _each(FLAG, "altup_correct_scale"),
    _each(list_of(number(0, 1 - EPSILON_OF_1)), "activation_sparsity_pattern"),
    _each(SIZE, "index_n_heads index_head_dim index_topk index_kpool"),
    _each(COUNT, "index_topk_freq index_skip_topk_offset"),
    _each(either(TEXT, list_of(TEXT)), "index_topk_pattern"),
    _each(SIZE, "o_groups o_lora_rank hc_mult hc_sinkhorn_iters"),
    _each(list_of(COUNT), "compress_ratios"),
    _each(COUNT, "num_hash_layers compress_rate_csa compress_rate_hca"),
    _each(OBJECT, "compress_rates"),
    _each(EPSILON, "hc_eps"),
    _each(BASE, "compress_rope_theta"),
    _each(SIZE, "prefix_dense_intermediate_size dense_intermediate_size"),
    _each(SIZE, "linear_conv_kernel_dim linear_key_head_dim linear_value_head_dim"),
    _each(SIZE, "linear_num_key_heads linear_num_value_heads"),
    _each(SIZE, "full_attention_interval"),
    _each(SIZE, "hc_count hc_lowrank ple_embed_dim ple_conv_kernel_size"),
    _each(SIZE, "ngram_size heads_per_ngram split_ngram_parts"),
    _each(SIZE, "indexer_n_heads indexer_kv_heads indexer_head_dim"),
    _each(SIZE, "indexer_budget indexer_compress_ratio"),
    _each(SIZE, "mamba_num_heads mamba_head_dim n_groups ssm_state_size"),
    _each(SIZE, "mamba_n_heads mamba_n_groups mamba_d_state mamba_d_conv"),
    _each(SIZE, "mamba_expand mamba_d_ssm expand state_size num_heads d_inner"),
    _each(either(SIZE, TEXT), "time_step_rank mamba_dt_rank"),
    _each(SIZE, "pad_vocab_size_multiple expert_layer_period attn_layer_period"),
    _each(COUNT, "expert_layer_offset attn_layer_offset"),
    _each(FLAG, "rms_norm"),
    _each(list_of(FINITE), "mlp_multipliers ssm_multipliers"),
    _each(FINITE, "key_multiplier attention_out_multiplier lm_head_multiplier"),
    _each(FINITE, "attention_in_multiplier ssm_in_multiplier ssm_out_multiplier"),
    _each(FLAG, "mamba_rms_norm mamba_norm_before_gate"),
    _each(either(SIZE, TEXT), "mamba_d_head"),
    _each(COUNT, "shared_intermediate_size"),
    _each(TEXT, "position_embedding_type"),
    _each(SIZE, "conv_L_cache block_multiple_of block_ff_dim"),
    _each(POSITIVE, "block_ffn_dim_multiplier"),
    _each(FLAG, "block_auto_adjust_ff_dim tie_embedding conv_bias use_expert_bias"),
    _each(COUNT, "num_dense_layers"),
    _each(list_of(COUNT), "full_attn_idxs"),
    _each(SIZE, "conv_kernel moe_latent_size attention_head_dim"),
    _each(SIZE, "moe_shared_expert_intermediate_size"),
    _each(list_of(TEXT), "layers_block_type"),
    _each(list_of(OBJECT), "block_configs"),
    _each(TEXT, "hybrid_override_pattern mlp_hidden_act mamba_hidden_act"),
    _each(FINITE, "time_step_min"),
    _each(SIZE, "shared_expert_intermediate_size"),
    _each(either(SIZE, list_of(SIZE)), "moe_intermediate_size"),
    _each(either(EXPERTS, list_of(EXPERTS)), "moe_topk num_shared_expert"),
    _each(EXPERTS, "moe_k moe_num_experts moe_num_shared_experts"),
    _each(COUNT, "moe_layer_start_index moe_layer_interval moe_layer_num_skipped"),
    _each(integer(-1, MAX_LAYERS), "moe_layer_end_index"),
    _each(SIZE, "vocab_size padded_vocab_size"),
    _each(SIZE, "local_attention global_attn_every_n_layers"),
    _each(COUNT, "moe_every_n_layers max_trained_positions"),
    _each(TEXT, "classifier_pooling feed_forward_type"),
    _each(OBJECT, "id2label"),
    _each(list_of(TEXT), "lora_adaptations"),
    _each(FLAG, "is_decoder sinusoidal_pos_embds prenorm norm_bias rope"),
    _each(SIZE, "max_position_embeddings n_ctx n_positions max_length seq_length"),
    _each(SIZE, "max_sequence_length model_max_length max_seq_len"),
    _each(SIZE, "original_max_position_embeddings no_rope_layer_interval"),
    _each(number(above=0, most=MAX_F32), "expansion_ratio"),
    _each(EXPERTS, "num_local_experts num_experts n_routed_experts"),
    _each(EXPERTS, "num_experts_per_tok num_experts_per_token top_k_experts"),
    _each(EXPERTS, "n_shared_experts num_shared_experts n_group topk_group"),
    _each(COUNT, "first_last_k_dense_replace"),
    _each(COUNT, "first_k_dense_replace max_window_layers sliding_window"),
    _each(COUNT, "interleave_moe_layer_step"),
    _each(SIZE, "intermediate_size_mlp attention_chunk_size"),
    _each(POSITIVE, "attn_scale floor_scale"),
    _each(FLAG, "attn_temperature_tuning"),
    _each(COUNT, "decoder_sparse_step"),
    _each(integer(0, 2), "num_ln_in_parallel_attn"),
    _each(either(COUNT, TEXT), "sliding_window_pattern"),
    _each(either(COUNT, BINARY), "moe_layer_freq"),
    _each(BINARY, "hybrid_layer_pattern"),
    _each(SIZE, "swa_head_dim swa_num_attention_heads swa_num_key_value_heads"),
    _each(SIZE, "swa_v_head_dim"),
    _each(POSITIVE, "attention_value_scale"),
    _each(FLAG, "add_full_attention_sink_bias add_swa_attention_sink_bias"),
    _each(LAYERS_OR_NONE, "mtp_num_hidden_layers num_nextn_predict_layers"),
    _each(list_of(COUNT), "mlp_only_layers attn_type_list ple_layer_ids"),
    _each(COUNT, "image_token_id"),
    _each(list_of(number(0, MAX_F32)), "layer_rope_theta"),
    _each(SIZE, "prefix_dense_sliding_window_pattern"),
    _each(SIZE, "linear_head_dim linear_num_heads"),
    _each(number(-MAX_F32, 0), "linear_lower_bound"),
    _each(EXPERTS, "num_expert_group"),
    _each(FLAG, "moe_renormalize mla_use_nope mhc index_kpool_always_select_tail"),
    _each(list_of(COUNT), "moe_layers"),
    _each(BITS, "no_rope_layers"),
    _each(EPSILON, "rms_norm_eps norm_eps layer_norm_eps layer_norm_epsilon"),
    _each(EPSILON, "norm_epsilon layernorm_epsilon post_norm_eps"),
    _each(either(BASE, list_of(BASE)), "rope_theta"),
    _each(BASE, "global_rope_theta rope_global_theta rope_theta_global"),
    _each(EPSILON, "moe_norm_min"),
    _each(BASE, "rotary_emb_base local_rope_theta rope_local_theta"),
    _each(BASE, "rope_theta_local swa_rope_theta rope_local_base_freq"),
    _each(POSITIVE, "rope_ratio"),
    _each(SHARE, "partial_rotary_factor rope_pct rope_percent rotary_pct"),
    _each(POSITIVE, "attention_multiplier embedding_multiplier"),
    _each(POSITIVE, "residual_multiplier logits_scaling scale_emb scale_depth"),
    _each(either(FINITE, TEXT), "logit_scale"),
    _each(POSITIVE, "attn_logit_softcapping final_logit_softcapping"),
    _each(POSITIVE, "query_pre_attn_scalar clip_qkv routed_scaling_factor"),
    _each(POSITIVE, "swiglu_alpha swiglu_limit output_multiplier qk_scale_factor"),
    _each(POSITIVE, "hc_magnitude"),
    _each(FLAG, "enable_lm_head_fp32"),
    _each(TEXT, "hidden_act hidden_activation activation_function activation"),
    _each(TEXT, "output_gate_type"),
    _each(TEXT, "score_function scoring_func score_func topk_method"),
    _each(TEXT, "shared_expert_combination_strategy"),
    _each(TEXT, "moe_router_activation moe_router_activation_func"),
    _each(TEXT, "expert_selection_fn norm_type model_type qk_norm_type"),
    _each(FLAG, "tie_word_embeddings is_causal use_sliding_window norm_topk_prob"),
    _each(either(FLAG, TEXT), "use_bidirectional_attention"),
    _each(FLAG, "use_qk_norm qk_layernorm attention_k_eq_v enable_moe_block"),
    _each(FLAG, "use_double_wide_mlp"),
    _each(FLAG, "use_parallel_residual parallel_attn alibi multi_query"),
    _each(FLAG, "new_decoder_architecture rmsnorm post_layer_norm"),
    _each(FLAG, "apply_residual_connection_post_layernorm rope_interleave"),
    _each(FLAG, "attention_bias mlp_bias use_bias bias qkv_bias use_qkv_bias"),
    _each(FLAG, "use_routing_bias attention_out_bias use_mixed_mlp_moe"),
    _each(FLAG, "scale_attn_weights scale_attn_by_inverse_layer_idx"),
    _each(FLAG, "add_cross_attention no_bias learned_pos_emb use_mrope"),
    # AFMoE
    _each(POSITIVE, "route_scale"),
    _each(FLAG, "mup_enabled"),
    # Bailing
    _each(FLAG, "norm_head norm_softmax use_rmsnorm multi_gate"),
    _each(SIZE, "layer_group_size short_conv_kernel_size"),
    _each(list_of(COUNT), "mrope_section"),
    _each(number(-MAX_F32, 0), "kda_lower_bound"),
    _each(FLAG, "no_kda_lora kda_safe_gate"),
    _each(TEXT, "gated_attention_proj_granularity_type"),
    _each(LIMITS, "expert_swiglu_limit_list share_expert_swiglu_limit_list"),
    # Laguna
    _each(list_of(SIZE), "num_attention_heads_per_layer"),
    _each(list_of(TEXT), "gating_types"),
    _each(either(FLAG, TEXT), "gating"),
    _each(POSITIVE, "moe_routed_scaling_factor"),
    _each(number(0, MAX_F32), "moe_router_logit_softcapping"),
    _each(FLAG, "moe_apply_router_weight_on_input"),
    # Phi 3.5 MoE
    _each(number(0, 1), "router_jitter_noise"),
    _each(FLAG, "lm_head_bias"),
    # T5
    _each(SIZE, "d_kv d_ff relative_attention_max_distance"),
    _each(integer(4, 254), "relative_attention_num_buckets"),
    _each(LAYERS, "num_decoder_layers"),
    _each(TEXT, "feed_forward_proj"),
    _each(COUNT, "decoder_start_token_id"),
    # draft models
    _each(SIZE, "draft_vocab_size target_hidden_size block_size"),
    _each(COUNT, "mask_token_id"),
    _each(FLAG, "norm_before_residual norm_before_fc sample_from_anchor"),
    _each(FLAG, "has_embed_tokens rope_is_neox_style"),
    _each(list_of(COUNT), "eagle_aux_hidden_state_layer_ids target_layer_ids"),
    _each(list_of(COUNT), "aux_hidden_state_layer_ids"),
    _each(POSITIVE, "input_embedding_scale"),
    _each(TEXT, "markov_head_type"),
    _each(OBJECT, "dflash_config transformer_layer_config"),
    _each(SIZE, "dspark_block_size"),
    _each(COUNT, "dspark_noise_token_id"),
    _each(list_of(COUNT), "dspark_target_layer_ids"),
    # DeciLM
    _each(list_of(SIZE), "num_key_value_heads_per_layer"),
    # EXAONE 4.5
    _each(FLAG, "mtp_share_layers"),
    # SmallThinker
    _each(SIZE, "moe_num_active_primary_experts moe_ffn_hidden_size"),
    _each(integer(1, MAX_EXPERTS), "moe_num_primary_experts"),
    _each(FLAG, "moe_enable_early_router moe_enable_secondary_experts"),
    _each(FLAG, "moe_primary_router_apply_softmax"),
    _each(BINARY, "moe_layer_layout rope_layout sliding_window_layout"),
    _each(integer(-1), "sliding_window_size"),
    # Arctic
    _each(COUNT, "moe_layer_frequency"),
    _each(FLAG, "parallel_attn_mlp_res use_residual"),
    _each(list_of(COUNT), "enc_index"),
    # dots 3 note
    _each(SIZE, "swa_kv_lora_rank swa_q_lora_rank"),
    _each(SIZE, "swa_qk_nope_head_dim swa_qk_rope_head_dim"),
    _each(TEXT, "attention_gate_type swa_attention_gate_type"),
    _each(TEXT, "normalization final_norm"),
    _each(FLAG, "apply_mla_qkv_lora_rescale k_rope_only_layernorm use_dsa"),
    _each(FLAG, "use_dynamic_rsf moe_gating_fp32"),
    # Hunyuan 3
    _each(POSITIVE, "router_scaling_factor"),
    _each(FLAG, "route_norm moe_router_enable_expert_bias moe_router_use_sigmoid"),
    _each(FLAG, "qk_norm"),
    # Chameleon
    _each(FLAG, "swin_norm"),
    # Mistral's own format
    _each(POSITIVE, "llama_4_scaling_beta"),
    # LFM2.5's and WavTokenizer's makers of sound
    _each(SIZE, "output_size n_embd_features n_ff group_norm_groups"),
    _each(EPSILON, "group_norm_epsilon"),
    _each(OBJECT, "posnet convnext"),
    # ruGPT-3 XL
    _each(TEXT, "sparse_mode"),
    # HRM-Text
    _each(LAYERS, "H_cycles L_cycles num_layers_per_stack"),
    _each(POSITIVE, "embedding_scale initializer_range"),
    _each(FLAG, "prefix_lm"),
    # LLaDA
    _each(SIZE, "mlp_hidden_size expert_intermediate_size"),
    _each(TEXT, "activation_type block_type layer_norm_type"),
    _each(FLAG, "rope_full_precision attention_layer_norm include_bias"),
    _each(FLAG, "include_qkv_bias input_emb_norm scale_logits"),
    # Maple
    _each(FLAG, "nope_on_global_attention"),
    # Nanbeige
    _each(LAYERS_OR_NONE, "num_loops"),
    _each(FLAG, "skip_loop_final_norm"),
    # Kimi K3
    _each(SIZE, "routed_expert_hidden_size attn_res_block_size"),
    _each(POSITIVE, "activation_situ_beta"),
    _each(FINITE, "activation_situ_linear_beta"),
    # MiniMax-Text-01
    _each(POSITIVE, "layernorm_full_attention_alpha layernorm_mlp_alpha"),
    _each(POSITIVE, "layernorm_linear_attention_alpha layernorm_mlp_beta"),
    _each(POSITIVE, "layernorm_full_attention_beta layernorm_linear_attention_beta"),
    _each(FLAG, "postnorm"),
    # MiniMax M3
    _each(SIZE, "index_block_size index_topk_blocks"),
    _each(COUNT, "index_local_blocks"),
    _each(FLAG, "use_gemma_norm"),
    _each(OBJECT, "sparse_attention_config"),
    # PLaMo
    _each(SIZE, "n_shared_head hidden_size_per_head mamba_step"),
    _each(SIZE, "initial_context_length"),
    _each(POSITIVE, "rope_scaling_factor"),
    _each(COUNT, "attention_window_size window_size"),
    _each(FLAG, "mamba_enabled"),
    # RWKV
    _each(SIZE, "head_size head_size_divisor attention_hidden_size"),
    _each(SIZE, "decay_low_rank_dim a_low_rank_dim v_low_rank_dim gate_low_rank_dim"),
    _each(SIZE, "lora_rank_decay lora_rank_iclr lora_rank_value_residual_mix"),
    _each(SIZE, "lora_rank_gate lora_rank_tokenshift"),
    _each(COUNT, "rescale_every wkv_version"),
    _each(FLAG, "norm_first wkv_has_gate"),
    # OpenELM
    _each(LAYERS, "num_transformer_layers"),
    _each(SIZE, "model_dim max_context_length ffn_dim_divisor"),
    _each(list_of(SIZE), "num_query_heads"),
    _each(list_of(POSITIVE), "ffn_multipliers"),
    _each(BASE, "rope_freq_constant"),
    _each(TEXT, "activation_fn_name normalization_layer_name"),
    _each(FLAG, "ffn_with_glu normalize_qk_projections share_input_output_layers"),
    # BitNet
    _each(SIZE, "input_bits weight_bits"),
    # CodeShell
    _each(SIZE, "num_query_groups"),
    _each(FLAG, "group_query_attention"),
    # Jais
    _each(FINITE, "mup_embeddings_scale embeddings_scale width_scale"),
    _each(FINITE, "mup_output_alpha mup_width_scale"),
    _each(FLAG, "mup_scale_qk_dot_by_d scale_qk_dot_by_d"),
    _each(OBJECT, "alibi_scaling"),
    # Spark X2.5
    _each(TEXT, "gate_attn_act_mode"),
    _each(FLAG, "headwise_attn_output_gate"),
    # DeepSeek OCR
    _each(FLAG, "use_mla"),
    # Grok
    _each(FINITE, "attn_output_multiplier embedding_multiplier_scale"),
    _each(FINITE, "output_multiplier_scale extrapolation_factor"),
    _each(POSITIVE, "router_logit_softcapping scaling_factor attn_factor"),
    _each(POSITIVE, "beta_fast beta_slow"),
    _each(COUNT, "attn_temperature_len"),
    _each(TEXT, "rope_type"),
    # Granite Switch
    _each(SIZE, "num_adapters max_lora_rank projection_head_dim"),
    _each(list_of(COUNT), "adapter_token_ids adapter_substitute_token_ids"),
    _each(POSITIVE, "control_token_gain"),
    # Bamba
    _each(list_of(COUNT), "attn_layer_indices"),
    _each(SIZE, "attn_rotary_emb"),
    # Step 3.5
    _each(SIZE, "num_attention_groups moe_top_k share_expert_dim"),
    _each(POSITIVE, "moe_router_scaling_factor"),
    _each(FLAG, "norm_expert_weight use_head_wise_attn_gate use_mfa use_moe"),
    _each(FLAG, "use_moe_router_bias zero_centered"),
    _each(COUNT, "moe_every_n_layer moe_layer_offset"),
    _each(TEXT, "att_impl_type moe_layers_enum"),
    _each(list_of(TEXT), "yarn_only_types"),
    _each(list_of(COUNT), "use_rope_layers"),
    _each(list_of(SHARE), "partial_rotary_factors"),
    _each(LIMITS, "swiglu_limits swiglu_limits_shared"),
    _each(OBJECT, "attention_other_setting"),
    _each(FLAG, "attn_output_gate mtp_use_dedicated_embeddings"),
    _each(either(TOKEN, list_of(TOKEN)), "bos_token_id eos_token_id pad_token_id"),
    _each(OBJECT, "rope_parameters rope_scaling attn_config linear_attn_config"),
    _each(OBJECT, "ffn_config"),
    _each(OBJECT, "text_config vision_config quantization_config per_layer_config"),
)
"""Key -> what its value may be; null means that the key has no value."""

INSIDE = {
    "attention_other_setting": OTHER_ATTENTION_KINDS,
    "attn_config": MPT_KINDS,
    "ffn_config": DBRX_KINDS,
    "dflash_config": DRAFT_KINDS,
    "linear_attn_config": LINEAR_KINDS,
    "sparse_attention_config": SPARSE_ATTENTION_KINDS,
    "rope_parameters": ROPE_KINDS,
    "rope_scaling": ROPE_KINDS,
    "vision_config": VISION_KINDS,
}
"""Key -> the keys inside its value."""
