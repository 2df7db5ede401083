"""The model families that quantkit supports.  To add one, list its class here."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from ..errors import UnsupportedModelError
from ..forward.base import Config, Model, Weights
from ..forward.facts import Facts
from ..gguf.keys import Field
from .baichuan import Baichuan
from .bloom import Bloom
from .cohere import Cohere
from .config_keys import checked_config
from .config_relations import check_relations, check_synonyms
from .deepseek import DeepseekV2, DeepseekV3
from .ernie4_5 import Ernie45
from .exaone4 import Exaone4
from .falcon import Falcon
from .family import Family
from .gemma import Gemma, Gemma2, Gemma3
from .glm import ChatGlm, Glm, Glm4
from .gpt2 import GPT2
from .gpt_neox import GPTNeoX
from .gpt_oss import GptOss
from .granite import Granite
from .hunyuan import HunYuanDense
from .internlm2 import InternLM2
from .llama import Llama, Mixtral
from .minicpm import MiniCPM
from .mpt import Mpt
from .olmo import Olmo, Olmo2, Olmo3
from .phi import Phi, Phi3
from .qwen import Qwen, Qwen2, Qwen3
from .qwen_moe import Qwen2Moe, Qwen3Moe
from .smollm3 import SmolLM3
from .stablelm import StableLm
from .starcoder2 import Starcoder2

__all__ = ["FAMILIES", "family_for_config", "family_named", "load_model", "settled"]

FAMILIES: tuple[Family, ...] = (
    Llama(),
    Mixtral(),
    Qwen(),
    Qwen2(),
    Qwen3(),
    Qwen2Moe(),
    Qwen3Moe(),
    SmolLM3(),
    Granite(),
    MiniCPM(),
    InternLM2(),
    Baichuan(),
    Ernie45(),
    Exaone4(),
    HunYuanDense(),
    Gemma(),
    Gemma2(),
    Gemma3(),
    StableLm(),
    Phi(),
    Phi3(),
    Olmo(),
    Olmo2(),
    Olmo3(),
    Glm(),
    ChatGlm(),
    Glm4(),
    Cohere(),
    GPT2(),
    GPTNeoX(),
    Falcon(),
    Bloom(),
    Mpt(),
    Starcoder2(),
    GptOss(),
    DeepseekV2(),
    DeepseekV3(),
)

ROTATED = "prism.hadamard."
"""Keys of models whose weights have been rotated, whatever their types are."""

BY_CLASS = {name: family for family in FAMILIES for name in family.hf_classes}


def family_for_config(config: Config) -> Family:
    """The family of a Hugging Face config, by its `architectures`.

    Raises:
        UnsupportedModelError: no family has that class.
    """
    classes = config.get("architectures") or ()
    for name in classes:
        if name in BY_CLASS:
            return BY_CLASS[name]
    given = ", ".join(classes) or "(none)"
    near = difflib.get_close_matches(given, BY_CLASS, n=3, cutoff=0.6)
    raise UnsupportedModelError(
        f"config.json names the architecture {given}, which quantkit does not know; "
        + (f"nearest: {', '.join(near)}" if near else f"known: {', '.join(BY_CLASS)}")
        + "; `tensors_only=True` writes the tensors under the names they have"
    )


def settled(config: Config) -> tuple[Family, dict[str, Any]]:
    """The family of a Hugging Face config, and the complete config.

    Args:
        config: with the keys of a nested `text_config` at the top level.

    Raises:
        CheckpointError: a value has a wrong type or range, or contradicts another.
        UnsupportedModelError: no family has that class.
    """
    stated = checked_config(config)
    family = family_for_config(stated)
    check_synonyms(stated)
    complete = family.complete(stated)
    check_relations(complete)
    return family, complete


def family_named(arch: str) -> Family:
    """The family whose `general.architecture` is `arch`.

    Raises:
        UnsupportedModelError: no family has that name.
    """
    for family in FAMILIES:
        if family.name == arch:
            return family
    known = ", ".join(dict.fromkeys(family.name for family in FAMILIES))
    raise UnsupportedModelError(
        f"the model's architecture is {arch!r}; quantkit can run: {known}"
    )


def load_model(metadata: Mapping[str, Field], arch: str, weights: Weights) -> Model:
    """Build the model from GGUF metadata and tensors.

    Raises:
        FormatError: a key or a tensor is missing.
        UnsupportedModelError: quantkit cannot run this model.
    """
    if any(key.startswith(ROTATED) for key in metadata):
        raise UnsupportedModelError(
            f"the metadata has {ROTATED}* keys: the weights are for activations that "
            "went through a Hadamard transform, which PrismML's branch of llama.cpp "
            "does; without it they give garbage"
        )
    return family_named(arch).load(Facts(arch, metadata), weights)
