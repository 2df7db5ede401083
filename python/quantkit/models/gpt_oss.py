"""gpt-oss: experts with biases, attention sinks, a sliding window in every other layer.

The experts' gate and up matrices are fused with alternating rows.  Published
checkpoints store the experts in MXFP4, which is written to GGUF unchanged; others store
them transposed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from ..checkpoint.lazy import LazyTensor, reshaped, taken, transposed
from ..errors import UnsupportedModelError
from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.experts import load_experts
from ..forward.facts import Facts
from ..forward.layout import Layout
from ..forward.rotary import WINDOW_BASE_KEY, Rotary
from ..forward.traits import Traits
from ..forward.windows import WINDOW, windowed_layers
from ..gguf.keys import Field, uint32
from ..settings import shown
from ..types import QuantType
from .config import n_layers, required, text_fields
from .family import DECODER_LAYER, Family, Named, Tensors
from .windows import layer_windows

__all__ = ["GptOss"]

GATE_UP, DOWN = ".mlp.experts.gate_up_proj", ".mlp.experts.down_proj"
# Every second layer has full attention.
PERIOD = 2
DEFAULT_ROPE = {
    "rope_parameters": {
        "rope_type": "yarn",
        "factor": 32.0,
        "beta_fast": 32.0,
        "beta_slow": 1.0,
        "truncate": False,
        "original_max_position_embeddings": 4096,
    }
}


class GptOss(Family):
    """The architecture that llama.cpp calls `gpt-oss`.

    GGUF stores the norm before the feed-forward part as `post_attention_norm`.
    """

    name = "gpt-oss"
    hf_classes = ("GptOssForCausalLM",)
    defaults: ClassVar = {"rms_norm_eps": 1e-5, "head_dim": 64, "sliding_window": 128}
    renames: ClassVar = ((".sinks", ".sinks.weight"),)
    inner: ClassVar = {
        **DECODER_LAYER,
        "self_attn.sinks": "attn_sinks",
        "post_attention_layernorm": "post_attention_norm",
        "mlp.router": "ffn_gate_inp",
        "mlp.experts.gate_proj": "ffn_gate_exps",
        "mlp.experts.up_proj": "ffn_up_exps",
        "mlp.experts.down_proj": "ffn_down_exps",
    }
    layout: ClassVar[Layout] = Layout(
        head="required",
        feed_forward_norm_name="post_attention_norm",
        attention_bias="required",
        sinks="required",
    )

    assumed: ClassVar = {"swiglu_alpha": (1.702,), "swiglu_limit": (7.0,)}
    rope_types = ("default", "linear", "yarn", "dynamic")
    truncates_yarn = False

    def complete(self, config: Config) -> dict[str, Any]:
        """The config, with missing keys set to the defaults of its class."""
        stated = config.get("rope_parameters") or config.get("rope_scaling")
        return super().complete(config if stated else {**config, **DEFAULT_ROPE})

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            UnsupportedModelError: the config has such a setting.
        """
        super().check_settings(config)
        windows = layer_windows(config, PERIOD)
        if windows != [layer % PERIOD == 0 for layer in range(n_layers(config))]:
            raise UnsupportedModelError(
                f"config.json has layer_types: {shown(config.get('layer_types'))}; for "
                "this architecture GGUF readers use a window in every other layer, "
                "from the first"
            )

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        width = required(config, "intermediate_size")
        return {
            **text_fields(config, file_type),
            WINDOW: uint32(required(config, "sliding_window")),
            "expert_feed_forward_length": uint32(width),
        }

    def mapped(self, config: Config, stored: Tensors) -> Iterator[Named]:
        """The GGUF tensors; llama.cpp writes the MXFP4 tensors first."""
        packed = {k: v for k, v in stored.items() if v.type is QuantType.MXFP4}
        others = {k: v for k, v in stored.items() if k not in packed}
        yield from super().mapped(config, packed)
        yield from super().mapped(config, others)

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensors of a checkpoint tensor; gate and up are split."""
        if source.endswith((GATE_UP, DOWN)):
            source = f"{source}.weight"
            if tensor.type is not QuantType.MXFP4:
                tensor = transposed(tensor)
        elif source.endswith((f"{GATE_UP}_bias", f"{DOWN}_bias")):
            source = f"{source.removesuffix('_bias')}.bias"
        if f"{GATE_UP}." not in source:
            yield self.gguf_name(source, config), tensor
            return
        is_bias = source.endswith(".bias")
        if is_bias:
            tensor = reshaped(tensor, (*tensor.shape, 1))
        for first, part in enumerate(("gate_proj", "up_proj")):
            rows = np.arange(first, tensor.shape[1], 2)
            half = taken(tensor, rows, axis=1)
            name = self.gguf_name(source.replace("gate_up_proj", part), config)
            yield name, reshaped(half, half.shape[:2]) if is_bias else half

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        traits = Traits(
            epsilon=facts.rms_epsilon,
            layout=self.layout,
            activation="swiglu_clamped",
            rotary=Rotary.load(facts, claims, self.layout, truncated=False),
            windowed_rotary=Rotary.load(
                facts, claims, self.layout, truncated=False, base_key=WINDOW_BASE_KEY
            ),
            window=facts.size(WINDOW),
            windowed=windowed_layers(facts, PERIOD),
            experts=load_experts(facts, gating="softmax_of_chosen", bias="required"),
        )
        return load_decoder(facts, claims, traits)
