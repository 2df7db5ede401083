"""Gemma 4: heads of layers with full attention are larger, and rotate in part.

The small models (E2B, E4B) have per-layer embeddings, and their last layers use the
keys and values of earlier ones.  In the large ones, keys are also the values in layers
with full attention; one (26B-A4B) has experts beside a dense feed-forward part.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from ..checkpoint.lazy import LazyTensor, computed
from ..forward.attention import Attention
from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder, vocabulary_size
from ..forward.dense_beside_experts import load_dense_beside_experts
from ..forward.experts import load_experts
from ..forward.facts import Facts
from ..forward.feed_forward import load_dense
from ..forward.gemma_stream import (
    GemmaOpening,
    InputColumns,
    SharedAttention,
    StreamLayer,
)
from ..forward.layer import Part, Sequential
from ..forward.layout import Layout
from ..forward.per_layer_inputs import (
    SIZE_KEY,
    load_layer_input,
    load_per_layer_inputs,
)
from ..forward.rotary import Rotary
from ..forward.shared_keys import SHARED_KEY, first_sharing, place_keys
from ..forward.stack import first_columns
from ..forward.traits import Traits
from ..forward.windows import PATTERN, WINDOW, windowed_layers
from ..gguf.keys import Field, ValueType, array, float32, uint32
from ..settings import checked, integer, list_of
from .config import n_layers, require_setting, required, text_fields
from .family import COMPUTED, DECODER_LAYER, DECODER_TENSORS, Named, Tensors
from .fused_experts import with_fused_experts
from .gemma import GELUS, LOGIT_CAP, Gemma
from .gemma4_config import full_attention_settings
from .rope_config import rope_parameters
from .windows import layer_windows

__all__ = ["Gemma4", "Gemma4Unified", "still_frequencies"]

SUPPRESSED = "tokenizer.ggml.suppress_tokens"

ROPE = {
    "full_attention": {
        "rope_type": "proportional",
        "partial_rotary_factor": 0.25,
        "rope_theta": 1e6,
    },
    "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
}
MAX_TOKEN = 2**31 - 1
STILL = 1e30
"""The divisor of the frequencies of components that do not rotate."""


class Gemma4(Gemma):
    """The architecture that llama.cpp calls `gemma4`."""

    name = "gemma4"
    reads = (
        "attention.key_length_swa",
        "attention.value_length_swa",
        "rope.dimension_count_swa",
    )
    hf_classes: ClassVar[tuple[str, ...]] = (
        "Gemma4ForCausalLM",
        "Gemma4ForConditionalGeneration",
    )
    defaults: ClassVar = {
        "num_key_value_heads": 4,
        "head_dim": 256,
        "global_head_dim": 512,
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": True,
        "sliding_window": 512,
        "sliding_window_pattern": 6,
        "hidden_size_per_layer_input": 256,
        "num_kv_shared_layers": 0,
        "rope_parameters": ROPE,
        "default_theta": 1e6,
    }
    skipped = COMPUTED
    drops_tied_head = False
    foreign: ClassVar[tuple[str, ...]] = (
        *("vision_", "audio_", "embed_vision.", "embed_audio.", "patch_embed"),
        *("multi_modal_projector.",),
    )
    rope_types = ("proportional",)
    rotates_partly = True
    norm_shift = 0.0
    assumed: ClassVar = {
        "hidden_activation": GELUS,
        "use_bidirectional_attention": (False, "vision"),
    }
    outer: ClassVar = {
        **DECODER_TENSORS,
        "model.embed_tokens_per_layer": "per_layer_token_embd",
        "model.per_layer_model_projection": "per_layer_model_proj",
        "model.per_layer_projection_norm": "per_layer_proj_norm",
    }
    inner: ClassVar = {
        **DECODER_LAYER,
        "post_attention_layernorm": "post_attention_norm",
        "pre_feedforward_layernorm": "ffn_norm",
        "post_feedforward_layernorm": "post_ffw_norm",
        "post_feedforward_layernorm_1": "post_ffw_norm_1",
        "pre_feedforward_layernorm_2": "pre_ffw_norm_2",
        "post_feedforward_layernorm_2": "post_ffw_norm_2",
        "layer_scalar": "layer_output_scale",
        "per_layer_input_gate": "inp_gate",
        "per_layer_projection": "proj",
        "post_per_layer_input_norm": "post_norm",
        "router.proj": "ffn_gate_inp",
        "experts.gate_up_proj": "ffn_gate_up_exps",
        "experts.down_proj": "ffn_down_exps",
    }
    layout: ClassVar[Layout] = Layout(
        output_norms="required",
        query_norms="required",
        query_bias="none",
        frequencies="required",
    )

    def complete(self, config: Config) -> dict[str, Any]:
        """The config, with missing keys set to the defaults of its class."""
        whole = super().complete(config)
        whole["rope_parameters"] = whole["rope_parameters"] or ROPE
        if not whole.get("enable_moe_block"):
            unused = ("num_experts", "top_k_experts", "moe_intermediate_size")
            whole |= dict.fromkeys(unused)
        return whole

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            UnsupportedModelError: the config has such a setting.
        """
        super().check_settings(config)
        require_setting(rope_parameters(config), "factor", 1.0)

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order.

        Without a key for the cap of logits, llama.cpp caps them at 30; 0 is no cap.
        """
        full, windows = full_attention_settings(config), layer_windows(config, 6)
        n_shared = required(config, "num_kv_shared_layers")
        fields = text_fields(config, file_type)
        if config.get("use_double_wide_mlp"):
            inner, total = required(config, "intermediate_size"), n_layers(config)
            widths = [inner * (1 + (i >= total - n_shared)) for i in range(total)]
            fields["feed_forward_length"] = array(ValueType.INT32, widths)
        if full.n_kv_heads is not None:
            own = required(config, "num_key_value_heads")
            heads = [own if windowed else full.n_kv_heads for windowed in windows]
            fields["attention.head_count_kv"] = array(ValueType.INT32, heads)
        size = required(config, "head_dim")
        fields |= {
            "attention.key_length": uint32(full.head_size),
            "attention.value_length": uint32(full.head_size),
            LOGIT_CAP: float32(config.get(LOGIT_CAP) or 0.0),
            WINDOW: uint32(required(config, "sliding_window")),
            SHARED_KEY: uint32(n_shared),
            SIZE_KEY: uint32(config.get("hidden_size_per_layer_input") or 0),
            PATTERN: array(ValueType.BOOL, windows),
            "attention.key_length_swa": uint32(size),
            "attention.value_length_swa": uint32(size),
        }
        if config.get("moe_intermediate_size") is not None:
            inner = uint32(config["moe_intermediate_size"])
            fields["expert_feed_forward_length"] = inner
        fields["rope.dimension_count"] = uint32(full.head_size)
        fields["rope.dimension_count_swa"] = uint32(size)
        return fields

    def computed_tensors(self, config: Config) -> Iterator[Named]:
        """The divisors of frequencies: the last components of heads do not rotate."""
        share = rope_parameters(config).get("partial_rotary_factor", 1.0)
        yield still_frequencies(full_attention_settings(config).head_size, share)

    def mapped(self, config: Config, stored: Tensors) -> Iterator[Named]:
        """The GGUF tensors; quantized checkpoints store each expert by itself."""
        yield from super().mapped(config, with_fused_experts(stored))

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensor of a checkpoint tensor; some have names without a kind."""
        module, _, kind = source.rpartition(".")
        if kind in ("layer_scalar", "gate_up_proj", "down_proj"):
            source = f"{source}.weight"
        if module.endswith(".router") and kind in ("scale", "per_expert_scale"):
            matrix = "router.proj" if kind == "scale" else "experts.down_proj"
            source = f"{module.removesuffix('router')}{matrix}.weight"
            name = self.gguf_name(source, config).removesuffix("weight")
            yield f"{name}scale", tensor
            return
        yield from super().converted(source, tensor, config)

    def traits(self, facts: Facts, claims: Claims) -> Traits:
        """The traits of the forward pass."""
        windowed = windowed_layers(facts, 6)
        local = facts.size("attention.key_length_swa")
        sizes = facts.key_size, facts.value_size
        window_sizes = local, facts.size("attention.value_length_swa")
        first_shared = first_sharing(facts)
        experts = (
            load_experts(facts, normed=True, joint=True) if _n_experts(facts) else None
        )
        return replace(
            super().traits(facts, claims),
            layout=replace(
                self.layout, feed_forward_norm="none" if experts else "required"
            ),
            attention_scale=1.0,
            values_are_keys=lambda layer: not windowed(layer),
            values_normed=True,
            logit_cap=facts.number(LOGIT_CAP, 30.0) or None,
            window=facts.size(WINDOW),
            windowed=windowed,
            windowed_rotary=Rotary.local(facts, claims, head_size=local),
            head_sizes=lambda _, layer: window_sizes if windowed(layer) else sizes,
            shares_keys=lambda layer: layer >= first_shared,
            experts=experts,
        )

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        traits, width = self.traits(facts, claims), facts.width
        inputs = None
        size = facts.count(SIZE_KEY)
        if size:
            n_tokens = vocabulary_size(facts, claims)
            inputs = load_per_layer_inputs(facts, claims, n_tokens, traits)
        start = width + size * facts.n_layers
        places = place_keys(facts, traits, first_sharing(facts), start)

        def wrap(parts: Sequential, number: int) -> StreamLayer:
            assert isinstance(parts.mixer, Attention)
            taken, put = places.taken.get(number), places.put.get(number)
            own = None
            if inputs is not None:
                begin = width + number * size
                mixed_in = load_layer_input(facts, claims, number, traits)
                own = InputColumns(slice(begin, begin + size), mixed_in)
            name = f"blk.{number}.layer_output_scale.weight"
            return StreamLayer(
                parts=parts,
                attention=SharedAttention(parts.mixer, taken, put),
                width=width,
                input=own,
                scale=claims.maybe("optional", name, 1),
            )

        return load_decoder(
            facts,
            claims,
            traits,
            feed_forward=_load_feed_forward,
            opening=GemmaOpening(places.stop, inputs),
            closing=first_columns(width),
            wrap=wrap,
        )


