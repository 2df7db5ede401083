"""Muse Glimmer: gated attention, windows in three of four layers, normed embeddings.

Norm weights are stored minus one, except the last.  Queries and keys are normalized
without weights, and queries multiplied by a constant, which GGUF stores as the weights
of their norm.  Only layers with a window rotate.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np

from ..checkpoint.lazy import LazyTensor, computed, taken
from ..checkpoint.lazy_functions import plus
from ..errors import UnsupportedModelError
from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.facts import Facts
from ..forward.layout import Layout
from ..forward.rotary import WINDOW_BASE_KEY, Rotary
from ..forward.traits import Traits
from ..forward.windows import PATTERN, WINDOW, windowed_layers
from ..gguf.keys import Field, ValueType, array, float32, uint32
from ..settings import shown
from .config import head_size, n_layers, required, text_fields
from .family import DECODER_LAYER, Family, Named
from .llama import interleaved_rows
from .windows import layer_windows

__all__ = ["MuseGlimmer"]

PERIOD = 4
"""The last layer, and every fourth before it, has full attention."""

POST_EPSILON = 1e-8
"""That of the norms after the parts; GGUF has no key for it."""

LOGIT_CAP, LOGIT_SCALE = "final_logit_softcapping", "logit_scale"


class MuseGlimmer(Family):
    """The architecture that llama.cpp calls `muse-glimmer`; only the text model."""

    name = "muse-glimmer"
    hf_classes: ClassVar[tuple[str, ...]] = ("MuseGlimmerForConditionalGeneration",)
    defaults: ClassVar[Mapping[str, Any]] = {
        "max_position_embeddings": 131072,
        "num_attention_heads": 32,
        "num_key_value_heads": 2,
        "head_dim": 128,
        "rms_norm_eps": 1e-5,
        "sliding_window": 2048,
        LOGIT_CAP: 20.0,
        "qk_scale_factor": 3.87,
        "output_multiplier": 0.19611613513818404,
    }
    assumed: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "hidden_activation": ("silu",),
        "post_norm_eps": (POST_EPSILON,),
        "attention_bias": (False,),
    }
    foreign = ("vision_tower.", "vision_adapter.", "vision_projection.")
    inner: ClassVar = {
        **DECODER_LAYER,
        "self_attn.gate_proj": "attn_gate",
        "post_attention_layernorm": "post_attention_norm",
        "pre_feedforward_layernorm": "ffn_norm",
        "post_feedforward_layernorm": "post_ffw_norm",
    }
    layout: ClassVar[Layout] = Layout(
        head="required",
        query_bias="none",
        query_norms="required",
        attention_gate="components",
        output_norms="required",
    )

    def complete(self, config: Config) -> dict[str, Any]:
        """The complete config, with a list of layer types."""
        whole = super().complete(config)
        if whole.get("layer_types") is None:
            last = n_layers(whole) - 1
            whole["layer_types"] = [
                "sliding_attention" if (last - i) % PERIOD else "full_attention"
                for i in range(last + 1)
            ]
        return whole

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            UnsupportedModelError: other layers rotate than those with a window, or
                rope settings are such that readers would use others.
        """
        super().check_settings(config)
        bases = config.get("layer_rope_theta")
        if bases is None:
            last = n_layers(config) - 1
            rotating = [bool((last - i) % PERIOD) for i in range(last + 1)]
        else:
            rotating = [bool(base) for base in bases]
        if rotating != layer_windows(config, 1):
            raise UnsupportedModelError(
                f"config.json has layer_rope_theta: {shown(bases)} and layer_types: "
                f"{shown(config['layer_types'])}; for this architecture GGUF readers "
                "rotate the layers with 'sliding_attention', and no others"
            )

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        return {
            **text_fields(config, file_type),
            LOGIT_CAP: float32(required(config, LOGIT_CAP)),
            LOGIT_SCALE: float32(required(config, "output_multiplier")),
            WINDOW: uint32(required(config, "sliding_window")),
            PATTERN: array(ValueType.BOOL, layer_windows(config, 1)),
        }

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensors of a checkpoint tensor: its own, and those of the norms."""
        module = source.rpartition(".")[0]
        if module.endswith("layernorm"):
            tensor = plus(tensor, 1.0)
        if module.endswith((".self_attn.q_proj", ".self_attn.k_proj")):
            is_query = module.endswith(".q_proj")
            key = "num_attention_heads" if is_query else "num_key_value_heads"
            rows = interleaved_rows(source, tensor, required(config, key))
            tensor = taken(tensor, rows)
            if is_query:
                yield from self._norms(source, config)
        yield self.gguf_name(source, config), tensor

    def _norms(self, source: str, config: Config) -> Iterator[Named]:
        """The norms of queries and keys in the layer of a query projection."""
        ones = np.ones(head_size(config), np.float32)
        factor = np.float32(required(config, "qk_scale_factor"))
        for part, weight in (("q_norm", ones * factor), ("k_norm", ones)):
            name = source.replace("q_proj", part)
            yield self.gguf_name(name, config), computed(weight)

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        windowed = windowed_layers(facts, PERIOD)
        traits = Traits(
            epsilon=facts.rms_epsilon,
            layout=self.layout,
            normed_embedding=True,
            output_epsilon=POST_EPSILON,
            rotary=Rotary.load(facts, claims, self.layout, base_key=WINDOW_BASE_KEY),
            interleaved=True,
            rotates=windowed,
            window=facts.size(WINDOW),
            windowed=windowed,
            logit_scale=facts.number(LOGIT_SCALE),
            logit_cap=facts.number(LOGIT_CAP, 0.0) or None,
        )
        return load_decoder(facts, claims, traits)
