"""Kimi K3: Kimi Linear with mixed residual streams and experts in a smaller space.

The checkpoint has two vectors for each score of a stream, of which only the products
count; GGUF has these.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from ..checkpoint.lazy import LazyTensor, reshaped, taken
from ..checkpoint.lazy_functions import multiplied
from ..errors import CheckpointError
from ..forward import ops
from ..forward.attended_layers import AttendedLayer, load_attended, load_streams
from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.experts import EXPERT_SIZE
from ..forward.facts import Facts
from ..forward.kimi_delta import DeltaForm, load_kimi_delta
from ..forward.layer import Mixer, Sequential
from ..forward.layers import Linear
from ..forward.output_gate import OutputGate
from ..forward.situ import load_situ_part
from ..forward.traits import Traits
from ..gguf.keys import Field, FileType, boolean, float32, uint32
from ..types import QuantType
from .config import required, text_fields
from .family import DECODER_TENSORS, Named, Tensors
from .kimi_linear import (
    KimiLinear,
    delta_fields,
    has_delta_rule,
    hybrid_traits,
    load_unrotated,
)
from .latent import latent_fields

__all__ = ["BOUND", "KimiK3"]

BOUND = "kda.gate_lower_bound"
FORM = DeltaForm(gate="ssm_g", is_flat=True)
GATE = "self_attn.g_proj"
PARTS = ("_norm.weight", "_proj.weight")
SCORES = ("self_attention_res", "mlp_res", "output_attn_res")


class KimiK3(KimiLinear):
    """The architecture that llama.cpp calls `kimi-k3`."""

    name = "kimi-k3"
    hf_classes: ClassVar[tuple[str, ...]] = ("KimiK3ForConditionalGeneration",)
    model_types = ("kimi_k3", "kimi_linear")
    foreign = ("vision_tower.", "mm_projector.")
    file_type = FileType.MXFP4_MOE
    outer: ClassVar = {**DECODER_TENSORS, "model.output_attn_res": "output_res_score"}
    inner: ClassVar = {
        **{k: v for k, v in KimiLinear.inner.items() if not v.startswith("ssm_g_")},
        "self_attention_res": "attn_res_score",
        "mlp_res": "ffn_res_score",
        "self_attn.delta_gate": "ssm_g",
        "self_attn.output_gate": "attn_gate",
        "block_sparse_moe.routed_expert_down_proj": "ffn_routed_down",
        "block_sparse_moe.routed_expert_up_proj": "ffn_routed_up",
        "block_sparse_moe.routed_expert_norm": "ffn_routed_norm",
    }
    assumed: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        **{k: v for k, v in KimiLinear.assumed.items() if k != "moe_renormalize"},
        "hidden_act": ("situ",),
    }

    def complete(self, config: Config) -> dict[str, Any]:
        """See `KimiLinear.complete`; no metadata is made of `head_dim`."""
        return {**super().complete(config), "head_dim": config.get("head_dim")}

    def check_variant(self, config: Config) -> None:
        """Refuse a config that does not say that nothing rotates.

        Raises:
            CheckpointError: it does not.
        """
        required(config, "mla_use_nope")

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        fields = text_fields({**config, "num_key_value_heads": 1}, file_type)
        fields |= delta_fields(config)
        bound = config["linear_attn_config"].get("gate_lower_bound")
        if bound is not None:
            fields[BOUND] = float32(bound)
        if config.get("q_lora_rank") is not None:
            fields["attention.q_lora_rank"] = uint32(config["q_lora_rank"])
        latent = latent_fields(config)
        for key, field in latent.items():
            fields[key] = field
            if key == "attention.key_length":
                fields["attention.value_length"] = latent["attention.kv_lora_rank"]
        counts = {
            EXPERT_SIZE: "moe_intermediate_size",
            "expert_shared_count": "num_shared_experts",
            "leading_dense_block_count": "first_k_dense_replace",
        }
        fields |= {key: uint32(required(config, k)) for key, k in counts.items()}
        fields |= {
            "expert_weights_scale": float32(required(config, "routed_scaling_factor")),
            "expert_weights_norm": boolean(required(config, "moe_renormalize")),
            "expert_latent_length": uint32(
                required(config, "routed_expert_hidden_size")
            ),
            "activation.situ_beta": float32(required(config, "activation_situ_beta")),
            "activation.situ_linear_beta": float32(
                required(config, "activation_situ_linear_beta")
            ),
            "attn_res.block_size": uint32(required(config, "attn_res_block_size")),
        }
        return fields

    def mapped(self, config: Config, stored: Tensors) -> Iterator[Named]:
        """The GGUF tensors; llama.cpp writes the MXFP4 experts first, by layer."""
        packed = {k: v for k, v in stored.items() if v.type is QuantType.MXFP4}
        others = {k: v for k, v in stored.items() if k not in packed}
        experts = super().mapped(config, packed)
        yield from sorted(experts, key=lambda named: int(named[0].split(".")[1]))
        yield from super().mapped(config, _with_scores(others))

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensors of a checkpoint tensor."""
        if source.endswith(".A_log"):
            n_heads = required(config, "num_attention_heads")
            tensor = taken(tensor, np.arange(n_heads))
        if match := self.layer.fullmatch(source.removesuffix(".weight")):
            number, part = match.groups()
            full = config["linear_attn_config"]["full_attn_layers"]
            is_full = int(number) + 1 in full
            if part == GATE:
                kind = "output_gate" if is_full else "delta_gate"
                source = source.replace("g_proj", kind)
        yield from super().converted(source, tensor, config)

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        normed = facts.flag("expert_weights_norm", False)
        traits = hybrid_traits(facts, self.layout, normed=normed)
        epsilon = traits.epsilon
        streams = load_streams(facts, claims, epsilon)

        def wrap(layer: Sequential, number: int) -> AttendedLayer:
            return load_attended(facts, claims, layer, number, epsilon)

        return load_decoder(
            facts,
            claims,
            traits,
            _load_mixer,
            load_situ_part,
            opening=streams,
            closing=streams.closing,
            wrap=wrap,
        )


def _load_mixer(facts: Facts, claims: Claims, number: int, traits: Traits) -> Mixer:
    if has_delta_rule(facts, number):
        bound = facts.number(BOUND) if BOUND in facts else None
        return load_kimi_delta(facts, claims, number, traits, form=FORM, bound=bound)
    attention = load_unrotated(facts, claims, number, traits)
    n_rows = facts.n_heads(number) * facts.size("attention.value_length_mla")
    linear = Linear.of(claims, f"blk.{number}.attn_gate", n_rows, facts.width)
    return replace(attention, gate=OutputGate(linear, ops.sigmoid))


def _with_scores(stored: Tensors) -> dict[str, LazyTensor]:
    """The tensors, with the two of each score of streams as their product.

    Raises:
        CheckpointError: one of two is missing.
    """
    found: dict[str, LazyTensor] = {}
    waiting: dict[str, LazyTensor] = {}
    for name, tensor in stored.items():
        end = next((end for end in PARTS if name.endswith(end)), "")
        stem = name.removesuffix(end)
        if not end or not stem.endswith(SCORES):
            found[name] = tensor
            continue
        flat = reshaped(tensor, (tensor.shape[-1],))
        if stem in waiting:
            found[f"{stem}.weight"] = multiplied(waiting.pop(stem), flat)
        else:
            waiting[stem] = flat
    for stem in waiting:
        raise CheckpointError(
            f"the checkpoint has one of {stem + PARTS[0]!r} and {stem + PARTS[1]!r}; "
            "a shard is missing"
        )
    return found
