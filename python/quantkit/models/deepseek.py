"""DeepSeek V2 and V3: latent attention (MLA), small experts, a few dense layers first.

GGUF stores the projection from the latent vector to keys and values as two tensors:
`attn_k_b`, transposed for each head, and `attn_v_b`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from ..checkpoint.lazy import LazyTensor, reshaped, taken, transposed
from ..errors import UnsupportedModelError
from ..forward.base import Config, Model, Weights
from ..forward.decoder import Layer, load_decoder, load_layer
from ..forward.facts import Facts
from ..forward.latent_attention import latent_scale, load_latent_attention
from ..forward.rotary import Rotary
from ..forward.traits import Experts, Traits
from ..gguf.keys import Field, boolean, float32, uint32
from ..settings import shown
from .config import n_layers, require_setting, required, text_fields
from .family import DECODER_LAYER, SILU, Family, Named, Tensors
from .rope_config import SMALLEST_SHARE, rope_parameters, yarn_attention_factor

__all__ = ["DeepseekV2", "DeepseekV3"]


YARN_SCALES = ("factor", "attention_factor", "mscale", "mscale_all_dim")


class DeepseekV2(Family):
    """The architecture that llama.cpp calls `deepseek2`."""

    name = "deepseek2"
    hf_classes: ClassVar[tuple[str, ...]] = ("DeepseekV2ForCausalLM",)
    defaults: ClassVar = {"rms_norm_eps": 1e-6, "norm_topk_prob": False}
    renames: ClassVar = ((".e_score_correction_bias", ".e_score_correction.bias"),)
    inner: ClassVar = {
        **DECODER_LAYER,
        "self_attn.q_a_proj": "attn_q_a",
        "self_attn.q_a_layernorm": "attn_q_a_norm",
        "self_attn.q_b_proj": "attn_q_b",
        "self_attn.kv_a_proj_with_mqa": "attn_kv_a_mqa",
        "self_attn.kv_a_layernorm": "attn_kv_a_norm",
        "self_attn.k_b_proj": "attn_k_b",
        "self_attn.v_b_proj": "attn_v_b",
        "mlp.gate": "ffn_gate_inp",
        "mlp.gate.e_score_correction": "exp_probs_b",
        "mlp.shared_experts.gate_proj": "ffn_gate_shexp",
        "mlp.shared_experts.up_proj": "ffn_up_shexp",
        "mlp.shared_experts.down_proj": "ffn_down_shexp",
    }
    experts: ClassVar = {
        "down_proj": "ffn_down_exps",
        "gate_proj": "ffn_gate_exps",
        "up_proj": "ffn_up_exps",
    }

    assumed: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        **SILU,
        "scoring_func": ("softmax",),
        "topk_method": ("greedy", "group_limited_greedy"),
        "norm_topk_prob": (False,),
        "moe_layer_freq": (1,),
        "attention_bias": (False,),
        "mlp_bias": (False,),
    }

    def complete(self, config: Config) -> dict[str, Any]:
        """The config, with missing keys set to the defaults of its class."""
        whole = super().complete(config)
        if whole.get("head_dim") is None:
            whole["head_dim"] = required(whole, "qk_rope_head_dim")
        return whole

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        YaRN's factor of scores follows from `mscale_all_dim`; that of queries and keys,
        from `mscale`, has no key and must be 1.

        Raises:
            UnsupportedModelError: the config has such a setting.
        """
        super().check_settings(config)
        require_setting(config, "head_dim", required(config, "qk_rope_head_dim"))
        parameters = rope_parameters(config)
        if parameters["rope_type"] != "yarn":
            return
        if abs(yarn_attention_factor(parameters) - 1) > SMALLEST_SHARE:
            scales = {key: parameters.get(key) for key in YARN_SCALES}
            raise UnsupportedModelError(
                f"config.json has rope scaling 'yarn' with {shown(scales)}; for this "
                "architecture GGUF readers support only an mscale that is "
                "mscale_all_dim and not 0"
            )

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        rank, n_turned = (
            required(config, key) for key in ("kv_lora_rank", "qk_rope_head_dim")
        )
        fields = text_fields({**config, "num_key_value_heads": 1}, file_type)
        fields["leading_dense_block_count"] = uint32(
            required(config, "first_k_dense_replace")
        )
        fields["vocab_size"] = uint32(required(config, "vocab_size"))
        if config.get("q_lora_rank") is not None:
            fields["attention.q_lora_rank"] = uint32(config["q_lora_rank"])
        counts = {
            "attention.kv_lora_rank": rank,
            "attention.key_length": rank + n_turned,
            "attention.value_length": rank,
            "attention.key_length_mla": required(config, "qk_nope_head_dim") + n_turned,
            "attention.value_length_mla": required(config, "v_head_dim"),
            "expert_feed_forward_length": required(config, "moe_intermediate_size"),
            "expert_count": required(config, "n_routed_experts"),
            "expert_shared_count": required(config, "n_shared_experts"),
        }
        fields |= {key: uint32(value) for key, value in counts.items()}
        if config.get("routed_scaling_factor") is not None:
            scale = config["routed_scaling_factor"]
            fields["expert_weights_scale"] = float32(scale)
        if config["norm_topk_prob"]:
            fields["expert_weights_norm"] = boolean(True)
        fields["rope.dimension_count"] = uint32(n_turned)
        if (share := rope_parameters(config).get("mscale_all_dim")) is not None:
            fields["rope.scaling.yarn_log_multiplier"] = float32(0.1 * share)
        fields.pop("rope.scaling.attn_factor", None)  # 1 here, see check_settings
        return fields

    def mapped(self, config: Config, stored: Tensors) -> Iterator[Named]:
        """The GGUF tensors made from the checkpoint's tensors.

        The multi-token prediction layers after the last layer are skipped, because GGUF
        readers do not run them.
        """
        last = n_layers(config) - 1
        kept = {
            name: tensor
            for name, tensor in stored.items()
            if not (match := self.layer.match(name)) or int(match[1]) <= last
        }
        yield from super().mapped(config, kept)

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensors of a checkpoint tensor."""
        if config.get("tie_word_embeddings") and source == "lm_head.weight":
            return
        if not source.endswith(".kv_b_proj.weight"):
            yield self.gguf_name(source, config), tensor
            return
        n_heads = required(config, "num_key_value_heads", "num_attention_heads")
        n_keys, n_values = (
            required(config, key) for key in ("qk_nope_head_dim", "v_head_dim")
        )
        heads = reshaped(tensor, (n_heads, n_keys + n_values, tensor.shape[-1]))
        keys = transposed(taken(heads, np.arange(n_keys), axis=1))
        values = taken(heads, np.arange(n_keys, n_keys + n_values), axis=1)
        for part, made in (("k_b_proj", keys), ("v_b_proj", values)):
            yield self.gguf_name(source.replace("kv_b_proj", part), config), made

    def load(self, facts: Facts, weights: Weights) -> Model:
        """Build the model from GGUF metadata and tensors."""
        traits = Traits(
            epsilon=facts.number("attention.layer_norm_rms_epsilon"),
            rotary=replace(Rotary.load(facts, weights), magnitude=1.0),
            attention_scale=latent_scale(facts),
            experts=Experts(
                facts.count("expert_count"),
                facts.count("expert_used_count"),
                self.gating(facts),
                normed=facts.flag("expert_weights_norm", False),
                scale=facts.number("expert_weights_scale", 1.0),
                n_groups=facts.count("expert_group_count", 1),
                groups_used=facts.count("expert_group_used_count", 1),
            ),
        )
        return load_decoder(facts, weights, traits, _load_layer)

    def gating(self, facts: Facts) -> str:
        """The gating function of the experts; softmax if the metadata has none (V2)."""
        return "sigmoid" if facts.count("expert_gating_func", 1) == 2 else "softmax"


class DeepseekV3(DeepseekV2):
    """The same architecture in GGUF; the config class has other defaults."""

    hf_classes = ("DeepseekV3ForCausalLM",)
    defaults: ClassVar = {
        "rms_norm_eps": 1e-6,
        "norm_topk_prob": True,
        "routed_scaling_factor": 2.5,
        "scoring_func": "sigmoid",
    }
    assumed: ClassVar = {
        **DeepseekV2.assumed,
        "scoring_func": ("sigmoid",),
        "topk_method": ("noaux_tc",),
        "norm_topk_prob": (True, False),
        "rope_interleave": (True,),
    }


def _load_layer(facts: Facts, weights: Weights, number: int, traits: Traits) -> Layer:
    """Layer `number`, with latent attention."""
    return load_layer(facts, weights, number, traits, load_latent_attention)
