"""Hunyuan with experts and a shared expert: the dense model's attention."""

from __future__ import annotations

from typing import Any, ClassVar

from ..errors import UnsupportedModelError
from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.experts import EXPERT_SIZE, load_experts
from ..forward.facts import Facts
from ..forward.rotary import Rotary
from ..forward.sizes import Size
from ..forward.traits import Traits
from ..gguf.keys import Field, uint32
from ..settings import shown
from .config import required, text_fields
from .family import EXPERT_MATRICES
from .hunyuan import HunYuanDense, stretched_fields
from .rope_config import rope_parameters

__all__ = ["HunYuanMoe"]

SHARED_SIZE = "expert_shared_feed_forward_length"
BY_LAYER = ("moe_topk", "moe_intermediate_size", "num_shared_expert")
"""Settings that are one number, or one for each layer."""


class HunYuanMoe(HunYuanDense):
    """The architecture that llama.cpp calls `hunyuan-moe`."""

    name = "hunyuan-moe"
    hf_classes = ("HunYuanMoEV1ForCausalLM",)
    defaults: ClassVar[dict[str, Any]] = {
        **HunYuanDense.defaults,
        "num_experts": 1,
        "moe_topk": 1,
        "num_shared_expert": 1,
    }
    assumed: ClassVar[dict[str, tuple[Any, ...]]] = {
        **HunYuanDense.assumed,
        "moe_layer_num_skipped": (0,),
        "use_mixed_mlp_moe": (True,),
        "use_qk_norm": (True,),
    }
    inner: ClassVar = {
        **HunYuanDense.inner,
        "mlp.gate.wg": "ffn_gate_inp",
        "mlp.shared_mlp.gate_proj": "ffn_gate_shexp",
        "mlp.shared_mlp.up_proj": "ffn_up_shexp",
        "mlp.shared_mlp.down_proj": "ffn_down_shexp",
    }
    experts: ClassVar = EXPERT_MATRICES

    def complete(self, config: Config) -> dict[str, Any]:
        """The complete config, with one number for settings of each layer.

        Raises:
            UnsupportedModelError: layers differ, or experts from the shared one; GGUF
                readers have one number for all.
        """
        whole = super().complete(config)
        size = required(whole, "intermediate_size")
        whole.setdefault("moe_intermediate_size", size)
        for key in BY_LAYER:
            values = whole[key] if isinstance(whole[key], list) else [whole[key]]
            if len(set(values)) != 1:
                raise UnsupportedModelError(
                    f"config.json has {key}: {shown(values)}; for this architecture "
                    "GGUF readers support only layers that are alike"
                )
            whole[key] = values[0]
        for key, value in (("moe_intermediate_size", size), ("num_shared_expert", 1)):
            if whole[key] != value:
                raise UnsupportedModelError(
                    f"config.json has {key}: {shown(whole[key])}; for this "
                    f"architecture GGUF readers support only {value}"
                )
        return whole

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        counts = {
            SHARED_SIZE: required(config, "intermediate_size"),
            EXPERT_SIZE: required(config, "moe_intermediate_size"),
            "expert_used_count": required(config, "moe_topk"),
            "expert_shared_count": required(config, "num_shared_expert"),
        }
        fields = {
            **text_fields(config, file_type),
            **{key: uint32(value) for key, value in counts.items()},
        }
        if rope_parameters(config)["rope_type"] == "dynamic":
            fields |= stretched_fields(config)
        return fields

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""

        def shared_size(layer: int) -> Size:
            stated = facts.count(SHARED_SIZE, 0)
            return facts.size(SHARED_SIZE) if stated else facts.inner_size(layer)

        traits = Traits(
            epsilon=facts.rms_epsilon,
            layout=self.layout,
            rotary=Rotary.load(facts, claims, self.layout),
            norm_after_rotary=True,
            experts=load_experts(
                facts, normed=True, size=facts.inner_size, shared_size=shared_size
            ),
        )
        return load_decoder(facts, claims, traits)
