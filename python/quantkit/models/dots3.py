"""dots 3 note: latent attention of two kinds, gated, with an indexer or a window.

Layers with a window have other numbers of heads, other sizes and other angles.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from ..checkpoint.lazy import LazyTensor
from ..checkpoint.lazy_functions import scaled
from ..errors import CheckpointError, FormatError
from ..forward import ops
from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.experts import load_weighted_experts
from ..forward.facts import Facts
from ..forward.indexer import Indexer
from ..forward.latent_attention import (
    LatentSizes,
    latent_scale,
    load_indexed_attention,
    load_latent_attention,
)
from ..forward.layer import Mixer
from ..forward.layers import Linear, Norm
from ..forward.output_gate import OutputGate
from ..forward.rotary import WINDOW_BASE_KEY, Rotary, rotated_size
from ..forward.traits import Traits
from ..forward.windows import PATTERN, WINDOW, windowed_layers
from ..gguf.keys import Field, ValueType, array, uint32
from ..settings import shown
from .config import n_layers, require_setting, required
from .deepseek import DeepseekV2
from .deepseek_v32 import INDEXER, indexer_fields
from .dots3_config import FULL, SLIDING, as_published
from .family import SILU, Family, Named, Tensors
from .latent import split_latent
from .mtp import PREDICTORS
from .next_predictors import PREDICTOR

__all__ = ["Dots3Note"]

KINDS = "attention.indexer.types"
OWN_EMBEDDING = "model.mtp.embed_tokens.weight"
HEADS = "num_attention_heads"
HEAD_SIZES = ("qk_nope_head_dim", "v_head_dim")
RANK = "kv_lora_rank"


class Dots3Note(DeepseekV2):
    """The architecture that llama.cpp calls `dots3note`."""

    name = "dots3note"
    hf_classes = (
        "Dots3NoteForCausalLM",
        "Dots3NoteForConditionalGeneration",
        "Dots3NoteTextForCausalLM",
    )
    defaults: ClassVar[Mapping[str, Any]] = {
        "default_theta": 8e7,
        "rms_norm_eps": 1e-5,
        "max_position_embeddings": 524288,
        "norm_topk_prob": True,
        "n_group": 1,
        "topk_group": 1,
        "swa_rope_theta": 50000.0,
    }
    foreign = ("vision_encoder.", "audio_encoder.")
    layer_types = (FULL, SLIDING)
    rope_types = ("default",)
    reads = (
        "attention.key_length_swa",
        "attention.value_length_swa",
    )
    inner: ClassVar = {
        **DeepseekV2.inner,
        **INDEXER,
        **PREDICTOR,
        "self_attn.k_rope_only_layernorm": "attn_k_norm",
        "self_attn.g_proj": "attn_gate",
    }
    assumed: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        **SILU,
        "use_dsa": (True,),
        "normalization": ("RMSNorm",),
        "final_norm": ("RMSNorm",),
        "k_rope_only_layernorm": (True,),
        "scoring_func": ("sigmoid",),
        "topk_method": ("noaux_tc",),
        "n_group": (1,),
        "use_dynamic_rsf": (False,),
        "moe_gating_fp32": (False,),
        "attention_gate_type": ("headwise",),
        "swa_attention_gate_type": ("headwise",),
        "moe_layer_freq": (1,),
        "attention_bias": (False,),
        "mlp_bias": (False,),
    }

    def complete(self, config: Config) -> dict[str, Any]:
        """The complete config; no metadata is made of `head_dim`."""
        own = {k: v for k, v in as_published(config).items() if v is not None}
        return {**Family.complete(self, own), "head_dim": None}

    def extended(self, config: Config, stored: Tensors) -> Config:
        """The config, with the number of layers that predict further tokens."""
        return {**config, PREDICTORS: int(OWN_EMBEDDING in stored)}

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            CheckpointError: a setting is missing.
            UnsupportedModelError: the config has such a setting.
        """
        Family.check_settings(self, config)
        n_keys, n_turned = (
            required(config, f"swa_{key}")
            for key in ("qk_nope_head_dim", "qk_rope_head_dim")
        )
        require_setting(config, "swa_head_dim", n_keys + n_turned)
        require_setting(
            config, "swa_qk_rope_head_dim", required(config, "qk_rope_head_dim")
        )
        require_setting(config, "swa_q_lora_rank", required(config, "q_lora_rank"))
        for key in ("scoring_func", "layer_types", "apply_mla_qkv_lora_rescale"):
            required(config, key)

    def n_blocks(self, config: Config) -> int:
        """The number of layers, with those that only predict further tokens."""
        return n_layers(config) + int(config.get(PREDICTORS) or 0)

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        numbers = range(self.n_blocks(config))
        heads = [self.of_layer(config, number, HEADS) for number in numbers]
        windowed = [_is_windowed(config, number) for number in range(n_layers(config))]
        rank, n_keys, n_turned, n_values = (
            required(config, f"swa_{key}")
            for key in (RANK, "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim")
        )
        counts = {
            f"{RANK}_swa": rank,
            "key_length_swa": rank + n_turned,
            "value_length_swa": rank,
            "key_length_mla_swa": n_keys + n_turned,
            "value_length_mla_swa": n_values,
        }
        n_predictors = int(config.get(PREDICTORS) or 0)
        return {
            **super().hyperparameters(config, file_type),
            "block_count": uint32(self.n_blocks(config)),
            "attention.head_count": array(ValueType.INT32, heads),
            WINDOW: uint32(required(config, "sliding_window_size")),
            PATTERN: array(ValueType.BOOL, windowed),
            **{f"attention.{key}": uint32(value) for key, value in counts.items()},
            **({"nextn_predict_layers": uint32(n_predictors)} if n_predictors else {}),
            **indexer_fields(config),
            KINDS: array(ValueType.BOOL, [not window for window in windowed]),
        }

    def of_layer(self, config: Config, number: int, key: str) -> Any:
        """A setting of a layer."""
        start = "swa_" if _is_windowed(config, number) else ""
        return required(config, f"{start}{key}")

    def mapped(self, config: Config, stored: Tensors) -> Iterator[Named]:
        """The GGUF tensors; those of layers that predict further tokens are kept."""
        moved = f"model.layers.{n_layers(config)}.embed_tokens.weight"
        yield from Family.mapped(
            self,
            config,
            {moved if k == OWN_EMBEDDING else k: v for k, v in stored.items()},
        )

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensors of a checkpoint tensor."""
        match = self.layer.fullmatch(source.removesuffix(".weight"))
        if match is None:
            yield self.gguf_name(source, config), tensor
            return
        number = int(match[1])
        if config["apply_mla_qkv_lora_rescale"]:
            rank = 0
            if match[2] == "self_attn.q_a_layernorm":
                rank = required(config, "q_lora_rank")
            if match[2] == "self_attn.kv_a_layernorm":
                rank = self.of_layer(config, number, RANK)
            if rank:
                share = required(config, "hidden_size") / rank
                tensor = scaled(tensor, math.sqrt(share))
        own = {key: self.of_layer(config, number, key) for key in (HEADS, *HEAD_SIZES)}
        own["num_key_value_heads"] = None
        for name, made in split_latent(source, tensor, {**config, **own}):
            yield self.gguf_name(name, config), made

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors.

        Raises:
            FormatError: other layers have an indexer than those without a window.
        """
        windowed = windowed_layers(facts, 1)
        kinds = facts.layer_values(KINDS)
        if kinds != [not windowed(number) for number in range(facts.n_layers)]:
            raise FormatError(
                f"{facts.key(KINDS)} is {shown(kinds)}; expected an array with true "
                "for the layers that have no window"
            )
        traits = Traits(
            epsilon=facts.rms_epsilon,
            layout=self.layout,
            rotary=Rotary.load(facts, claims, self.layout),
            attention_scale=latent_scale(facts),
            window=facts.size(WINDOW),
            windowed=windowed,
            experts=load_weighted_experts(facts, choice_bias="required"),
        )
        return load_decoder(facts, claims, traits, _load_mixer)


