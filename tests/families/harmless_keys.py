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

HARMLESS_OF = {
    "BloomForCausalLM": {
        "n_inner": "no version of the class reads it",
        "offset_alibi": "no version of the class reads it",
        "slow_but_exact": RUNTIME,
    },
    "ChatGLMModel": {"padded_vocab_size": TOKENIZER},
    "CohereForCausalLM": {"use_qk_norm": NORMS},
    "DeepseekV2ForCausalLM": {"qk_head_dim": DERIVED},
    "DeepseekV3ForCausalLM": {
        "num_nextn_predict_layers": "the layers after the last are not written",
        "qk_head_dim": DERIVED,
    },
    "DeepseekV32ForCausalLM": {"qk_head_dim": DERIVED},
    "Exaone4ForCausalLM": {"sliding_window_pattern": LISTED},
    "FalconForCausalLM": {
        "max_position_embeddings": "llama.cpp's converter writes 2048",
        "num_ln_in_parallel_attn": NORMS,
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
    "Gemma4ForCausalLM": {
        "attention_k_eq_v": "the stored tensors say it",
        "vocab_size_per_layer_input": TOKENIZER,
    },
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
    "HunYuanDenseV1ForCausalLM": {
        "num_experts": "the class is dense",
        "rope_scaling.factor": "with alpha, it is not read",
    },
    "HunYuanMoEV1ForCausalLM": {
        "sep_token_id": TOKENIZER,
        "rope_scaling.factor": "with alpha, it is not read",
    },
    "InternLM2ForCausalLM": {"rope_scaling.factor": BEYOND},
    "KimiK25ForConditionalGeneration": {
        "num_nextn_predict_layers": "the layers after the last are not written",
        "qk_head_dim": DERIVED,
    },
    "LLaMAForCausalLM": {
        "max_sequence_length": "max_position_embeddings counts",
    },
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
    "MiMoV2FlashForCausalLM": {"attention_chunk_size": "the class does not read it"},
    "MiMoV2ForCausalLM": {"attention_chunk_size": "the class does not read it"},
    "MiniMaxM2ForCausalLM": {
        **dict.fromkeys(
            ["mtp_transformer_layers", "num_mtp_modules", "use_mtp"],
            "the layers after the last are not written",
        ),
        "shared_moe_mode": "for a shared expert, and there is none",
    },
    "Ministral3ForCausalLM": {"sliding_window": WINDOW},
    "Mistral3ForConditionalGeneration": {"sliding_window": WINDOW},
    "MistralForCausalLM": {"sliding_window": WINDOW},
    "MixtralForCausalLM": {"sliding_window": WINDOW},
    "QWenLMHeadModel": {
        "no_bias": "the stored tensors say it",
        "seq_length": "max_position_embeddings counts",
        "use_dynamic_ntk": BEYOND,
        "use_logn_attn": BEYOND,
    },
    "Qwen2ForCausalLM": WINDOWS,
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
    "Qwen3MoeForCausalLM": dict.fromkeys(
        ["sliding_window", "use_sliding_window"], WITH_WINDOW
    ),
    "Qwen3OmniMoeForConditionalGeneration": {"sliding_window": WITH_WINDOW},
    "Qwen3VLMoeForConditionalGeneration": {"sliding_window": WITH_WINDOW},
    "SmolLM3ForCausalLM": {
        "layer_types": WITH_WINDOW,
        "no_rope_layer_interval": "no_rope_layers counts",
        "sliding_window": WITH_WINDOW,
    },
    "StableLMEpochForCausalLM": {"qk_layernorm": NORMS},
    "StableLmForCausalLM": {"qk_layernorm": NORMS},
    "Starcoder2ForCausalLM": {"sliding_window": WINDOW},
}
"""Class -> key -> why it may be ignored."""
