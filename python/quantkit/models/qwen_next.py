"""Qwen 3 Next, 3.5, 3.6 and 3.8: most layers have a delta rule instead of attention.

The delta rule (arXiv:2412.06464) reads queries, keys and values that went through a
short convolution.  The other layers have attention whose output is multiplied by a gate
that comes with the queries.  Norm weights are stored minus one, except the norm inside
the delta rule.

The checkpoint may have layers that predict further tokens (`mtp.*`).  They follow the
others in GGUF, and readers do not run them for perplexity.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar

from ..checkpoint.lazy import LazyTensor, reshaped, taken
from ..checkpoint.lazy_columns import columns_taken
from ..checkpoint.lazy_functions import decay_rates, plus
from ..forward.attention import Attention, load_attention
from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import MixerLoader, load_decoder
from ..forward.facts import Facts
from ..forward.gated_delta import load_gated_delta, recurrent_layers
from ..forward.layer import Mixer
from ..forward.layout import Layout
from ..forward.traits import Traits
from ..gguf.keys import Field, ValueType, array, uint32
from .config import head_size, n_layers, required
from .delta_heads import DeltaHeads, check_delta_heads
from .family import SILU, Named, Tensors
from .mtp import MTP, PREDICTORS, in_layers, n_predictors
from .qwen import Qwen2
from .qwen_moe import Qwen2Moe
from .rope_config import rope_parameters, rotated_size

__all__ = ["MiniCPMV46", "Qwen3Next", "Qwen35", "Qwen35Moe"]

LINEAR, FULL = "linear_attention", "full_attention"
INTERVAL = 4
"""The last of each 4 layers has full attention, if the config does not say."""

DELTA = {
    "linear_attn.in_proj_qkv": "attn_qkv",
    "linear_attn.in_proj_z": "attn_gate",
    "linear_attn.in_proj_b": "ssm_beta",
    "linear_attn.in_proj_a": "ssm_alpha",
    "linear_attn.in_proj_ba": "ssm_ba",
    "linear_attn.conv1d": "ssm_conv1d",
    "linear_attn.dt_proj": "ssm_dt",
    "linear_attn.norm": "ssm_norm",
    "linear_attn.out_proj": "ssm_out",
}


class Qwen3Next(Qwen2Moe):
    """The architecture that llama.cpp calls `qwen3next`."""

    name = "qwen3next"
    hf_classes: ClassVar[tuple[str, ...]] = ("Qwen3NextForCausalLM",)
    defaults: ClassVar = {
        "rms_norm_eps": 1e-6,
        "max_position_embeddings": 32768,
        "num_key_value_heads": 2,
        "head_dim": 256,
        "partial_rotary_factor": 0.25,
        "linear_conv_kernel_dim": 4,
        "linear_key_head_dim": 128,
        "linear_value_head_dim": 128,
        "linear_num_key_heads": 16,
        "linear_num_value_heads": 32,
        "moe_intermediate_size": 512,
        "shared_expert_intermediate_size": 512,
        "num_experts_per_tok": 10,
        "num_experts": 512,
        "intermediate_size": 5632,
    }
    assumed: ClassVar = {
        **SILU,
        "norm_topk_prob": (True,),
        "decoder_sparse_step": (1,),
        "mlp_only_layers": ([],),
        "attn_output_gate": (True,),
        "mtp_use_dedicated_embeddings": (False,),
    }
    layer_types: ClassVar[tuple[str, ...]] = (LINEAR, FULL)
    rotates_partly = True
    inner: ClassVar = {
        **Qwen2Moe.inner,
        **DELTA,
        **MTP,
        "post_attention_layernorm": "post_attention_norm",
    }
    norms_shares = True
    goes_round: ClassVar[bool] = False
    """Whether GGUF has the value heads in another order; see delta_heads.py."""
    gating: ClassVar[str] = "silu"
    """The function of the gates of the delta rule."""
    layout: ClassVar[Layout] = Layout(
        feed_forward_norm_name="post_attention_norm", query_norms="required"
    )

    def complete(self, config: Config) -> dict[str, Any]:
        """The config, with missing keys set to the defaults of its class."""
        whole = super().complete(config)
        if whole.get("layer_types") is None:
            interval = whole.pop("full_attention_interval", None) or INTERVAL
            whole["layer_types"] = [
                LINEAR if (layer + 1) % interval else FULL
                for layer in range(n_layers(whole))
            ]
        return whole

    def extended(self, config: Config, stored: Tensors) -> Config:
        """The config, with the number of layers that predict further tokens."""
        return {**config, PREDICTORS: n_predictors(config, stored)}

    def n_blocks(self, config: Config) -> int:
        """The number of layers, with those that only predict further tokens."""
        return n_layers(config) + int(config.get(PREDICTORS, 0))

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            CheckpointError: sizes do not fit each other.
            UnsupportedModelError: the config has such a setting.
        """
        super().check_settings(config)
        check_delta_heads(config)
        _n_rotated(config)

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        fields = super().hyperparameters(config, file_type)
        fields["block_count"] = uint32(self.n_blocks(config))
        if n_more := self.n_blocks(config) - n_layers(config):
            fields["nextn_predict_layers"] = uint32(n_more)
        heads = DeltaHeads.of(config)
        fields |= {
            "ssm.conv_kernel": uint32(required(config, "linear_conv_kernel_dim")),
            "ssm.state_size": uint32(heads.key_size),
            "ssm.group_count": uint32(heads.n_keys),
            "ssm.time_step_rank": uint32(heads.n_values),
            "ssm.inner_size": uint32(heads.n_values * heads.value_size),
        }
        kinds = required(config, "layer_types")
        recurrent = [kind == LINEAR for kind in kinds] + [False] * n_more
        fields["attention.recurrent_layers"] = array(ValueType.BOOL, recurrent)
        interval = config.get("full_attention_interval") or INTERVAL
        fields["full_attention_interval"] = uint32(interval)
        fields["rope.dimension_count"] = uint32(_n_rotated(config))
        return fields

    def mapped(self, config: Config, stored: Tensors) -> Iterator[Named]:
        """The GGUF tensors made from the checkpoint's tensors."""
        named = in_layers(stored, n_layers(config), self.n_blocks(config))
        yield from super().mapped(config, named)

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensors of a checkpoint tensor."""
        if ".linear_attn." in source:
            yield from self._delta(source, tensor, config)
            return
        for name, made in super().converted(source, tensor, config):
            yield name, plus(made, 1.0) if self.is_norm(name) else made

    def is_norm(self, name: str) -> bool:
        """Whether GGUF has this tensor plus one; `name` is its GGUF name."""
        return name.endswith("norm.weight")

    def _delta(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensors of a tensor of a delta layer."""
        heads = DeltaHeads.of(config)
        before, _, part = source.rpartition("linear_attn.")
        heads.check(source, part, tensor.shape)
        if part == "in_proj_qkvz.weight":
            for name, rows in zip(("qkv", "z"), heads.unfused(), strict=True):
                whole = f"{before}linear_attn.in_proj_{name}.weight"
                yield self.gguf_name(whole, config), taken(tensor, rows)
            return
        if part == "conv1d.weight" and len(tensor.shape) == 3:
            tensor = reshaped(tensor, (tensor.shape[0], tensor.shape[2]))
        if self.goes_round and heads.n_keys != heads.n_values:
            tensor = _gone_round(part, tensor, heads)
        if part == "A_log":
            norm = self.gguf_name(f"{before}linear_attn.norm.weight", config)
            yield norm.replace("ssm_norm.weight", "ssm_a"), decay_rates(tensor)
            return
        source = f"{before}linear_attn.{part.replace('dt_bias', 'dt_proj.bias')}"
        yield self.gguf_name(source, config), tensor

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        traits = self.traits(facts, claims)
        return load_decoder(facts, claims, traits, self.mixers(facts))

    def mixers(self, facts: Facts) -> MixerLoader:
        """Loads the attention or the delta rule of a layer."""
        is_recurrent = recurrent_layers(facts)

        def mixer(facts: Facts, claims: Claims, number: int, traits: Traits) -> Mixer:
            if not is_recurrent(number):
                return self.attention(facts, claims, number, traits)
            return load_gated_delta(
                facts,
                claims,
                number,
                traits,
                goes_round=self.goes_round,
                gating=self.gating,
            )

        return mixer

    def attention(
        self, facts: Facts, claims: Claims, number: int, traits: Traits
    ) -> Attention:
        """The attention of layer `number`."""
        return load_attention(facts, claims, number, traits)

    def traits(self, facts: Facts, claims: Claims) -> Traits:
        """The traits of the forward pass."""
        return replace(super().traits(facts, claims), gated=True)


