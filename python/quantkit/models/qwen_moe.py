"""Qwen 1.5, 2 and 3 with experts: the dense models with another feed-forward part.

Qwen 2 has a shared expert with its own gate, and does not normalize the weights of the
chosen experts.  Qwen 3 has no shared expert and normalizes.  GGUF has no key for this.
Newer versions of transformers may store a layer's experts in one tensor.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

from ..checkpoint.lazy import LazyTensor
from ..forward.base import Config
from ..forward.claims import Claims
from ..forward.experts import EXPERT_SIZE, load_experts
from ..forward.facts import Facts
from ..forward.layout import Layout
from ..forward.traits import Experts, Traits
from ..gguf.keys import Field, uint32
from .config import n_layers, required, text_fields
from .family import DECODER_LAYER, Named
from .fused_experts import split_gate_up
from .qwen import Qwen2
from .windows import layer_windows

__all__ = ["Qwen2Moe", "Qwen3Moe"]

SHARED_SIZE = "expert_shared_feed_forward_length"
# Unprefixed GGUF key -> config key.
EXPERT_SIZES = {
    EXPERT_SIZE: "moe_intermediate_size",
    SHARED_SIZE: "shared_expert_intermediate_size",
}


# In GGUF every layer of these models has experts; none has a dense feed-forward part.
ATTENTION = {k: v for k, v in DECODER_LAYER.items() if not k.startswith("mlp.")}


def _shared_size(facts: Facts, layer: int) -> int:
    """The width inside the shared expert; old files have no key for it."""
    if facts.count(SHARED_SIZE, 0):
        return facts.size(SHARED_SIZE)
    return facts.inner_size(layer)


class Qwen2Moe(Qwen2):
    """The architecture that llama.cpp calls `qwen2moe`."""

    name = "qwen2moe"
    hf_classes: ClassVar[tuple[str, ...]] = ("Qwen2MoeForCausalLM",)
    pools = False
    defaults: ClassVar = {
        **Qwen2.defaults,
        "num_key_value_heads": 16,
        "moe_intermediate_size": 1408,
        "shared_expert_intermediate_size": 5632,
        "num_experts_per_tok": 4,
        "num_experts": 60,
        "norm_topk_prob": False,
    }
    inner: ClassVar = {
        **ATTENTION,
        "mlp.gate": "ffn_gate_inp",
        "mlp.shared_expert_gate": "ffn_gate_inp_shexp",
        "mlp.shared_expert.gate_proj": "ffn_gate_shexp",
        "mlp.shared_expert.up_proj": "ffn_up_shexp",
        "mlp.shared_expert.down_proj": "ffn_down_shexp",
        "mlp.experts.gate_proj": "ffn_gate_exps",
        "mlp.experts.up_proj": "ffn_up_exps",
        "mlp.experts.down_proj": "ffn_down_exps",
    }
    experts: ClassVar = {
        "down_proj": "ffn_down_exps",
        "gate_proj": "ffn_gate_exps",
        "up_proj": "ffn_up_exps",
    }
    assumed: ClassVar = {
        **Qwen2.assumed,
        "norm_topk_prob": (False,),
        "decoder_sparse_step": (1,),
        "mlp_only_layers": ([],),
    }
    norms_shares: ClassVar[bool] = False
    """Whether GGUF readers normalize the weights of the chosen experts."""
    layout: ClassVar[Layout] = Layout(head="required")

    def windows(self, config: Config) -> list[bool]:
        """Whether each layer has a sliding window, if the model uses them."""
        if config.get("layer_types"):
            return layer_windows(config, 1)
        end = required(config, "max_window_layers")
        return [not layer % 2 and layer < end for layer in range(n_layers(config))]

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        fields = text_fields(config, file_type)
        for key, name in EXPERT_SIZES.items():
            if config.get(name) is not None:
                fields[key] = uint32(config[name])
        return fields

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensors of a checkpoint tensor; fused experts are split."""
        module = source.removesuffix(".weight")
        if module.endswith(".experts.gate_up_proj"):
            before = module.removesuffix("gate_up_proj")
            for part, matrix in split_gate_up(tensor).items():
                yield self.gguf_name(f"{before}{part}.weight", config), matrix
            return
        if module.endswith(".experts.down_proj"):
            source = f"{module}.weight"
        yield from super().converted(source, tensor, config)

    def traits(self, facts: Facts, claims: Claims) -> Traits:
        """The traits of the forward pass."""
        return replace(super().traits(facts, claims), experts=self.experts_of(facts))

    def experts_of(self, facts: Facts) -> Experts:
        """The experts of the forward pass, and the shared expert."""
        return replace(
            self.own_experts(facts),
            shared_size=lambda layer: _shared_size(facts, layer),
            shared_gate=True,
        )

    def own_experts(self, facts: Facts) -> Experts:
        """The experts that tokens choose; old files have no key for their size."""
        experts = load_experts(facts, normed=self.norms_shares)
        if facts.layer_values(EXPERT_SIZE) or facts.count(EXPERT_SIZE, 0):
            return experts
        return replace(
            experts, size=lambda layer: facts.inner_size(layer) // experts.used
        )


class Qwen3Moe(Qwen2Moe):
    """The architecture that llama.cpp calls `qwen3moe`."""

    name = "qwen3moe"
    hf_classes: ClassVar[tuple[str, ...]] = ("Qwen3MoeForCausalLM",)
    defaults: ClassVar = {
        **Qwen2.defaults,
        "num_key_value_heads": 4,
        "moe_intermediate_size": 768,
        "num_experts_per_tok": 8,
        "num_experts": 128,
        "norm_topk_prob": False,
    }
    assumed: ClassVar = {**Qwen2Moe.assumed, "norm_topk_prob": (True,)}
    norms_shares = True
    layout: ClassVar[Layout] = Layout(query_norms="required")

    def windows(self, config: Config) -> list[bool]:
        """Whether each layer has a sliding window, if the model uses them."""
        return [True] * n_layers(config)

    def experts_of(self, facts: Facts) -> Experts:
        """The experts of the forward pass."""
        return self.own_experts(facts)
