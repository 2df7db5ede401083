"""Gemma 1, 2 and 3: norm weights are stored minus one; the embedding is scaled.

The head is tied to the embedding.  Gemma 2 also normalizes the output of each part,
soft-caps scores and logits, and has a sliding window in every other layer.  Gemma 3
normalizes queries and keys instead of capping scores; five of six layers have a window
and another rotary base.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.facts import Facts
from ..forward.layout import Layout
from ..forward.rotary import WINDOW_BASE_KEY, Rotary
from ..forward.traits import Traits, nowhere
from ..forward.windows import WINDOW, windowed_layers
from ..gguf.keys import Field, float32
from ..settings import number
from .config import (
    FILE_TYPE,
    head_size,
    n_layers,
    ordered,
    require_setting,
    required,
    text_fields,
)
from .family import COMPUTED, DECODER_LAYER, Family
from .rope_config import unassumed_rotary_fields
from .windows import layer_windows, window_fields

__all__ = ["Gemma", "Gemma2", "Gemma3"]

FIELDS = (
    "context_length",
    "embedding_length",
    "block_count",
    "feed_forward_length",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.layer_norm_rms_epsilon",
    "attention.key_length",
    "attention.value_length",
    FILE_TYPE,
)
# Old configs have "gelu" for the tanh approximation.
GELUS = ("gelu_pytorch_tanh", "gelu")
ATTENTION_CAP = "attn_logit_softcapping"
LOGIT_CAP = "final_logit_softcapping"


class Gemma(Family):
    """The architecture that llama.cpp calls `gemma`."""

    name = "gemma"
    hf_classes: ClassVar[tuple[str, ...]] = ("GemmaForCausalLM",)
    defaults: ClassVar = {
        "num_key_value_heads": 16,
        "head_dim": 256,
        "max_position_embeddings": 8192,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": True,
    }
    skipped: ClassVar[tuple[str, ...]] = (*COMPUTED, "lm_head.weight")
    drops_tied_head: ClassVar[bool] = True
    assumed: ClassVar = {
        "hidden_act": GELUS,
        "hidden_activation": GELUS,
        "use_bidirectional_attention": (False,),
    }
    layout: ClassVar[Layout] = Layout(head="none")
    norm_shift = 1.0

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        fields = ordered(text_fields(config, file_type), *FIELDS)
        return fields | unassumed_rotary_fields(config)

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            UnsupportedModelError: the config has such a setting.
        """
        super().check_settings(config)
        if self.drops_tied_head:
            require_setting(config, "tie_word_embeddings", True)

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        return load_decoder(facts, claims, self.traits(facts, claims))

    def traits(self, facts: Facts, claims: Claims) -> Traits:
        """The traits of the forward pass."""
        return Traits(
            epsilon=facts.rms_epsilon,
            layout=self.layout,
            activation="gelu_tanh",
            rotary=Rotary.load(facts, claims, self.layout),
            embedding_scale=facts.count("embedding_length") ** 0.5,
        )


class Gemma2(Gemma):
    """The architecture that llama.cpp calls `gemma2`.

    Attributes:
        wide_layers: the layer count of the one model that scales scores by
            width / heads; all others scale by head size.  GGUF has no key for this, so
            readers check the layer count.
    """

    name = "gemma2"
    hf_classes: ClassVar[tuple[str, ...]] = ("Gemma2ForCausalLM",)
    defaults: ClassVar = {
        **Gemma.defaults,
        "num_key_value_heads": 4,
        "query_pre_attn_scalar": 256,
        "sliding_window": 4096,
        ATTENTION_CAP: 50.0,
        LOGIT_CAP: 30.0,
    }
    inner: ClassVar = {
        **DECODER_LAYER,
        "post_attention_layernorm": "post_attention_norm",
        "pre_feedforward_layernorm": "ffn_norm",
        "post_feedforward_layernorm": "post_ffw_norm",
    }
    wide_layers: ClassVar[int] = 46
    layout: ClassVar[Layout] = Layout(head="none", output_norms="required")

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        return {
            **ordered(text_fields(config, file_type), *FIELDS),
            ATTENTION_CAP: float32(required(config, ATTENTION_CAP)),
            LOGIT_CAP: float32(required(config, LOGIT_CAP)),
            **window_fields(config, 2),
            **unassumed_rotary_fields(config),
        }

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            UnsupportedModelError: the config has such a setting.
        """
        super().check_settings(config)
        assumed = head_size(config)
        if n_layers(config) == self.wide_layers:
            n_heads = required(config, "num_attention_heads")
            assumed = required(config, "hidden_size") // n_heads
        require_setting(config, "query_pre_attn_scalar", assumed)

    def traits(self, facts: Facts, claims: Claims) -> Traits:
        """The traits of the forward pass."""
        return replace(
            super().traits(facts, claims),
            attention_scale=self.attention_scale(facts),
            attention_cap=facts.number(ATTENTION_CAP, 50.0, number(above=0)),
            logit_cap=facts.number(LOGIT_CAP, 30.0) or None,
            window=facts.size(WINDOW, 4096),
            windowed=windowed_layers(facts, 2),
            windowed_rotary=Rotary.load(
                facts, claims, self.layout, base_key=WINDOW_BASE_KEY
            ),
        )

    def attention_scale(self, facts: Facts) -> float | None:
        """What multiplies the scores; None: 1 / sqrt(head size)."""
        if facts.n_layers != self.wide_layers:
            return None
        return float((facts.width // facts.n_heads()) ** -0.5)


class Gemma3(Gemma2):
    """The architecture that llama.cpp calls `gemma3`; only the text model."""

    name = "gemma3"
    hf_classes: ClassVar[tuple[str, ...]] = (
        "Gemma3ForCausalLM",
        "Gemma3ForConditionalGeneration",
    )
    defaults: ClassVar = {
        **Gemma2.defaults,
        "num_attention_heads": 8,
        "max_position_embeddings": 131072,
        "vocab_size": 262208,
        "default_theta": 1e6,
        "rope_local_base_freq": 1e4,
        ATTENTION_CAP: None,
        LOGIT_CAP: None,
    }
    skipped = COMPUTED
    drops_tied_head = False
    foreign: ClassVar[tuple[str, ...]] = (
        "vision_tower.",
        "vision_model.",
        "multi_modal_projector.",
    )
    assumed: ClassVar = {**Gemma.assumed, ATTENTION_CAP: (None,)}
    wide_layers = 62
    layout: ClassVar[Layout] = Layout(output_norms="required", query_norms="required")
    unread: ClassVar[tuple[str, ...]] = ("dense_2.", "dense_3.")
    """The head of an embedding model."""

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        fields = text_fields(config, file_type)
        if cap := config.get(LOGIT_CAP):
            fields[LOGIT_CAP] = float32(cap)
        if any(layer_windows(config, 6)):
            fields |= window_fields(config, 6)
        return fields

    def traits(self, facts: Facts, claims: Claims) -> Traits:
        """The traits of the forward pass."""
        window = facts.count(WINDOW, 0) or None
        local = Rotary.local(facts, claims, 1e4)
        scale = facts.number("rope.scaling.attn_factor", 1.0)
        return replace(
            Gemma.traits(self, facts, claims),
            attention_scale=self.attention_scale(facts),
            logit_cap=facts.number(LOGIT_CAP, 0.0) or None,
            window=window,
            windowed=windowed_layers(facts, 6) if window else nowhere,
            windowed_rotary=replace(local, magnitude=scale),
        )
