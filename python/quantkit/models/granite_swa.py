"""Granite with sliding windows in most layers, attention sinks, and maybe experts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

from ..errors import UnsupportedModelError
from ..forward.base import Config
from ..forward.claims import Claims
from ..forward.facts import Facts
from ..forward.traits import Experts, Traits
from ..forward.windows import PATTERN, WINDOW, windowed_layers
from ..gguf.keys import Field, ValueType, array, uint32
from ..settings import FLAG, checked, list_of, shown
from .config import n_layers, required
from .family import DECODER_LAYER
from .granite import SHARED_SIZE, Granite

__all__ = ["GraniteMoeSwa", "GraniteSwa"]

ROPE_PATTERN = "attention.rope_pattern"
FULL, SLIDING = "full_attention", "sliding_attention"
PERIOD = 4
"""The first of each so many layers has full attention, if the config does not tell."""


class GraniteSwa(Granite):
    """The architecture that llama.cpp calls `granite_swa`."""

    name = "granite_swa"
    hf_classes: ClassVar[tuple[str, ...]] = ("GraniteSWAForCausalLM",)
    defaults: ClassVar = {
        **Granite.defaults,
        "rms_norm_eps": 1e-5,
        "max_position_embeddings": 8192,
        "num_key_value_heads": 4,
        "tie_word_embeddings": True,
        "sliding_window": 128,
    }
    layer_types = (FULL, SLIDING)
    unnamed_weights = (".sinks", ".gate_up_proj", ".experts.down_proj")
    inner: ClassVar = {**DECODER_LAYER, "self_attn.sinks": "attn_sinks"}
    layout: ClassVar = replace(Granite.layout, sinks="required")

    def complete(self, config: Config) -> dict[str, Any]:
        """The config, with missing keys set to the defaults of its class."""
        whole = super().complete(config)
        if not whole.get("layer_types"):
            whole["layer_types"] = [
                SLIDING if layer % PERIOD else FULL for layer in range(n_layers(whole))
            ]
        return whole

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            UnsupportedModelError: layers rotate by different bases.
        """
        super().check_settings(config)
        bases = {base for base in config.get("layer_rope_theta") or () if base}
        rope = config.get("rope_parameters") or {}
        base = rope.get("rope_theta", config.get("rope_theta", config["default_theta"]))
        if bases - {base}:
            raise UnsupportedModelError(
                f"config.json has layer_rope_theta: {shown(config['layer_rope_theta'])}"
                f", and rope_theta {shown(base)}; for this architecture GGUF readers "
                "support only one base for all layers that rotate"
            )

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        windows = [kind == SLIDING for kind in config["layer_types"]]
        fields = {
            **super().hyperparameters(config, file_type),
            WINDOW: uint32(required(config, "sliding_window")),
            PATTERN: array(ValueType.BOOL, windows),
        }
        rotating = _rotating_layers(config)
        if rotating:
            fields[ROPE_PATTERN] = array(ValueType.BOOL, rotating)
        return fields

    def traits(self, facts: Facts, claims: Claims) -> Traits:
        """The traits of the forward pass."""
        traits = super().traits(facts, claims)
        layout = traits.layout
        if traits.experts is not None:
            layout = replace(layout, gate="fused")
        return replace(
            traits,
            layout=layout,
            window=facts.size(WINDOW),
            windowed=windowed_layers(facts, PERIOD),
            rotates=_rotates(facts),
        )

    def experts_of(self, facts: Facts) -> Experts | None:
        """The experts of the forward pass."""
        experts = super().experts_of(facts)
        return None if experts is None else replace(experts, joint=True)


class GraniteMoeSwa(GraniteSwa):
    """The same with experts."""

    hf_classes = ("GraniteMoeSWAForCausalLM",)
    defaults: ClassVar = {
        **GraniteSwa.defaults,
        "rms_norm_eps": 1e-6,
        "max_position_embeddings": 2048,
        "num_key_value_heads": None,
        "tie_word_embeddings": False,
        "num_local_experts": 8,
        "num_experts_per_tok": 2,
    }
    inner: ClassVar = {
        **{k: v for k, v in GraniteSwa.inner.items() if not k.startswith("mlp.")},
        "block_sparse_moe.router": "ffn_gate_inp",
        "block_sparse_moe.router.layer": "ffn_gate_inp",
        "block_sparse_moe.experts.gate_up_proj": "ffn_gate_up_exps",
        "block_sparse_moe.experts.down_proj": "ffn_down_exps",
        "block_sparse_moe.input_linear": "ffn_gate_up_exps",
        "block_sparse_moe.output_linear": "ffn_down_exps",
        "shared_mlp.input_linear": "ffn_up_shexp",
        "shared_mlp.output_linear": "ffn_down_shexp",
    }

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        fields = super().hyperparameters(config, file_type)
        if config.get("shared_intermediate_size"):
            fields[SHARED_SIZE] = uint32(config["shared_intermediate_size"])
        return fields


def _rotating_layers(config: Config) -> list[bool]:
    """Which layers rotate; empty: all do, and no key says it.

    llama.cpp's converter knows only `no_rope_layers`; transformers writes a base of 0.
    """
    if config.get("no_rope_layers"):
        return [bool(flag) for flag in config["no_rope_layers"]]
    bases = config.get("layer_rope_theta") or ()
    return [base != 0 for base in bases] if 0 in bases else []


def _rotates(facts: Facts) -> Callable[[int], bool]:
    """A function from layer number to whether the layer rotates."""
    values = facts.layer_values(ROPE_PATTERN)
    if values is None:
        return lambda layer: True
    checked(values, list_of(FLAG), facts.key(ROPE_PATTERN))
    return lambda layer: bool(values[layer])
