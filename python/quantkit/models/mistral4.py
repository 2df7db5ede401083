"""Mistral 4: DeepSeek's latent attention and experts, with growing queries.

The vision parts of the checkpoints are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from ..checkpoint.lazy import LazyTensor
from ..forward.base import Config
from ..forward.claims import Claims
from ..forward.facts import Facts
from ..forward.temperature import LENGTH, SCALE
from ..forward.traits import Traits
from ..gguf.keys import Field, float32, uint32
from .config import require_setting, required
from .deepseek import DeepseekV2
from .family import SILU, Named
from .mistral3 import BETA, MINISTRAL_ROPE
from .rope_config import ORIGINAL, rope_parameters, rope_setting

__all__ = ["Mistral4"]

ROPE = {**MINISTRAL_ROPE, "rope_theta": 1e4, "factor": 128.0, ORIGINAL: 8192}
"""The rope settings of a config without any."""
FUSED = (".experts.gate_up_proj", ".experts.down_proj")


class Mistral4(DeepseekV2):
    """The architecture that llama.cpp calls `mistral4`."""

    name = "mistral4"
    hf_classes = ("Mistral3ForConditionalGeneration",)
    model_types = ("mistral4",)
    defaults: ClassVar = {
        "rms_norm_eps": 1e-6,
        "max_position_embeddings": 1048576,
        "num_key_value_heads": 32,
        "moe_intermediate_size": 2048,
        "n_shared_experts": 1,
        "n_routed_experts": 128,
        "num_experts_per_tok": 4,
        "routed_scaling_factor": 1.0,
        "kv_lora_rank": 256,
        "q_lora_rank": 1024,
        "qk_rope_head_dim": 64,
        "qk_nope_head_dim": 64,
        "v_head_dim": 128,
        "n_group": 1,
        "topk_group": 1,
        "first_k_dense_replace": 0,
        "norm_topk_prob": True,
        "tie_word_embeddings": True,
    }
    inner: ClassVar = {
        **DeepseekV2.inner,
        "mlp.experts.gate_up_proj": "ffn_gate_up_exps",
        "mlp.experts.down_proj": "ffn_down_exps",
    }
    experts: ClassVar = {}
    rope_types = ("yarn",)
    rotates_partly = True
    assumed: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        **SILU,
        "attention_bias": (False,),
        "rope_interleave": (True,),
    }

    def complete(self, config: Config) -> dict[str, Any]:
        """The config, with missing keys set to the defaults of its class."""
        given = dict(config)
        if not given.get("rope_parameters") and not given.get("rope_scaling"):
            given["rope_parameters"] = dict(ROPE)
        whole = super().complete({**given, "head_dim": 1})
        return {**whole, "head_dim": config.get("head_dim") or _head_size(whole)}

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            UnsupportedModelError: the config has such a setting.
        """
        size, n_turned = _head_size(config), required(config, "qk_rope_head_dim")
        require_setting(config, "head_dim", size)
        super().check_settings({**config, "head_dim": n_turned})
        parameters = rope_parameters(config)
        require_setting(parameters, "mscale_all_dim", 1.0)
        require_setting(parameters, "partial_rotary_factor", n_turned / size)

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order.

        Its converter leaves out how queries grow, which its reader knows.
        """
        parameters = rope_parameters(config)
        return {
            **super().hyperparameters(config, file_type),
            SCALE: float32(rope_setting(parameters, BETA)),
            LENGTH: uint32(rope_setting(parameters, ORIGINAL)),
        }

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensors of a checkpoint tensor; experts are stacked already."""
        if source.endswith(FUSED):
            source = f"{source}.weight"
        yield from super().converted(source, tensor, config)

    def traits(self, facts: Facts, claims: Claims) -> Traits:
        """The model's traits."""
        traits = super().traits(facts, claims)
        assert traits.experts is not None
        return replace(
            traits,
            experts=replace(traits.experts, joint=True, group_best=2),
        )


def _head_size(config: Config) -> int:
    """The size of a query or key head."""
    parts = ("qk_nope_head_dim", "qk_rope_head_dim")
    return sum(int(required(config, part)) for part in parts)
