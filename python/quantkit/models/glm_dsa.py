"""GLM-5: DeepSeek V3.2's attention; GLM-5.2 shares keys between layers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar

from ..errors import CheckpointError, FormatError, UnsupportedModelError
from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.experts import gating_of
from ..forward.facts import Facts
from ..forward.indexer import TOP, Indexer
from ..forward.latent_attention import (
    LatentAttention,
    load_indexed_attention,
    load_latent_attention,
)
from ..forward.layer import Sequential
from ..forward.shared_choice import (
    ChoosingAttention,
    ChoosingLayer,
    Chosen,
    ChosenOpening,
)
from ..forward.stack import first_columns
from ..forward.traits import Traits
from ..gguf.keys import Field, ValueType, array, uint32
from ..settings import FLAG, checked, list_of, shown
from .config import n_layers, require_setting, required
from .deepseek import DeepseekV3
from .deepseek_v32 import INDEXER, indexer_fields
from .dense_layers import n_dense_layers
from .family import Family, Named, Tensors
from .glm_latent import LATENT_GLM
from .next_predictors import PREDICTOR, n_blocks, predictor_fields

__all__ = [
    "FULL",
    "TYPES",
    "GlmMoeDsa",
    "check_indexers",
    "indexer_types",
    "stated_indexers",
]

TYPES = "attention.indexer.types"
LONG = 1048576
"""The context length of GLM-5.2, whose older files have no list of types."""

FULL, SHARED = "full", "shared"
LETTERS = {"F": FULL, "S": SHARED}


class GlmMoeDsa(DeepseekV3):
    """The architecture that llama.cpp calls `glm-dsa`."""

    name = "glm-dsa"
    reads = ()
    hf_classes = ("GlmMoeDsaForCausalLM",)
    defaults: ClassVar = {
        **LATENT_GLM,
        "moe_intermediate_size": 2048,
        "n_routed_experts": 256,
        "num_experts_per_tok": 8,
        "routed_scaling_factor": 2.5,
        "q_lora_rank": 2048,
        "index_topk": 2048,
        "index_head_dim": 128,
        "index_n_heads": 32,
    }
    layer_types = ("indexed_attention",)
    inner: ClassVar = {**DeepseekV3.inner, **INDEXER, **PREDICTOR}

    def complete(self, config: Config) -> dict[str, Any]:
        """The complete config, with dense layers, and the type of each indexer."""
        whole = super().complete(config)
        whole["first_k_dense_replace"] = n_dense_layers(whole, 3)
        return {**whole, "indexer_types": indexer_types(whole)}

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            UnsupportedModelError: the config has such a setting.
        """
        super().check_settings(config)
        check_indexers(config["indexer_types"])
        require_setting(config, "q_lora_rank", required(config, "q_lora_rank"))

    def n_blocks(self, config: Config) -> int:
        """The number of layers, with those that only predict further tokens."""
        return n_blocks(config)

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        full = [kind == FULL for kind in config["indexer_types"]]
        return {
            **super().hyperparameters(config, file_type),
            "block_count": uint32(n_blocks(config)),
            **predictor_fields(config),
            **indexer_fields(config),
            TYPES: array(ValueType.BOOL, full),
        }

    def mapped(self, config: Config, stored: Tensors) -> Iterator[Named]:
        """The GGUF tensors; those of layers that predict further tokens are kept."""
        yield from Family.mapped(self, config, stored)

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        facts.size("expert_count")
        usual = self.traits(facts, claims)
        assert usual.experts is not None
        experts = replace(usual.experts, gating=gating_of(facts, "sigmoid"))
        traits = replace(usual, experts=experts)
        full = full_indexers(facts)

        def attention(
            facts: Facts, claims: Claims, number: int, traits: Traits
        ) -> LatentAttention:
            if not full[number]:
                return load_latent_attention(facts, claims, number, traits)
            found = load_indexed_attention(facts, claims, number, traits)
            assert isinstance(found.indexer, Indexer)
            return replace(found, indexer=replace(found.indexer, interleaved=True))

        if all(full):
            return load_decoder(facts, claims, traits, attention)
        chosen = Chosen(int(facts.width), int(facts.size(TOP)))

        def choosing(layer: Sequential, number: int) -> ChoosingLayer:
            assert isinstance(layer.mixer, LatentAttention)
            return ChoosingLayer(layer, ChoosingAttention(layer.mixer, chosen))

        return load_decoder(
            facts,
            claims,
            traits,
            attention,
            opening=ChosenOpening(chosen),
            closing=first_columns(facts.width),
            wrap=choosing,
        )


def indexer_types(config: Config) -> list[str]:
    """Whether each layer has its own indexer, or uses the keys of the last that has.

    Raises:
        CheckpointError: the config states another number of layers.
    """
    stated, pattern = config.get("indexer_types"), config.get("index_topk_pattern")
    n = n_layers(config)
    if stated is None and isinstance(pattern, str):
        stated = [LETTERS.get(letter, letter) for letter in pattern]
    if stated is None:
        stated = pattern
    if stated is None:
        period = max(config.get("index_topk_freq") or 1, 1)
        start = config.get("index_skip_topk_offset")
        start = 2 if start is None else start
        late = (max(layer - start + 1, 0) for layer in range(n))
        return [FULL if place % period == 0 else SHARED for place in late]
    kinds = list(stated)
    if len(kinds) != n:
        raise CheckpointError(
            f"config.json: indexer_types has {len(kinds)} items; expected {n}, one per "
            "layer; download the model's config.json again"
        )
    return kinds


def check_indexers(kinds: list[str]) -> None:
    """Refuse other types of indexers, and a first layer that has none of its own.

    Args:
        kinds: the type of the indexer in each layer with attention.

    Raises:
        UnsupportedModelError: there is such a layer.
    """
    if kinds[:1] == [SHARED] or not set(kinds) <= {FULL, SHARED}:
        raise UnsupportedModelError(
            f"config.json has indexer_types: {shown(kinds)}; expected {FULL!r} or "
            f"{SHARED!r} for each layer with attention, and {FULL!r} for the first"
        )


def stated_indexers(facts: Facts) -> list[bool] | None:
    """Whether each layer has its own indexer; None: the metadata does not say it.

    Raises:
        FormatError: the metadata has a wrong value for it.
    """
    values = facts.layer_values(TYPES)
    if values is not None:
        checked(values, list_of(FLAG), facts.key(TYPES))
        return [bool(value) for value in values]
    if TYPES in facts:
        return [facts.flag(TYPES)] * int(facts.n_layers)
    return None


def full_indexers(facts: Facts) -> list[bool]:
    """Whether each layer has its own indexer.

    Raises:
        FormatError: the first layer has none.
    """
    full = stated_indexers(facts)
    if full is None:
        shares = facts.count("context_length", 0) >= LONG
        layers = range(facts.n_layers)
        full = [not shares or i < 2 or i % 4 == 2 for i in layers]
    if not full[0]:
        raise FormatError(f"{facts.key(TYPES)} gives the first layer no indexer")
    return full