class Gemma4Unified(Gemma4):
    """Gemma 4 without encoders of images and sounds, and without per-layer embeddings.

    Some tokens, which its generation_config.json lists, are never generated.
    """

    hf_classes = ("Gemma4UnifiedForConditionalGeneration",)
    defaults: ClassVar = {
        **Gemma4.defaults,
        "max_position_embeddings": 262144,
        "sliding_window": 1024,
        "hidden_size_per_layer_input": 0,
    }

    def generation_fields(self, generation: Config) -> dict[str, Field]:
        """The tokens that are never generated.

        Raises:
            FormatError: they are no list of token ids.
        """
        where = "generation_config.json: suppress_tokens"
        tokens = generation.get("suppress_tokens") or []
        checked(tokens, list_of(integer(0, MAX_TOKEN)), where)
        return {SUPPRESSED: array(ValueType.INT32, tokens)} if tokens else {}


def still_frequencies(head_size: int, share: float) -> Named:
    """Divisors of frequencies, such that only a share of a head rotates."""
    n_pairs = head_size // 2
    divisors = np.full(n_pairs, STILL, np.float32)
    divisors[: int(2 * n_pairs * share / 2)] = 1
    return "rope_freqs.weight", computed(divisors)


def _n_experts(facts: Facts) -> int:
    return facts.count("expert_count", 0)


def _load_feed_forward(
    facts: Facts, claims: Claims, number: int, traits: Traits
) -> Part:
    """The feed-forward part of a layer, with experts beside it if the model has any."""
    if traits.experts is None:
        return load_dense(facts, claims, number, traits)
    return load_dense_beside_experts(facts, claims, number, traits, traits.experts)
