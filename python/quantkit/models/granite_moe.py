"""Granite 3 and 4 with experts, and with Mamba-2 in most layers.

Gate and up are stored in one tensor, gate's rows first.  Granite 4 without Mamba-2
layers has the architecture of Granite 3 in GGUF.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np

from ..checkpoint.lazy import LazyTensor, taken
from ..errors import UnsupportedModelError
from ..forward.attention import load_attention
from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.facts import Facts
from ..forward.layer import Mixer
from ..forward.mamba import load_mamba2
from ..forward.traits import Traits
from ..gguf.keys import Field, ValueType, array, boolean, uint32
from .config import n_layers, required
from .family import DECODER_LAYER, Named
from .granite import SHARED_SIZE, Granite
from .space_tensors import ARBITRARY_CONTEXT, BARE, UNBOUNDED, as_stored, mamba2_names

__all__ = ["Granite4", "Granite4Moe", "GraniteHybrid", "GraniteMoe"]

KV_HEADS = "attention.head_count_kv"
SPACE, ATTENTION = ("mamba", "linear_attention"), ("attention", "full_attention")

STACKED = "block_sparse_moe.input_linear"
SHARED = "shared_mlp.input_linear"
HALVES = {STACKED: "block_sparse_moe", SHARED: "shared_mlp"}
"""Modules with gate and up -> what their halves belong to."""


class GraniteMoe(Granite):
    """The architecture that llama.cpp calls `granitemoe`."""

    name = "granitemoe"
    hf_classes: ClassVar[tuple[str, ...]] = (
        "GraniteMoeForCausalLM",
        "GraniteMoeSharedForCausalLM",
    )
    defaults: ClassVar = {
        **Granite.defaults,
        "num_local_experts": 8,
        "num_experts_per_tok": 2,
    }
    inner: ClassVar[Mapping[str, str]] = {
        **{k: v for k, v in DECODER_LAYER.items() if not k.startswith("mlp.")},
        "block_sparse_moe.router.layer": "ffn_gate_inp",
        "block_sparse_moe.gate": "ffn_gate_exps",
        "block_sparse_moe.up": "ffn_up_exps",
        "block_sparse_moe.output_linear": "ffn_down_exps",
        "shared_mlp.gate": "ffn_gate_shexp",
        "shared_mlp.up": "ffn_up_shexp",
        "shared_mlp.output_linear": "ffn_down_shexp",
    }

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        fields = super().hyperparameters(config, file_type)
        if config.get("shared_intermediate_size"):
            fields[SHARED_SIZE] = uint32(config["shared_intermediate_size"])
        return fields

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensors of a checkpoint tensor; gate and up are taken apart."""
        module = source.removesuffix(".weight")
        for end, part in HALVES.items():
            if module.endswith(f".{end}"):
                axis = len(tensor.shape) - 2
                halves = np.split(
                    np.arange(tensor.shape[axis]), [tensor.shape[axis] // 2]
                )
                for half, rows in zip(("gate", "up"), halves, strict=True):
                    name = f"{module.removesuffix(end)}{part}.{half}.weight"
                    yield self.gguf_name(name, config), taken(tensor, rows, axis)
                return
        yield from super().converted(source, tensor, config)


class GraniteHybrid(GraniteMoe):
    """The architecture that llama.cpp calls `granitehybrid`."""

    name = "granitehybrid"
    hf_classes = ("GraniteMoeHybridForCausalLM",)
    defaults: ClassVar = {
        **GraniteMoe.defaults,
        "shared_intermediate_size": 1024,
        "mamba_n_heads": 128,
        "mamba_n_groups": 1,
        "mamba_d_state": 256,
        "mamba_d_conv": 4,
        "mamba_expand": 2,
    }
    assumed: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        **GraniteMoe.assumed,
        "time_step_limit": UNBOUNDED,
        "position_embedding_type": ("nope",),
    }
    layer_types = (*SPACE, *ATTENTION)
    unscaled = 1.0
    renames = ((".dt_bias", ".dt.bias"),)
    bare = BARE
    inner: ClassVar = {
        **GraniteMoe.inner,
        **mamba2_names("mamba"),
    }

    @classmethod
    def suits(cls, config: Config) -> bool:
        """Whether a config of the class is of this architecture."""
        kinds = config.get("layer_types")
        return not kinds or any(kind in SPACE for kind in kinds)

    def complete(self, config: Config) -> dict[str, Any]:
        """The config, with missing keys set to the defaults of its class."""
        whole = super().complete(config)
        if whole.get("layer_types") is None:
            whole["layer_types"] = [SPACE[0]] * n_layers(whole)
        return whole

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            UnsupportedModelError: the config has such a setting.
        """
        super().check_settings(config)
        inner = required(config, "mamba_expand") * required(config, "hidden_size")
        size = config.get("mamba_d_head")
        if (
            size not in (None, "auto")
            and size * required(config, "mamba_n_heads") != inner
        ):
            raise UnsupportedModelError(
                f"config.json: mamba_d_head is {size}; for this architecture GGUF "
                f"readers support only heads that form {inner} channels, mamba_expand "
                "times hidden_size"
            )

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        kinds = required(config, "layer_types")
        fields = super().hyperparameters(config, file_type)
        counts = {
            "ssm.conv_kernel": required(config, "mamba_d_conv"),
            "ssm.state_size": required(config, "mamba_d_state"),
            "ssm.group_count": required(config, "mamba_n_groups"),
            "ssm.inner_size": required(config, "mamba_expand")
            * required(config, "hidden_size"),
            "ssm.time_step_rank": required(config, "mamba_n_heads"),
        }
        fields |= {key: uint32(value) for key, value in counts.items()}
        n_kv_heads = required(config, "num_key_value_heads", "num_attention_heads")
        heads = [n_kv_heads * (kind in ATTENTION) for kind in kinds]
        fields[KV_HEADS] = array(ValueType.INT32, heads)
        if not config.get("num_local_experts"):
            inner = required(config, "shared_intermediate_size", "intermediate_size")
            fields["feed_forward_length"] = uint32(inner)
        rotates = all(kind in ATTENTION for kind in kinds)
        fields["rope.scaling.finetuned"] = boolean(rotates)
        if not rotates:
            fields["context_length"] = uint32(ARBITRARY_CONTEXT)
        return fields

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensors of a checkpoint tensor."""
        if ".mamba." in source:
            tensor = as_stored(source, tensor, required(config, "mamba_n_groups"))
        yield from super().converted(source, tensor, config)

    def gguf_name(self, source: str, config: Config) -> str:
        """The GGUF name of a checkpoint tensor; without experts, `shared_mlp` is all.

        Raises:
            UnsupportedModelError: the family has no such tensor.
        """
        name = super().gguf_name(source, config)
        if not config.get("num_local_experts"):
            name = name.replace("_shexp.", ".")
        return name

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        kv_heads = facts.layer_values(KV_HEADS)

        def mixer(facts: Facts, claims: Claims, number: int, traits: Traits) -> Mixer:
            if kv_heads is not None and not kv_heads[number]:
                return load_mamba2(facts, claims, number, traits)
            return load_attention(facts, claims, number, traits)

        return load_decoder(facts, claims, self.traits(facts, claims), mixer)


class Granite4(GraniteHybrid):
    """Granite 4 with attention in all layers and no experts."""

    name = "granite"
    assumed: ClassVar = {
        **GraniteHybrid.assumed,
        "position_embedding_type": ("rope",),
    }
    load = Granite.load
    has_experts: ClassVar[bool] = False

    @classmethod
    def suits(cls, config: Config) -> bool:
        """Whether a config of the class is of this architecture."""
        has_experts = bool(config.get("num_experts_per_tok", 2))
        return not GraniteHybrid.suits(config) and has_experts is cls.has_experts

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            UnsupportedModelError: the config has such a setting.
        """
        super().check_settings(config)
        if config.get("position_embedding_type") is None:
            raise UnsupportedModelError(
                "config.json has no position_embedding_type; without Mamba layers, "
                "GGUF readers support only 'rope'"
            )


class Granite4Moe(Granite4):
    """Granite 4 with attention in all layers, and experts."""

    name = "granitemoe"
    has_experts = True