class Qwen35(Qwen3Next):
    """The architecture that llama.cpp calls `qwen35`, which is dense."""

    name = "qwen35"
    hf_classes: ClassVar[tuple[str, ...]] = (
        "Qwen3_5ForCausalLM",
        "Qwen3_5ForConditionalGeneration",
    )
    defaults: ClassVar = {
        **{k: v for k, v in Qwen3Next.defaults.items() if "expert" not in k},
        "num_key_value_heads": 4,
        "intermediate_size": 12288,
        "moe_intermediate_size": None,
    }
    foreign: ClassVar[tuple[str, ...]] = ("visual.",)
    inner: ClassVar = {
        **Qwen3Next.inner,
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
    }
    experts: ClassVar = {}
    goes_round = True

    def traits(self, facts: Facts, claims: Claims) -> Traits:
        """The traits of the forward pass."""
        return replace(Qwen2.traits(self, facts, claims), gated=True)

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        fields = super().hyperparameters(config, file_type)
        sections = array(ValueType.INT32, [11, 11, 10, 0])
        fields.setdefault("rope.dimension_sections", sections)
        return fields


class MiniCPMV46(Qwen35):
    """The same architecture in GGUF: the text model of MiniCPM-V 4.6.

    Layers that predict further tokens are left out, as by llama.cpp's converter.
    """

    hf_classes = ("MiniCPMV4_6ForConditionalGeneration",)
    foreign = ("model.merger.", "mtp.")

    def extended(self, config: Config, stored: Tensors) -> Config:
        """The config; there are no layers that predict further tokens."""
        return {**config, PREDICTORS: 0}