def _is_windowed(config: Config, number: int) -> bool:
    """Whether a layer has a window; those that predict further tokens have one."""
    kinds = required(config, "layer_types")
    if len(kinds) < n_layers(config):
        raise CheckpointError(
            f"config.json: layer_types has {len(kinds)} items; expected "
            f"{n_layers(config)}, one per layer"
        )
    return number >= n_layers(config) or bool(kinds[number] == SLIDING)


def _load_mixer(facts: Facts, claims: Claims, number: int, traits: Traits) -> Mixer:
    """Gated latent attention, with an indexer or a window."""
    if traits.windowed(number):
        sizes = LatentSizes(
            facts.size(f"attention.{RANK}_swa"),
            facts.size("attention.key_length_mla_swa"),
            facts.size("attention.value_length_mla_swa"),
        )
        own = replace(
            traits,
            rotary=Rotary.load(facts, claims, traits.layout, base_key=WINDOW_BASE_KEY),
            attention_scale=sizes.key**-0.5,
        )
        attention = load_latent_attention(facts, claims, number, own, sizes)
        attention = replace(attention, window=traits.window)
    else:
        attention = load_indexed_attention(facts, claims, number, traits)
        assert isinstance(attention.indexer, Indexer)
        indexer = replace(attention.indexer, interleaved=True)
        attention = replace(attention, indexer=indexer)
    at, n_heads = f"blk.{number}.attn_", facts.n_heads(number)
    n_turned = rotated_size(facts, facts.size("attention.key_length_mla"))
    weight = claims.vector(f"{at}k_norm.weight", n_turned)
    gate = Linear.of(claims, f"{at}gate", n_heads, facts.width)
    return replace(
        attention,
        gate=OutputGate(gate, ops.sigmoid),
        turned_norm=Norm(weight, None, traits.epsilon, centered=False),
    )
