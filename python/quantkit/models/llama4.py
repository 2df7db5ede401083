"""Llama 4: experts in some layers, chunks of attention, layers without rotation.

Three of four layers rotate, see only the keys of their chunk of positions, and
normalize queries and keys after the rotation.  The fourth sees everything, and its
queries grow with the logarithm of their position.  GGUF has keys only for the layers
that have experts; readers take the rest for granted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import ClassVar

from ..checkpoint.lazy import LazyTensor, transposed
from ..forward.base import Config
from ..forward.claims import Claims
from ..forward.experts import EXPERT_SIZE, load_experts
from ..forward.facts import Facts
from ..forward.layout import Layout
from ..forward.rotary import WINDOW_BASE_KEY, Rotary
from ..forward.temperature import Temperature
from ..forward.traits import Experts, Traits, nowhere
from ..forward.windows import WINDOW, windowed_layers
from ..gguf.keys import Field, uint32
from .config import n_layers, require_setting, required
from .family import DECODER_LAYER, Named
from .fused_experts import split_gate_up
from .llama import Llama

__all__ = ["Llama4"]

INTERVAL = "no_rope_layer_interval"
STEP = "interleave_moe_layer_step"
CHUNK = 8192
PERIOD = 4
UNNORMED_EXPERTS = 128
"""The number of experts of the one model without norms of queries and keys."""
EVERYWHERE = "full_attention"
PARTS = ("gate_proj", "up_proj", "down_proj")


def _in_group(group: str, tail: str) -> dict[str, str]:
    """The names of three matrices of the feed-forward part."""
    at = f"feed_forward.{group}"
    return {f"{at}{part}": f"ffn_{part.removesuffix('_proj')}{tail}" for part in PARTS}


class Llama4(Llama):
    """The architecture that llama.cpp calls `llama4`."""

    name = "llama4"
    hf_classes = ("Llama4ForCausalLM", "Llama4ForConditionalGeneration")
    layer_types: ClassVar[tuple[str, ...]] = ("chunked_attention", EVERYWHERE)
    defaults: ClassVar = {
        "rms_norm_eps": 1e-5,
        "max_position_embeddings": 131072,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "num_local_experts": 16,
        "num_experts_per_tok": 1,
        STEP: 1,
        "use_qk_norm": True,
        INTERVAL: PERIOD,
        "default_theta": 5e5,
    }
    assumed: ClassVar = {
        **Llama.assumed,
        "attention_bias": (False,),
        "attention_chunk_size": (CHUNK,),
        "attn_temperature_tuning": (True,),
        "attn_scale": (0.1,),
        "floor_scale": (CHUNK,),
    }
    inner: ClassVar = {
        **{k: v for k, v in DECODER_LAYER.items() if not k.startswith("mlp.")},
        "feed_forward.router": "ffn_gate_inp",
        **_in_group("", ""),
        **_in_group("experts.", "_exps"),
        **_in_group("shared_expert.", "_shexp"),
    }
    layout: ClassVar[Layout] = Layout(frequencies="optional")

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            UnsupportedModelError: the config has such a setting.
        """
        super().check_settings(config)
        count, step = (required(config, key) for key in ("num_local_experts", STEP))
        require_setting(config, "use_qk_norm", count != UNNORMED_EXPERTS)
        layers, is_plain = range(n_layers(config)), _rotates_everywhere(config)
        rotated = [int(is_plain or _rotates(layer)) for layer in layers]
        if not config.get("no_rope_layers"):
            require_setting(config, INTERVAL, PERIOD)
        if not is_plain:
            require_setting(
                config, "layer_types", [self.layer_types[not x] for x in rotated]
            )
        require_setting(config, "no_rope_layers", rotated, [])
        have = [layer for layer in layers if step and (layer + 1) % step == 0]
        require_setting(config, "moe_layers", have)

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        inner = required(config, "intermediate_size_mlp")
        whole = {**config, "intermediate_size": inner}
        fields = {
            **super().hyperparameters(whole, file_type),
            STEP: uint32(config[STEP]),
            EXPERT_SIZE: uint32(required(config, "intermediate_size")),
        }
        if _rotates_everywhere(config):
            fields[WINDOW] = uint32(0)
        return fields

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensors of a checkpoint tensor; experts are stored transposed."""
        before, _, part = source.removesuffix(".weight").rpartition(".")
        if not before.endswith(".experts"):
            yield self.gguf_name(source, config), tensor
            return
        tensor = transposed(tensor)
        parts = split_gate_up(tensor) if part == "gate_up_proj" else {part: tensor}
        for part, matrix in parts.items():
            yield self.gguf_name(f"{before}.{part}.weight", config), matrix

    def traits(self, facts: Facts, claims: Claims) -> Traits:
        """The traits of the forward pass."""
        is_chunked = facts.count(WINDOW, CHUNK) != 0
        rotates = _rotates if is_chunked else _everywhere
        is_normed = facts.count("expert_count", 0) != UNNORMED_EXPERTS
        return replace(
            super().traits(facts, claims),
            rotates=rotates,
            windowed_rotary=Rotary.load(
                facts, claims, self.layout, base_key=WINDOW_BASE_KEY
            ),
            norm_after_rotary=True,
            normed_heads=rotates if is_normed else nowhere,
            temperature=Temperature(0.1, CHUNK, offset=1),
            tempers=lambda layer: not rotates(layer),
            chunk=CHUNK if is_chunked else None,
            windowed=windowed_layers(facts, PERIOD) if is_chunked else nowhere,
        )

    def experts_of(self, facts: Facts) -> Experts | None:
        """The experts of the forward pass; None: the feed-forward part is dense."""
        if not facts.count("expert_count", 0):
            return None
        return load_experts(
            facts,
            gating="sigmoid",
            weighs_inputs=True,
            has=_with_experts(facts),
            shared_size=lambda layer: facts.layer_size(EXPERT_SIZE, layer),
        )


def _rotates_everywhere(config: Config) -> bool:
    """Whether no layer has chunks, as in the models without experts."""
    kinds = config.get("layer_types") or ()
    return bool(kinds) and all(kind == EVERYWHERE for kind in kinds)


def _rotates(layer: int) -> bool:
    return (layer + 1) % PERIOD != 0


def _everywhere(layer: int) -> bool:
    return True


def _with_experts(facts: Facts) -> Callable[[int], bool]:
    """Which layers have experts."""
    step = facts.count(STEP)
    return lambda layer: step > 0 and (layer + 1) % step == 0