class Qwen35Moe(Qwen35):
    """The architecture that llama.cpp calls `qwen35moe`."""

    name = "qwen35moe"
    hf_classes = ("Qwen3_5MoeForCausalLM", "Qwen3_5MoeForConditionalGeneration")
    defaults: ClassVar = {
        **Qwen3Next.defaults,
        "num_experts_per_tok": 8,
        "num_experts": 256,
        "intermediate_size": None,
    }
    inner: ClassVar = Qwen3Next.inner
    experts: ClassVar = Qwen3Next.experts

    def traits(self, facts: Facts, claims: Claims) -> Traits:
        """The traits of the forward pass."""
        return Qwen3Next.traits(self, facts, claims)


def _n_rotated(config: Config) -> int:
    """How many components of a head rotate."""
    share = rope_parameters(config).get("partial_rotary_factor", 1.0)
    return rotated_size(int(head_size(config) * share))


def _gone_round(part: str, tensor: LazyTensor, heads: DeltaHeads) -> LazyTensor:
    """A tensor of a delta layer with its value heads in GGUF's order."""
    module = part.partition(".")[0]
    if module in ("in_proj_qkv", "conv1d"):
        return taken(tensor, heads.round_channels())
    if module == "in_proj_z":
        return taken(tensor, heads.round_values(heads.value_size))
    if module == "out_proj":
        return columns_taken(tensor, heads.round_values(heads.value_size))
    if module in ("in_proj_a", "in_proj_b", "A_log", "dt_bias"):
        return taken(tensor, heads.round_values(1))
    return tensor
