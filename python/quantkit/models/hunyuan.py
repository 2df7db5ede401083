"""Hunyuan, dense: queries and keys are normalized after the rotation.

Its rope scaling "dynamic" has a fixed `alpha` and is equivalent to a larger base.
"""

from __future__ import annotations

from typing import ClassVar

from ..errors import CheckpointError, UnsupportedModelError
from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.facts import Facts
from ..forward.layout import Layout
from ..forward.rotary import Rotary
from ..forward.traits import Traits
from ..gguf.keys import Field, float32, string, uint32
from .config import head_size, required, text_fields
from .family import DECODER_LAYER, SILU, Family
from .rope_config import rope_parameters

__all__ = ["HunYuanDense", "stretched_fields"]

CONTEXT = 256 * 1024
"""The context length of models with this scaling, whatever the config says."""

STATED_CONTEXTS = (32 * 1024, CONTEXT)


class HunYuanDense(Family):
    """The architecture that llama.cpp calls `hunyuan-dense`."""

    name = "hunyuan-dense"
    hf_classes: ClassVar[tuple[str, ...]] = ("HunYuanDenseV1ForCausalLM",)
    defaults: ClassVar = {
        "rms_norm_eps": 1e-5,
        "max_position_embeddings": 2048,
        "num_key_value_heads": None,
    }
    inner: ClassVar = {
        **DECODER_LAYER,
        "self_attn.query_layernorm": "attn_q_norm",
        "self_attn.key_layernorm": "attn_k_norm",
    }
    drops_tied_head = True
    assumed: ClassVar = {**SILU, "use_cla": (False,)}
    layout: ClassVar[Layout] = Layout(query_norms="required")

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order.

        Dense models may have `num_experts` 1, which is ignored.
        """
        dense = {key: value for key, value in config.items() if key != "num_experts"}
        fields = text_fields(dense, file_type)
        if rope_parameters(config)["rope_type"] == "dynamic":
            fields |= stretched_fields(config)
        return fields

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        return load_decoder(facts, claims, self.traits(facts, claims))

    def traits(self, facts: Facts, claims: Claims) -> Traits:
        """The traits of the forward pass."""
        return Traits(
            epsilon=facts.rms_epsilon,
            layout=self.layout,
            rotary=Rotary.load(facts, claims, self.layout),
            norm_after_rotary=True,
        )


def stretched_fields(config: Config) -> dict[str, Field]:
    """The larger rotary base, and the context length that it supports.

    Raises:
        CheckpointError: there is no `alpha`, or the heads are too small.
        UnsupportedModelError: llama.cpp's rule does not cover this config.
    """
    parameters = rope_parameters(config)
    base, stated = parameters["rope_theta"], config["max_position_embeddings"]
    if base != 10000 or stated not in STATED_CONTEXTS:
        raise UnsupportedModelError(
            f"config.json has rope_theta {base} and max_position_embeddings {stated} "
            "with rope scaling 'dynamic'; supported are 10000 and "
            f"{' or '.join(map(str, STATED_CONTEXTS))}"
        )
    size = head_size(config)
    if size <= 2:
        raise CheckpointError(f"config.json: head_dim is {size}; expected more than 2")
    stretch = required(parameters, "alpha") ** (size / (size - 2))
    return {
        "rope.freq_base": float32(base * stretch),
        "rope.scaling.type": string("none"),
        "rope.scaling.factor": float32(1.0),
        "rope.scaling.original_context_length": uint32(CONTEXT),
        "context_length": uint32(CONTEXT),
    }
