"""Config keys whose value changes nothing that `convert` writes, with the reasons.

Every other key of the fixtures' configs is read or refused: test_config_coverage.py
changes each of them.  `pytest -m reference` checks that the fixtures' configs have all
keys that transformers' classes have.
"""

from __future__ import annotations

TRAINING = "for training only"
TOKENIZER = "the tokenizer's metadata is made from it"
TENSORS = "the stored tensors say it; check_biases compares them"
NORMS = "the stored norms say it"
RUNTIME = "how transformers runs the model, not what it computes"
LABEL = "a label"
DERIVED = "follows from other keys"
BEYOND = "changes only texts beyond the context, like llama.cpp's converter says"
WINDOW = "readers use full attention; the class's documentation says so"
WITH_WINDOW = "read with the other keys of windows; see test_config_keys.py"
HEAD = "a stored head counts, whatever the flag; without one, it is read"
IMAGES = "positions in images; in a text all are alike"
LISTED = "layer_types counts"
BY_TYPE = "the text model's model_type says it, too"

WINDOWS = dict.fromkeys(
    ["layer_types", "max_window_layers", "sliding_window", "use_sliding_window"],
    WITH_WINDOW,
)
GEMMA_3N = {
    "altup_coef_clip": TRAINING,
    "laurel_rank": "the stored tensors say it",
    "vocab_size_per_layer_input": "rows for further tokens are zeros",
}
MODALITIES = dict.fromkeys(
    [
        "image_token_id",
        "video_token_id",
        "vision_end_token_id",
        "vision_start_token_id",
    ],
    "where images enter; texts have none",
)
CLASSIFIER = "for a head of the model, which gives no embedding"
OF_BERT = {
    "attention_probs_dropout_prob": TRAINING,
    "hidden_dropout_prob": TRAINING,
    "type_vocab_size": "the stored embedding of types says it",
}
HARMLESS = {
    "attention_bias": TENSORS,
    "attention_dropout": TRAINING,
    "bias": TENSORS,
    "bos_token_id": TOKENIZER,
    "classifier_dropout": TRAINING,
    "dtype": "the stored tensors have a type",
    "embd_pdrop": TRAINING,
    "embedding_dropout": TRAINING,
    "eod_token_id": TOKENIZER,
    "eos_token_id": TOKENIZER,
    "hidden_dropout": TRAINING,
    "initializer_range": TRAINING,
    "mamba_ssm_dtype": RUNTIME,
    "mlp_bias": TENSORS,
    "model_type": LABEL,
    "output_router_logits": RUNTIME,
    "pad_token_id": TOKENIZER,
    "pretraining_tp": "the same product, cut into pieces",
    "resid_pdrop": TRAINING,
    "residual_dropout": TRAINING,
    "rope_parameters.mrope_interleaved": IMAGES,
    "rope_scaling.mrope_interleaved": IMAGES,
    "router_aux_loss_coef": TRAINING,
    "router_jitter_noise": TRAINING,
    "tie_word_embeddings": HEAD,
    "transformers_version": LABEL,
    "use_bias": TENSORS,
    "use_cache": RUNTIME,
    "vocab_size": TOKENIZER,
}
"""Key -> why it may be ignored, in all families."""

MODERN_BERT = {
    "classifier_activation": CLASSIFIER,
    "classifier_bias": CLASSIFIER,
    "cls_token_id": TOKENIZER,
    "decoder_bias": CLASSIFIER,
    "deterministic_flash_attn": RUNTIME,
    "initializer_cutoff_factor": TRAINING,
    "mlp_dropout": TRAINING,
    "sep_token_id": TOKENIZER,
    "sparse_pred_ignore_index": TRAINING,
    "sparse_prediction": RUNTIME,
}
T5 = {
    "classifier_dropout": TRAINING,
    "dense_act_fn": DERIVED,
    "dropout_rate": TRAINING,
    "initializer_factor": TRAINING,
    "is_decoder": "the class says it",
    "is_encoder_decoder": "the class says it",
    "is_gated_act": DERIVED,
}
T5_SCALES = {
    "scale_decoder_outputs": "readers do not scale them, so that probabilities differ",
}
QWEN4 = {
    "make_ngram_vocab_size_divisible_by": "the stored table says it",
    "ngram_vocab_size_base": "the stored constants say it",
    "number_of_conv_states": RUNTIME,
    "seed": "the stored constants say it",
}
STATES = {
    "rescale_prenorm_residual": TRAINING,
    "residual_in_fp32": RUNTIME,
    "time_step_floor": TRAINING,
    "time_step_init_scheme": TRAINING,
    "time_step_max": TRAINING,
    "time_step_min": TRAINING,
    "time_step_scale": TRAINING,
    "use_associative_scan": RUNTIME,
    "use_conv_bias": TENSORS,
    "use_mambapy": RUNTIME,
}
"""Those of Mamba and Falcon-Mamba."""

