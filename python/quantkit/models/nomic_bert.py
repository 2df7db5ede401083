"""Nomic's BERT: it rotates, with a gated feed-forward part, or with experts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from ..checkpoint.lazy import LazyTensor, reshaped, transposed
from ..forward.base import Config
from ..forward.claims import Claims
from ..forward.facts import Facts
from ..forward.layout import Layout
from ..forward.rotary import Rotary
from ..forward.traits import Experts, Traits
from ..gguf.keys import Field, uint32
from ..settings import integer
from .bert import Bert
from .config import required, text_fields
from .family import SILU, Named

__all__ = ["NomicBert", "NomicBertMoe"]

PERIOD, TOP = "moe_every_n_layers", "moe_top_k"


class NomicBert(Bert):
    """BERT that rotates, with a gated feed-forward part and without biases."""

    name = "nomic-bert"
    hf_classes = ("NomicBertModel",)
    defaults: ClassVar[Mapping[str, Any]] = {
        "default_theta": None,
        "max_trained_positions": 2048,
        PERIOD: 0,
    }
    assumed: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "activation_function": ("swiglu",),
        "hidden_act": SILU["hidden_act"],
        "causal": (False,),
        "qkv_proj_bias": (False,),
        "mlp_fc1_bias": (False,),
        "mlp_fc2_bias": (False,),
        "prenorm": (False,),
        "rotary_emb_fraction": (1.0,),
        "rotary_emb_interleaved": (False,),
        "rotary_emb_scale_base": (None,),
        "rotary_scaling_factor": (None,),
        "max_trained_positions": (2048,),
        "n_positions": (8192, 2048),
    }

    @classmethod
    def suits(cls, config: Config) -> bool:
        """Whether no layer has experts."""
        return not config.get(PERIOD)

    outer: ClassVar = {**Bert.outer, "emb_ln": "token_embd_norm"}
    layer = re.compile(r"encoder\.layers\.(\d+)\.(.+)")
    inner: ClassVar[dict[str, str]] = {
        "attn.Wqkv": "attn_qkv",
        "attn.out_proj": "attn_output",
        "norm1": "attn_output_norm",
        "mlp.fc11": "ffn_up",
        "mlp.fc12": "ffn_gate",
        "mlp.fc2": "ffn_down",
        "norm2": "layer_output_norm",
    }
    rope_types = ("default",)
    layout: ClassVar[Layout] = Layout(
        norms="none",
        norm_bias="required",
        feed_forward_norm="none",
        embedding_norm="required",
        final_norm="none",
        attention_bias="optional",
        feed_forward_bias="optional",
    )
    trained: ClassVar[dict[int, int]] = {8192: 2048, 2048: 512}
    """`n_positions` of a config -> how many tokens the model was trained on."""

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order.

        transformers 5 writes the context itself, as `max_position_embeddings`.
        """
        own = dict(config)
        if config.get("n_positions") or not config.get("max_position_embeddings"):
            own["n_positions"] = self.trained[required(config, "n_positions")]
        return text_fields(own, file_type) | self.encoder_fields(config)

    def traits(self, facts: Facts, claims: Claims) -> Traits:
        """The traits of the forward pass."""
        return Traits(
            epsilon=facts.epsilon,
            layout=self.layout,
            centered=True,
            rotary=Rotary.load(facts, claims, self.layout),
            causal=False,
        )


class NomicBertMoe(NomicBert):
    """The architecture that llama.cpp calls `nomic-bert-moe`.

    Of each `moe_every_n_layers` layers, the second has experts.
    """

    name = "nomic-bert-moe"
    assumed: ClassVar = {
        **NomicBert.assumed,
        "activation_function": ("gelu",),
        "qkv_proj_bias": (True,),
        "mlp_fc1_bias": (True,),
        "mlp_fc2_bias": (True,),
        "moe_normalize_expert_weights": (False,),
        "num_shared_experts": (0,),
        "expert_choice_router": (False,),
    }
    unnamed_weights = (".w1", ".w2")
    inner: ClassVar = {
        **NomicBert.inner,
        "mlp.fc1": "ffn_up",
        "mlp.router.layer": "ffn_gate_inp",
        "mlp.experts.mlp.w1": "ffn_up_exps",
        "mlp.experts.mlp.w2": "ffn_down_exps",
    }
    foreign = ("mlp.experts.bias",)
    layout = replace(NomicBert.layout, gate="none")

    @classmethod
    def suits(cls, config: Config) -> bool:
        """Whether some layers have experts."""
        return bool(config.get(PERIOD))

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        return super().hyperparameters(config, file_type) | {
            PERIOD: uint32(required(config, PERIOD)),
            "expert_used_count": uint32(required(config, TOP)),
        }

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensor; the matrices of experts are stored one below the other."""
        if source.endswith((".w1", ".w2")):
            inner, width = required(config, "n_inner"), required(config, "n_embd")
            tensor = reshaped(tensor, (self.n_experts(config), inner, width))
            if source.endswith(".w2"):
                tensor = transposed(tensor)
        yield from super().converted(source, tensor, config)

    def traits(self, facts: Facts, claims: Claims) -> Traits:
        """The traits of the forward pass."""
        period, count = facts.count(PERIOD, 0), facts.size("expert_count")
        used = facts.count("expert_used_count", None, integer(1, count))
        experts = Experts(
            count=count,
            used=used,
            size=facts.inner_size,
            has=lambda layer: period > 0 and layer % period == 1,
        )
        traits = super().traits(facts, claims)
        return replace(traits, activation="gelu", experts=experts)
