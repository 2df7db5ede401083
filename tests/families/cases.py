"""One small model for each thing that a family can get wrong; see case.py."""

from __future__ import annotations

from .alias_cases import ALIASES
from .case import SIZES, YARN, Case
from .chameleon_cases import CHAMELEONS
from .cohere_cases import COHERES
from .deepseek_cases import DEEPSEEKS
from .deepseek_v4_cases import DEEPSEEK_V4S
from .draft_cases import DRAFTS
from .encoder_cases import ENCODERS
from .falcon_h1_cases import FALCON_H1S
from .gemma4_cases import GEMMA_4S
from .gemma_cases import GEMMAS
from .glm5_cases import GLM_5S
from .glm_cases import GLMS
from .glm_moe_cases import GLM_MOES
from .gpt_cases import GPTS
from .granite_cases import GRANITES
from .grok_cases import GROKS
from .hy_v4_cases import HY_V4S
from .kimi_cases import KIMIS
from .later_cases import LATERS
from .lesser_cases import LESSERS
from .lfm2_cases import LFM2S
from .llama4_cases import LLAMA4S
from .llama_cases import LLAMA_RELATIVES
from .llama_twins import old_style
from .mamba_cases import MAMBAS
from .mimo_cases import MIMOS
from .minimax_cases import MINIMAXES
from .mistral_cases import MISTRALS
from .mistral_native_cases import MISTRAL_NATIVES
from .moe_cases import MOES
from .muse_cases import MUSES
from .nested_cases import NESTED
from .older_cases import OLDERS
from .olmo_cases import OLMOS
from .phi_cases import PHIS
from .plamo_cases import PLAMOS
from .qwen_cases import QWEN_HYBRIDS
from .qwen_vl_cases import QWEN_VLS
from .routed_cases import ROUTED
from .rwkv_cases import RWKVS
from .sound_cases import SOUNDS
from .stablelm_cases import STABLELMS
from .step_cases import STEPS
from .t5_cases import T5S
from .various_cases import VARIOUS

__all__ = ["CASES", "DECODERS", "RUN", "Case"]

LLAMA3_SCALING = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}

LLAMAS = (
    Case("llama", "LlamaForCausalLM", {**SIZES}),
    Case(
        "llama-3.1",
        "LlamaForCausalLM",
        {
            **SIZES,
            "head_dim": 32,
            "rope_parameters": LLAMA3_SCALING,
            "tie_word_embeddings": True,
        },
        config_of=old_style,
    ),
    Case(
        "llama-linear-bias",
        "LlamaForCausalLM",
        {
            **SIZES,
            "attention_bias": True,
            "mlp_bias": True,
            "rope_parameters": {
                "rope_type": "linear",
                "rope_theta": 10000.0,
                "factor": 2.0,
            },
        },
    ),
    Case("mistral", "MistralForCausalLM", {**SIZES, "head_dim": 24}),
    Case(
        "mixtral",
        "MixtralForCausalLM",
        {**SIZES, "num_local_experts": 5, "num_experts_per_tok": 2},
    ),
)
QWENS = (
    Case("qwen2", "Qwen2ForCausalLM", {**SIZES, "tie_word_embeddings": True}),
    Case(
        "qwen2-yarn",
        "Qwen2ForCausalLM",
        {**SIZES, "rope_parameters": YARN},
        config_of=old_style,
    ),
    Case("qwen3", "Qwen3ForCausalLM", {**SIZES, "head_dim": 24}),
)

CASES: tuple[Case, ...] = (
    *LLAMAS,
    *QWENS,
    *QWEN_HYBRIDS,
    *QWEN_VLS,
    *MISTRALS,
    *MISTRAL_NATIVES,
    *LLAMA4S,
    *ALIASES,
    *LLAMA_RELATIVES,
    *CHAMELEONS,
    *GEMMAS,
    *GEMMA_4S,
    *PHIS,
    *COHERES,
    *OLMOS,
    *STABLELMS,
    *GLMS,
    *GLM_MOES,
    *GLM_5S,
    *MOES,
    *MUSES,
    *GPTS,
    *DEEPSEEKS,
    *MIMOS,
    *DEEPSEEK_V4S,
    *MINIMAXES,
    *STEPS,
    *KIMIS,
    *ENCODERS,
    *T5S,
    *DRAFTS,
    *LESSERS,
    *FALCON_H1S,
    *GRANITES,
    *LFM2S,
    *MAMBAS,
    *RWKVS,
    *PLAMOS,
    *OLDERS,
    *VARIOUS,
    *NESTED,
    *ROUTED,
    *HY_V4S,
    *LATERS,
    *GROKS,
    *SOUNDS,
)

RUN = tuple(case for case in CASES if case.runs)
DECODERS = tuple(case for case in RUN if case.predicts_text)
