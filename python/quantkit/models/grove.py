"""GroveMoE: Qwen 3 MoE, and a small expert for each group of experts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from ..checkpoint.lazy import LazyTensor
from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.experts import EXPERT_SIZE, load_experts
from ..forward.facts import Facts
from ..forward.grove import GROUP_SCALE, GROUP_SIZE, PER_GROUP, load_grove
from ..forward.layout import Layout
from ..forward.rotary import Rotary
from ..forward.traits import Traits
from ..gguf.keys import Field, float32, uint32
from .config import required, text_fields
from .family import DECODER_LAYER, EXPERT_MATRICES, SILU, Family, Named

__all__ = ["GroveMoe"]

IN_GROUP, SCALE, GROUPS_EXPERT = 2, 0.05, 128
"""Constants of the model's code; the last is the width inside a group's expert."""
OF_GROUPS = "chunk_experts"


class GroveMoe(Family):
    """The architecture that llama.cpp calls `grovemoe`."""

    name = "grovemoe"
    hf_classes = ("GroveMoeForCausalLM", "modeling_grove_moe.GroveMoeForCausalLM")
    defaults: ClassVar[Mapping[str, Any]] = {"default_theta": None}
    skipped: ClassVar = (*Family.skipped, ".expert_bias")
    inner: ClassVar = {**DECODER_LAYER, "mlp.gate": "ffn_gate_inp"}
    experts = EXPERT_MATRICES
    assumed: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        **SILU,
        "attention_bias": (False,),
        "decoder_sparse_step": (1,),
        "mlp_only_layers": ([],),
        "norm_topk_prob": (True,),
        "use_sliding_window": (False,),
    }
    layout: ClassVar[Layout] = Layout(query_norms="required")

    def n_experts_in(self, before: str, config: Config) -> int:
        """The number of experts in a module; a group has one of its own."""
        n_experts = self.n_experts(config)
        return n_experts // IN_GROUP if before.endswith(OF_GROUPS) else n_experts

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        return {
            **text_fields(config, file_type),
            EXPERT_SIZE: uint32(required(config, "moe_intermediate_size")),
            GROUP_SIZE: uint32(config.get("head_dim") or GROUPS_EXPERT),
            PER_GROUP: uint32(IN_GROUP),
            GROUP_SCALE: float32(SCALE),
        }

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        traits = Traits(
            epsilon=facts.rms_epsilon,
            layout=self.layout,
            rotary=Rotary.load(facts, claims, self.layout),
            experts=load_experts(facts, normed=True),
        )
        return load_decoder(facts, claims, traits, feed_forward=load_grove)

    def _stacked(
        self, before: str, parts: dict[str, LazyTensor], kind: str, config: Config
    ) -> Iterator[Named]:
        """The experts' matrices of one layer, stacked."""
        for name, tensor in super()._stacked(before, parts, kind, config):
            if before.endswith(OF_GROUPS):
                name = name.replace("_exps.", "_chexps.")
            yield name, tensor