NEMOTRON = {
    "chunk_size": RUNTIME,
    "expand": "mamba_num_heads and mamba_head_dim count",
    "mamba_proj_bias": "the class reads use_bias",
    "mamba_ssm_cache_dtype": RUNTIME,
    "max_position_embeddings": "llama.cpp's converter writes 2^20",
    "moe_shared_expert_overlap": RUNTIME,
    "mtp_layers_block_type": "the stored tensors say it",
    "num_logits_to_keep": RUNTIME,
    "rescale_prenorm_residual": TRAINING,
    "residual_in_fp32": RUNTIME,
    "sliding_window": "the class does not read it",
    "time_step_floor": TRAINING,
    "time_step_limit": "the class reads time_step_min",
    "time_step_max": TRAINING,
    "use_conv_bias": TENSORS,
    "use_mamba_kernels": RUNTIME,
}
"""Those of Nemotron-H."""

OF_GPT_BIGCODE = {
    "attention_softmax_in_fp32": RUNTIME,
    "attn_pdrop": TRAINING,
    "scale_attention_softmax_in_fp32": RUNTIME,
}
"""Those of classes made from GPTBigCode's."""
OF_BAILING = {
    "max_window_layers": "there are no windows",
    "output_dropout": TRAINING,
}
OF_BAILING_2 = {
    **OF_BAILING,
    "moe_router_enable_expert_bias": TENSORS,
    "router_dtype": RUNTIME,
}
OF_DOTS_3 = {
    "apply_mla_qkv_lora_rescale": "multiplied into the norms",
    "head_dim": DERIVED,
    "swa_num_key_value_heads": "latent attention has as many as query heads",
}
OF_OCR = {
    **dict.fromkeys(
        ["candidate_resolutions", "global_view_pos", "tile_tag"], "how images are cut"
    ),
    **dict.fromkeys(
        ["kv_lora_rank", "q_lora_rank", "qk_nope_head_dim", "v_head_dim"],
        "of latent attention, which the model does not have",
    ),
    "lm_head": LABEL,
    "rm_head": LABEL,
}
"""Those of DeepSeek OCR."""
YOUTU = {"embedding_initializer_range": TRAINING, "qk_head_dim": DERIVED}
HARMLESS_OF = {
    **dict.fromkeys(("Dots3NoteForCausalLM", "Dots3NoteTextForCausalLM"), OF_DOTS_3),
    "AfmoeForCausalLM": {"global_attn_every_n_layers": LISTED},
    "BailingMoeForCausalLM": {
        **OF_BAILING,
        "sliding_window": "use_sliding_window is false",
    },
    "BailingMoeV2ForCausalLM": OF_BAILING_2,
    "BailingMoeV3ForCausalLM": {"mtp_loss_scaling_factor": TRAINING},
    "Dots1ForCausalLM": dict.fromkeys(["max_window_layers", "sliding_window"], LISTED),
    "PhiMoEForCausalLM": {"input_jitter_noise": TRAINING},
    "SarvamMoEForCausalLM": OF_BAILING_2,
    "ChameleonForConditionalGeneration": {
        "image_token_id": "where images enter; texts have none",
        "model_parallel_size": "the stored norms of heads say it",
    },
    "CodeShellForCausalLM": OF_GPT_BIGCODE,
    "DbrxForCausalLM": {
        "attn_config.attn_pdrop": TRAINING,
        "emb_pdrop": TRAINING,
        "ffn_config.moe_jitter_eps": TRAINING,
        "ffn_config.moe_loss_weight": TRAINING,
    },
    "Grok1ForCausalLM": {
        "global_attn_every_n": "without effect without a window",
        "residual_moe": TENSORS,
    },
    "GPTRefactForCausalLM": {
        **OF_GPT_BIGCODE,
        "attention_bias_in_fp32": RUNTIME,
        "do_sample": RUNTIME,
        "n_inner": "the class computes it",
    },
    "JAISLMHeadModel": {"attn_pdrop": TRAINING, "reorder_and_upcast_attn": RUNTIME},
    "MiniCPM3ForCausalLM": {"head_dim": DERIVED, "qk_head_dim": DERIVED},
    "OpenELMForCausalLM": dict.fromkeys(
        ["num_gqa_groups", "qkv_multipliers", "rope_max_length"], DERIVED
    ),
    **dict.fromkeys(
        (
            "BertForSequenceClassification",
            "BertModel",
            "JinaBertModel",
            "RobertaModel",
        ),
        OF_BERT,
    ),
    "XLMRobertaModel": OF_BERT
    | dict.fromkeys(
        ("lora_adaptations", "lora_alpha", "lora_rank"),
        "of adapters, which are left out",
    ),
    "DistilBertModel": {
        "dropout": TRAINING,
        "qa_dropout": TRAINING,
        "seq_classif_dropout": TRAINING,
    },
    "MT5ForConditionalGeneration": T5,
    "T5EncoderModel": T5
    | T5_SCALES
    | dict.fromkeys(
        ("decoder_start_token_id", "num_decoder_layers"),
        "read for models with a decoder",
    ),
    "T5ForConditionalGeneration": T5 | T5_SCALES,
    "UMT5Model": T5 | T5_SCALES,
    "NomicBertModel": {"type_vocab_size": OF_BERT["type_vocab_size"]},
    "Gemma3TextModel": {"_sliding_window_pattern": LISTED},
    "EuroBertModel": {"mask_token_id": TOKENIZER},
    "DFlash2DraftModel": WINDOWS,
    "DFlashDraftModel": {"max_window_layers": LISTED},
    "DSparkDraftModel": {**WINDOWS, "mask_token_id": TOKENIZER},
    "DSparkSpeculator": WINDOWS,
    "MuseGlimmerAssistantModel": {"mask_token_id": TOKENIZER},
    "Eagle3Speculator": {"architectures": "that of the whole config counts"},
    "ModernBertModel": MODERN_BERT,
    "ModernBertDecisionModel": MODERN_BERT
    | {"architectures": "the files beside it say it"},
    "BloomForCausalLM": {
        "n_inner": "no version of the class reads it",
        "offset_alibi": "no version of the class reads it",
        "slow_but_exact": RUNTIME,
    },
    "ChatGLMModel": {"padded_vocab_size": TOKENIZER},
    "Cohere2MoeForCausalLM": {
        "rope_theta": "rope_parameters counts",
        "sliding_window_pattern": LISTED,
    },
    "CohereForCausalLM": {"use_qk_norm": NORMS},
    "BambaForCausalLM": {
        "mamba_chunk_size": RUNTIME,
        "mamba_conv_bias": TENSORS,
        "mamba_proj_bias": TENSORS,
        "num_logits_to_keep": RUNTIME,
        "z_loss_coefficient": TRAINING,
    },
    "DeepseekV2ForCausalLM": {"qk_head_dim": DERIVED},
    "DeepseekV3ForCausalLM": {
        "num_nextn_predict_layers": "the layers after the last are not written",
        "qk_head_dim": DERIVED,
    },
    "DeepseekOCRForCausalLM": OF_OCR,
    "UnlimitedOCRForCausalLM": OF_OCR,
    "DeepseekV32ForCausalLM": {"qk_head_dim": DERIVED},
    "DeepseekV4DSparkModel": {
        **dict.fromkeys(
            ["compress_ratios", "num_hash_layers"],
            "the layers that draft compress no keys, and choose no experts by tokens",
        ),
        "dspark_noise_token_id": TOKENIZER,
        "expert_dtype": "the stored tensors have a type",
        "num_hidden_layers": "the stored layers that draft count",
        "num_nextn_predict_layers": "the stored layers that draft count",
    },
    "DeepseekV4ForCausalLM": {
        "expert_dtype": "the stored tensors have a type",
        "num_nextn_predict_layers": "the tensors of these layers are not written",
    },
    "Exaone4ForCausalLM": {"sliding_window_pattern": LISTED},
    "MellumForCausalLM": dict.fromkeys(
        ["mtp_layer_types", "mtp_mlp_layer_types", "num_nextn_predict_layers"],
        "layers that predict further tokens are refused",
    ),
    "ExaoneMoeForCausalLM": {"sliding_window_pattern": LISTED},
    "FalconH1ForCausalLM": {
        **dict.fromkeys(
            [
                "attention_in_multiplier",
                "attention_out_multiplier",
                "embedding_multiplier",
                "key_multiplier",
                "lm_head_multiplier",
                "ssm_in_multiplier",
                "ssm_out_multiplier",
            ],
            "multiplied into the matrices",
        ),
        "mamba_chunk_size": RUNTIME,
        "mamba_conv_bias": TENSORS,
        "mamba_expand": "mamba_d_ssm counts",
        "mamba_proj_bias": TENSORS,
        "num_logits_to_keep": RUNTIME,
        "projectors_bias": TENSORS,
    },
    "FalconForCausalLM": {
        "max_position_embeddings": "llama.cpp's converter writes 2048",
        "num_ln_in_parallel_attn": NORMS,
    },
    "FalconMambaForCausalLM": {
        **STATES,
        "mixer_rms_eps": "readers take layer_norm_epsilon; docs/convert.md",
    },
    "GPT2LMHeadModel": {
        "attn_pdrop": TRAINING,
        "reorder_and_upcast_attn": RUNTIME,
        **dict.fromkeys(
            [
                "summary_activation",
                "summary_first_dropout",
                "summary_proj_to_labels",
                "summary_type",
                "summary_use_proj",
            ],
            "for classification only",
        ),
    },
    "GPTNeoXForCausalLM": {"is_decoder": RUNTIME},
    "Gemma3ForCausalLM": {
        "_sliding_window_pattern": LISTED,
        "sliding_window_pattern": LISTED,
    },
    "Gemma3nForCausalLM": GEMMA_3N,
    "Gemma3nForConditionalGeneration": GEMMA_3N,
    "Glm4MoeForCausalLM": {"use_qk_norm": NORMS},
    "Glm4MoeLiteForCausalLM": {"qk_head_dim": DERIVED},
    "Gemma4AssistantForCausalLM": {
        "attention_k_eq_v": "assistants have no keys of their own",
        **dict.fromkeys(
            (
                "enable_moe_block",
                "moe_intermediate_size",
                "num_experts",
                "top_k_experts",
            ),
            "read together; the tensors of experts are refused",
        ),
        "vocab_size_per_layer_input": TOKENIZER,
    },
    "Gemma4DSparkModel": {
        **dict.fromkeys(
            ["head_dim", "num_key_value_heads"], "those of full attention count"
        ),
        "mask_token_id": TOKENIZER,
    },
    "Gemma4ForCausalLM": {
        "attention_k_eq_v": "the stored tensors say it",
        "vocab_size_per_layer_input": TOKENIZER,
    },
    "Glm5NextForConditionalGeneration": {
        **dict.fromkeys(
            [
                "linear_conv_kernel_dim",
                "linear_head_dim",
                "linear_lower_bound",
                "linear_num_heads",
            ],
            "linear_attn_config counts",
        ),
        "head_dim": "the class does not read it",
        "qk_head_dim": DERIVED,
    },
    "GlmMoeDsaForCausalLM": {"qk_head_dim": DERIVED},
    "Gemma4ForConditionalGeneration": {"vocab_size_per_layer_input": TOKENIZER},
    "Gemma4UnifiedForConditionalGeneration": {
        "moe_intermediate_size": "the class has no experts",
    },
    "GlmForCausalLM": {
        "max_position_embeddings": "llama.cpp's converter writes the hidden size",
    },
    "GptOssForCausalLM": {
        "hidden_act": "the class does not read it",
    },
    "GraniteMoeHybridForCausalLM": {
        "mamba_chunk_size": RUNTIME,
        "mamba_conv_bias": TENSORS,
        "mamba_proj_bias": TENSORS,
    },
    "HunYuanDenseV1ForCausalLM": {
        "num_experts": "the class is dense",
        "rope_scaling.factor": "with alpha, it is not read",
    },
    "HunYuanMoEV1ForCausalLM": {
        "sep_token_id": TOKENIZER,
        "rope_scaling.factor": "with alpha, it is not read",
    },
    "GPTBigCodeForCausalLM": {
        "attention_softmax_in_fp32": RUNTIME,
        "attn_pdrop": TRAINING,
        "num_key_value_heads": DERIVED,
        "scale_attention_softmax_in_fp32": RUNTIME,
    },
    "GraniteSwitchForCausalLM": {"num_experts_per_tok": "the model has no experts"},
    "HYV3ForCausalLM": {"enable_moe_fp32_combine": RUNTIME},
    "HYV4ForCausalLM": {
        "enable_lm_head_fp32": RUNTIME,
        "head_dim": "the sizes of latent attention count",
        "learnable_sink_init": TRAINING,
        "num_key_value_heads": "heads share one key, the latent vector",
        "num_nextn_predict_layers": "the layers after the last are not written",
        "qk_head_dim": "the sizes of its two parts count",
    },
    "InternLM3ForCausalLM": {"rope_scaling.factor": BEYOND},
    "OrionForCausalLM": {"max_position_embeddings": "max_sequence_length counts"},
    "InternLM2ForCausalLM": {"rope_scaling.factor": BEYOND},
    "JambaForCausalLM": {
        "expert_layer_offset": "the stored tensors say it",
        "expert_layer_period": "the stored tensors say it",
        "mamba_conv_bias": TENSORS,
        "mamba_proj_bias": TENSORS,
        "use_associative_scan": RUNTIME,
        "use_mamba_kernels": RUNTIME,
        "use_mambapy": RUNTIME,
    },
    "KimiK25ForConditionalGeneration": {
        "num_nextn_predict_layers": "the layers after the last are not written",
        "qk_head_dim": DERIVED,
    },
    "KimiVLForConditionalGeneration": {
        "num_nextn_predict_layers": "the layers after the last are not written",
        "qk_head_dim": DERIVED,
    },
    "YoutuForCausalLM": YOUTU,
    "YoutuVLForConditionalGeneration": YOUTU,
    "KimiLinearForCausalLM": {"use_grouped_topk": "there is one group"},
    "LLaMAForCausalLM": {
        "max_sequence_length": "max_position_embeddings counts",
    },
    "Llama4ForCausalLM": {"no_rope_layer_interval": "no_rope_layers counts"},
    "MPTForCausalLM": {
        "attn_config.attn_impl": RUNTIME,
        "attn_config.attn_pdrop": TRAINING,
        "attn_config.attn_uses_sequence_id": TRAINING,
        "attn_config.qk_ln": NORMS,
        "emb_pdrop": TRAINING,
        "embedding_fraction": TRAINING,
        "init_device": RUNTIME,
        "learned_pos_emb": "the stored tensors say it",
        "no_bias": "the stored tensors say it",
        **dict.fromkeys(
            [
                "attn_config._name_or_path",
                "attn_config.architectures",
                "attn_config.chunk_size_feed_forward",
                "attn_config.dtype",
                "attn_config.is_encoder_decoder",
                "attn_config.model_type",
                "attn_config.output_attentions",
                "attn_config.output_hidden_states",
                "attn_config.problem_type",
                "attn_config.return_dict",
            ],
            LABEL,
        ),
    },
    "Mamba2ForCausalLM": {
        "chunk_size": RUNTIME,
        "rescale_prenorm_residual": TRAINING,
        "residual_in_fp32": RUNTIME,
        "time_step_floor": TRAINING,
        "time_step_max": TRAINING,
        "time_step_min": TRAINING,
        "time_step_rank": "num_heads counts",
        "use_conv_bias": TENSORS,
    },
    "MambaForCausalLM": STATES,
    "MambaLMHeadModel": {
        "fused_add_norm": RUNTIME,
        "pad_vocab_size_multiple": TOKENIZER,
        "residual_in_fp32": RUNTIME,
    },
    "MiMoV2FlashForCausalLM": {"attention_chunk_size": "the class does not read it"},
    "MiMoV2ForCausalLM": {"attention_chunk_size": "the class does not read it"},
    "MiniMaxText01ForCausalLM": {
        "shared_moe_mode": "for a shared expert, and there is none",
    },
    "MiniMaxM2ForCausalLM": {
        **dict.fromkeys(
            ["mtp_transformer_layers", "num_mtp_modules", "use_mtp"],
            "the layers after the last are not written",
        ),
        "shared_moe_mode": "for a shared expert, and there is none",
    },
    "Ministral3ForCausalLM": {"sliding_window": WINDOW},
    "Mistral3ForConditionalGeneration": {
        "qk_head_dim": DERIVED,
        "sliding_window": WINDOW,
    },
    "MistralForCausalLM": {"sliding_window": WINDOW},
    "MixtralForCausalLM": {"sliding_window": WINDOW},
    "NemotronHForCausalLM": NEMOTRON,
    "NemotronHPuzzleForCausalLM": {
        **{k: v for k, v in NEMOTRON.items() if k != "mtp_layers_block_type"},
        "intermediate_size": "of layers that these models do not have",
        "num_nextn_predict_layers": "these layers are left out",
    },
    "QWenLMHeadModel": {
        "no_bias": "the stored tensors say it",
        "seq_length": "max_position_embeddings counts",
        "use_dynamic_ntk": BEYOND,
        "use_logn_attn": BEYOND,
    },
    "Qwen2AudioForConditionalGeneration": WINDOWS,
    "Qwen2ForCausalLM": WINDOWS,
    "Qwen2Model": WINDOWS,
    "Qwen2MoeForCausalLM": WINDOWS,
    "Qwen2VLForConditionalGeneration": {
        **dict.fromkeys(
            ["max_window_layers", "sliding_window", "use_sliding_window"], WITH_WINDOW
        ),
        **MODALITIES,
    },
    "Qwen2_5OmniModel": WINDOWS,
    "Qwen2_5_VLForConditionalGeneration": WINDOWS,
    "Qwen3ForCausalLM": WINDOWS,
    "Qwen3Model": WINDOWS,
    "Qwen3MoeForCausalLM": dict.fromkeys(
        ["sliding_window", "use_sliding_window"], WITH_WINDOW
    ),
    "Qwen4ExpForCausalLM": QWEN4,
    "Qwen4ExpForConditionalGeneration": QWEN4,
    "Qwen3OmniMoeForConditionalGeneration": {"sliding_window": WITH_WINDOW},
    "Qwen3VLMoeForConditionalGeneration": {"sliding_window": WITH_WINDOW},
    "DreamModel": {**WINDOWS, "mask_token_id": TOKENIZER},
    "RND1": {
        **dict.fromkeys(["sliding_window", "use_sliding_window"], WITH_WINDOW),
        "mask_token_id": TOKENIZER,
    },
    "Lfm2BidirectionalForMaskedLM": {"full_attn_idxs": LISTED},
    "Lfm2BidirectionalModel": {"full_attn_idxs": LISTED},
    "Lfm2Model": {"full_attn_idxs": LISTED},
    "HrmTextForCausalLM": {
        "L_bp_cycles": TRAINING,
        "num_hidden_layers": "num_layers_per_stack and the cycles count",
    },
    "LLaDAModelLM": {
        "embedding_size": TENSORS,
        "mask_token_id": TOKENIZER,
        "weight_tying": HEAD,
    },
    "Qwen3ASRForConditionalGeneration": WINDOWS,
    "HunYuanVLForConditionalGeneration": {"sep_token_id": TOKENIZER},
    "Exaone4_5_ForConditionalGeneration": {
        "layer_types": WITH_WINDOW,
        "sliding_window_pattern": LISTED,
    },
    "Plamo2ForCausalLM": {"attention_window_size": WINDOW},
    "RWKV7ForCausalLM": {
        "attn_mode": RUNTIME,
        "fuse_norm": RUNTIME,
        "hidden_ratio": "intermediate_size counts, or 4 times the width",
        "value_dim": TENSORS,
    },
    "SmolVLMForConditionalGeneration": {"architectures": BY_TYPE},
    "Lfm2VlForConditionalGeneration": {
        "architectures": BY_TYPE,
        "full_attn_idxs": LISTED,
    },
    "RuGPT3XLForCausalLM": {
        "sparse_mode": "readers use full attention; `convert` says so",
    },
    "Rwkv6ForCausalLM": {"model_version": LABEL},
    "SmolLM3ForCausalLM": {
        "layer_types": WITH_WINDOW,
        "no_rope_layer_interval": "no_rope_layers counts",
        "sliding_window": WITH_WINDOW,
    },
    "Step3p5ForCausalLM": {"need_fp32_gate": RUNTIME},
    "Step3p7ForConditionalGeneration": {"need_fp32_gate": RUNTIME},
    "StepVLForConditionalGeneration": WINDOWS,
    "StableLMEpochForCausalLM": {"qk_layernorm": NORMS},
    "StableLmForCausalLM": {"qk_layernorm": NORMS},
    "LlavaStableLMEpochForCausalLM": {"qk_layernorm": NORMS},
    "DotsOCRForCausalLM": WINDOWS,
    "AudioFlamingo3ForConditionalGeneration": WINDOWS,
    "Starcoder2ForCausalLM": {"sliding_window": WINDOW},
}
"""Class -> key -> why it may be ignored."""
