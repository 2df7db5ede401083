"""Encoders with norms before the parts: ModernBERT and EuroBERT.

ModernBERT alternates full attention with windows, and has no norm before the first
attention.  EuroBERT is a Llama that sees both sides.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from ..checkpoint.lazy import LazyTensor
from ..errors import UnsupportedModelError
from ..forward.base import Config
from ..forward.claims import Claims
from ..forward.encoder import Encoder, load_encoder
from ..forward.facts import Facts
from ..forward.layer import Sequential
from ..forward.layers import Norm
from ..forward.layout import Layout
from ..forward.rotary import Rotary
from ..forward.traits import Traits
from ..forward.windows import PATTERN, WINDOW
from ..gguf.keys import Field, boolean, string, uint32
from ..settings import SIZE, shown
from .config import n_layers, require_setting, required
from .encoders import EncoderFamily, labels_of
from .family import DECODER_LAYER, SILU, Named
from .pooling import pooling_fields

__all__ = ["EuroBert", "ModernBert"]

PERIOD = 3
"""The first of each three layers of ModernBERT has full attention."""

SCALING = "rope.scaling.type"


class ModernBert(EncoderFamily):
    """The architecture that llama.cpp calls `modern-bert`."""

    name = "modern-bert"
    hf_classes: ClassVar[tuple[str, ...]] = (
        "ModernBertModel",
        "ModernBertForMaskedLM",
        "ModernBertForSequenceClassification",
    )
    defaults: ClassVar[Mapping[str, Any]] = {
        "norm_eps": 1e-5,
        "local_attention": 128,
        "hidden_activation": "gelu",
        "classifier_pooling": "cls",
        "max_position_embeddings": 8192,
        "global_rope_theta": 160000.0,
        "local_rope_theta": 10000.0,
    }
    assumed: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "hidden_activation": ("gelu", "silu"),
        "attention_bias": (False,),
        "mlp_bias": (False,),
        "norm_bias": (False,),
    }
    rope_types = ("default",)
    outer: ClassVar = {
        "embeddings.tok_embeddings": "token_embd",
        "embeddings.norm": "token_embd_norm",
        "final_norm": "output_norm",
        "head.dense": "cls",
        "head.norm": "cls.norm",
        "classifier": "cls",
        "classifier.out_proj": "cls.output",
    }
    layer = re.compile(r"layers\.(\d+)\.(.+)")
    inner: ClassVar = {
        "attn_norm": "attn_norm",
        "attn.Wqkv": "attn_qkv",
        "attn.Wo": "attn_output",
        "mlp_norm": "ffn_norm",
        "mlp.Wi": "ffn_up",
        "mlp.Wo": "ffn_down",
    }
    layout: ClassVar[Layout] = Layout(
        norms="none",
        embedding_norm="required",
        fused=True,
        query_bias="none",
        gate="fused",
    )
    unread = ("cls.", "output.")

    def complete(self, config: Config) -> dict[str, Any]:
        """The complete config; readers look for the epsilon under its older name."""
        whole = super().complete(config)
        whole.setdefault("layer_norm_eps", whole["norm_eps"])
        return whole

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            UnsupportedModelError: the config has such a setting.
        """
        super().check_settings(config)
        period = config.get("global_attn_every_n_layers") or PERIOD
        kinds = [
            "sliding_attention" if layer % period else "full_attention"
            for layer in range(n_layers(config))
        ]
        require_setting(config, "layer_types", kinds)

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        fields = super().hyperparameters(config, file_type)
        fields[WINDOW] = uint32(required(config, "local_attention"))
        if (period := config.get("global_attn_every_n_layers")) is not None:
            fields[PATTERN] = uint32(period)
        fields[SCALING] = string("none")
        fields["vocab_size"] = uint32(required(config, "vocab_size"))
        fields["hidden_activation"] = string(required(config, "hidden_activation"))
        return fields

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensor of a checkpoint tensor, if the encoder needs it."""
        source = source.removeprefix("model.")
        if source.startswith("decoder."):
            return
        if source.startswith("classifier.") and labels_of(config) is not None:
            source = source.replace("classifier.", "classifier.out_proj.")
        yield self.gguf_name(source, config), tensor

    def load_encoder(self, facts: Facts, claims: Claims) -> Encoder:
        """Build the encoder from GGUF metadata and tensors."""
        activation = facts.text("hidden_activation", "gelu")
        if activation not in ("gelu", "silu"):
            raise UnsupportedModelError(
                f"{facts.key('hidden_activation')} is {shown(activation)}; quantkit "
                "knows gelu and silu"
            )
        period = facts.count(PATTERN, PERIOD, SIZE)
        window = facts.count(WINDOW, 0) or None
        traits = Traits(
            epsilon=facts.epsilon,
            layout=self.layout,
            centered=True,
            activation=activation,
            rotary=Rotary.load(facts, claims, self.layout),
            windowed_rotary=Rotary.local(facts, claims),
            window=window,
            windowed=lambda layer: window is not None and layer % period != 0,
            causal=False,
        )

        def wrap(layer: Sequential, number: int) -> Sequential:
            name = f"blk.{number}.attn_norm"
            if number == 0 and f"{name}.weight" not in claims:
                return layer
            norm = Norm.of(claims, name, (facts.width,), traits)
            return replace(layer, mixer_norm=norm)

        return load_encoder(facts, claims, traits, wrap)


class EuroBert(EncoderFamily):
    """The architecture that llama.cpp calls `eurobert`."""

    name = "eurobert"
    hf_classes = ("EuroBertModel", "JinaEmbeddingsV5Model")
    defaults: ClassVar = {
        "num_key_value_heads": None,
        "rms_norm_eps": 1e-5,
        "default_theta": 250000.0,
    }
    assumed: ClassVar = {**SILU, "attention_bias": (False,), "mlp_bias": (False,)}
    rope_types = ("default",)
    outer: ClassVar = {"embed_tokens": "token_embd", "norm": "output_norm"}
    layer = re.compile(r"layers\.(\d+)\.(.+)")
    inner: ClassVar = DECODER_LAYER
    layout: ClassVar[Layout] = Layout()

    def encoder_fields(self, config: Config) -> dict[str, Field]:
        """The metadata that encoders have, in this architecture's order."""
        own = dict(config)
        if own.get("classifier_pooling") not in ("cls", "mean"):
            own["classifier_pooling"] = None  # the class's own: "late" or "bos"
        return {
            "attention.causal": boolean(False),
            SCALING: string("none"),
            **pooling_fields(own),
        }

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensor of a checkpoint tensor."""
        yield self.gguf_name(source.removeprefix("model."), config), tensor

    def load_encoder(self, facts: Facts, claims: Claims) -> Encoder:
        """Build the encoder from GGUF metadata and tensors."""
        traits = Traits(
            epsilon=facts.rms_epsilon,
            layout=self.layout,
            rotary=Rotary.load(facts, claims, self.layout),
            causal=False,
        )
        return load_encoder(facts, claims, traits)
