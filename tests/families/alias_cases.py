"""Classes whose checkpoints are those of others, under other names."""

from __future__ import annotations

from typing import Any

from .case import SIZES, Case
from .checkpoints import Arrays
from .llama_twins import renamed

__all__ = ["ALIASES"]


def called(name: str, **changes: Any) -> Any:
    """A config with another class, and other changes."""

    def config_of(config: dict[str, Any]) -> dict[str, Any]:
        return {**config, "architectures": [name], **changes}

    return config_of


def bare(arrays: Arrays) -> Arrays:
    """Without the head, and without what the names of the others start with."""
    return {
        name.removeprefix("model."): array
        for name, array in arrays.items()
        if not name.startswith("lm_head")
    }


def kormo(arrays: Arrays) -> Arrays:
    """With KORMo's names of norms."""
    names = {
        "input_layernorm": "pre_attention_layernorm",
        "post_attention_layernorm": "pre_mlp_layernorm",
    }
    return renamed(arrays, names)


def sarashina(arrays: Arrays) -> Arrays:
    """Inside another model, beside a norm that is not its own."""
    inside = {f"llm.{name}": array for name, array in arrays.items()}
    return {**inside, "norm.weight": arrays["model.norm.weight"]}


TIED = {**SIZES, "tie_word_embeddings": True}

ALIASES = (
    Case(
        "qwen2-bare",
        "Qwen2ForCausalLM",
        TIED,
        config_of=called("Qwen2Model"),
        rename=bare,
    ),
    Case(
        "qwen3-bare",
        "Qwen3ForCausalLM",
        {**TIED, "head_dim": 32},
        config_of=called("Qwen3Model"),
        rename=bare,
    ),
    Case(
        "llama-bare",
        "LlamaForCausalLM",
        TIED,
        config_of=called("LlamaModel"),
        rename=bare,
    ),
    Case(
        "kormo",
        "LlamaForCausalLM",
        {**SIZES, "head_dim": 32},
        config_of=called("KORMoForCausalLM", model_type="kormo"),
        rename=kormo,
    ),
    Case(
        "dots-ocr",
        "Qwen2ForCausalLM",
        SIZES,
        config_of=called("DotsOCRForCausalLM", model_type="dots_ocr"),
    ),
    Case(
        "iquestcoder",
        "LlamaForCausalLM",
        {**SIZES, "head_dim": 32},
        config_of=called("IQuestCoderForCausalLM", model_type="iquestcoder"),
    ),
    Case(
        "sarashina2-vision",
        "LlamaForCausalLM",
        SIZES,
        config_of=called("Sarashina2VisionForCausalLM", model_type="sarashina2_vision"),
        rename=sarashina,
    ),
    Case(
        "vllama3",
        "LlamaForCausalLM",
        SIZES,
        config_of=called("VLlama3ForCausalLM", model_type="vllama3"),
        rename=lambda arrays: renamed(arrays, {"model.": "model.text_model."}),
    ),
)
