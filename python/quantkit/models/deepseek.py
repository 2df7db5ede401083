"""DeepSeek V2 and V3: latent attention (MLA), small experts, a few dense layers first.

GGUF stores the projection from the latent vector to keys and values as two tensors:
`attn_k_b`, transposed for each head, and `attn_v_b`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from ..checkpoint.lazy import LazyTensor
from ..errors import UnsupportedModelError
from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.experts import EXPERT_SIZE, gating_of, load_experts
from ..forward.facts import Facts
from ..forward.latent_attention import latent_scale, load_latent_attention
from ..forward.layout import Layout
from ..forward.rotary import Rotary
from ..forward.sizes import Size
from ..forward.temperature import Temperature
from ..forward.traits import Experts, Traits
from ..gguf.keys import Field, boolean, float32, uint32
from ..settings import shown
from .config import n_layers, require_setting, required, text_fields
from .family import DECODER_LAYER, SILU, Family, Named, Tensors
from .latent import LATENT_ATTENTION, split_latent
from .rope_config import SMALLEST_SHARE, rope_parameters, yarn_attention_factor

__all__ = ["DeepseekV2", "DeepseekV3", "KimiVL"]

GLM_TOKENS = 154880


PREDICTION = ".eh_proj.weight"
"""The end of the name of a tensor that only multi-token prediction layers have."""
YARN_SCALES = ("factor", "attention_factor", "mscale", "mscale_all_dim")


class DeepseekV2(Family):
    """The architecture that llama.cpp calls `deepseek2`."""

    name = "deepseek2"
    hf_classes: ClassVar[tuple[str, ...]] = ("DeepseekV2ForCausalLM",)
    defaults: ClassVar[Mapping[str, Any]] = {
        "rms_norm_eps": 1e-6,
        "norm_topk_prob": False,
        "topk_method": "greedy",
    }
    renames: ClassVar[tuple[tuple[str, str], ...]] = (
        (".e_score_correction_bias", ".e_score_correction.bias"),
    )
    inner: ClassVar = {
        **DECODER_LAYER,
        **LATENT_ATTENTION,
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
    reads: ClassVar[tuple[str, ...]] = ("attention.temperature_scale",)
    layout: ClassVar[Layout] = Layout()
    fills_head_size: ClassVar[bool] = True
    """Whether the config class computes `head_dim` if config.json lacks it."""

    rope_types: ClassVar[tuple[str, ...]] = ("default", "yarn", "dynamic")
    drops_tied_head = True
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
        if whole.get("head_dim") is None and self.fills_head_size:
            whole["head_dim"] = required(whole, "qk_rope_head_dim")
        if whole.get("topk_method") == "greedy" and (whole.get("n_group") or 1) > 1:
            whole |= {"n_group": None, "topk_group": None}  # transformers ignores them
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
            **self.expert_counts(config),
        }
        fields |= {key: uint32(value) for key, value in counts.items()}
        if config.get("routed_scaling_factor") is not None:
            scale = config["routed_scaling_factor"]
            fields["expert_weights_scale"] = float32(scale)
        if config.get("norm_topk_prob"):
            fields["expert_weights_norm"] = boolean(True)
        fields["rope.dimension_count"] = uint32(n_turned)
        if (share := rope_parameters(config).get("mscale_all_dim")) is not None:
            fields["rope.scaling.yarn_log_multiplier"] = float32(0.1 * share)
        fields.pop("rope.scaling.attn_factor", None)  # 1 here, see check_settings
        return fields

    def expert_counts(self, config: Config) -> dict[str, int]:
        """The numbers of experts and their width, by GGUF key."""
        return {
            EXPERT_SIZE: required(config, "moe_intermediate_size"),
            "expert_count": required(config, "n_routed_experts"),
            "expert_shared_count": required(config, "n_shared_experts"),
        }

    def mapped(self, config: Config, stored: Tensors) -> Iterator[Named]:
        """The GGUF tensors made from the checkpoint's tensors.

        The multi-token prediction layers after the last layer are skipped, because GGUF
        readers do not run them.
        """
        last = n_layers(config) - 1
        skipped = {
            match[1]
            for name in stored
            if name.endswith(PREDICTION) and (match := self.layer.match(name))
        }
        kept = {
            name: tensor
            for name, tensor in stored.items()
            if not (match := self.layer.match(name))
            or match[1] not in skipped
            or int(match[1]) <= last
        }
        yield from super().mapped(config, kept)

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensors of a checkpoint tensor."""
        for name, made in split_latent(source, tensor, config):
            yield self.gguf_name(name, config), made

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        return load_decoder(
            facts, claims, self.traits(facts, claims), load_latent_attention
        )

    def traits(self, facts: Facts, claims: Claims) -> Traits:
        """The model's traits."""
        return Traits(
            epsilon=facts.rms_epsilon,
            layout=self.layout,
            rotary=replace(Rotary.load(facts, claims, self.layout), magnitude=1.0),
            attention_scale=latent_scale(facts),
            temperature=Temperature.load(facts),
            experts=self.experts_of(facts),
        )

    def experts_of(self, facts: Facts) -> Experts | None:
        """The experts of the forward pass; None: the model has none."""
        if not facts.count("expert_count", 0):
            return None
        return load_experts(
            facts,
            gating=_gating(facts),
            normed=facts.flag("expert_weights_norm", False),
            scale=facts.number("expert_weights_scale", 1.0) or 1.0,
            shared_size=lambda layer: _shared_size(facts, layer),
            choice_bias="optional",
            first=facts.count("leading_dense_block_count", 0),
        )


class DeepseekV3(DeepseekV2):
    """The same architecture in GGUF; the config class has other defaults."""

    hf_classes: ClassVar[tuple[str, ...]] = (
        "DeepseekV3ForCausalLM",
        "KimiK25ForConditionalGeneration",
    )
    foreign: ClassVar[tuple[str, ...]] = (
        "vision_tower.",
        "mm_projector.",
        "multi_modal_projector.",
    )
    defaults: ClassVar = {
        "rms_norm_eps": 1e-6,
        "norm_topk_prob": True,
        "routed_scaling_factor": 2.5,
        "scoring_func": "sigmoid",
    }
    assumed: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        **{k: v for k, v in DeepseekV2.assumed.items() if k != "norm_topk_prob"},
        "scoring_func": ("sigmoid",),
        "topk_method": ("noaux_tc",),
        "rope_interleave": (True,),
    }


class KimiVL(DeepseekV3):
    """The text model of Kimi VL, whose class transformers does not have."""

    hf_classes = ("KimiVLForConditionalGeneration",)
    fills_head_size = False


def _gating(facts: Facts) -> str:
    """The gating function of the experts.

    Old files have no key for it: they are DeepSeek V2, or GLM 4.7 Flash, which
    llama.cpp knows by its layers and tokens.

    Raises:
        FormatError: the metadata has a number that no gating function has.
    """
    is_glm = int(facts.n_layers) in (47, 48) and facts.vocabulary == GLM_TOKENS
    return gating_of(facts, "sigmoid" if is_glm else "softmax")


def _shared_size(facts: Facts, layer: int) -> Size:
    """The width inside the shared expert, which is several experts in one."""
    return facts.layer_size(EXPERT_SIZE, layer) * facts.size("expert_shared_count")
