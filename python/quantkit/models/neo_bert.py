"""NeoBERT: norms before the parts, rotation, a gated feed-forward part."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from ..checkpoint.lazy import LazyTensor
from ..forward.base import Config
from ..forward.claims import Claims
from ..forward.encoder import Encoder, load_encoder
from ..forward.facts import Facts
from ..forward.layout import Layout
from ..forward.rotary import Rotary
from ..forward.traits import Traits
from ..gguf.keys import Field, float32, string, uint32
from ..settings import SIZE, checked
from .config import required
from .encoders import EncoderFamily, labels_of
from .family import Named

__all__ = ["NeoBert"]

BASE, INNER = 10000.0, "intermediate_size"
CLS = 2


class NeoBert(EncoderFamily):
    """The architecture that llama.cpp calls `neo-bert`."""

    name = "neo-bert"
    hf_classes = ("NeoBERT", "NeoBERTLMHead", "NeoBERTForSequenceClassification")
    defaults: ClassVar[Mapping[str, Any]] = {"norm_eps": 1e-6, "default_theta": None}
    assumed: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "hidden_act": ("SwiGLU", "swiglu"),
        "rms_norm": (True,),
        "rope": (True,),
    }
    rope_types = ("default",)
    foreign = ("decoder.",)
    outer: ClassVar = {
        "encoder": "token_embd",
        "layer_norm": "enc.output_norm",
        "dense": "cls",
        "classifier": "cls",
        "classifier.out_proj": "cls.output",
    }
    layer = re.compile(r"transformer_encoder\.(\d+)\.(.+)")
    inner: ClassVar = {
        "attention_norm": "attn_norm",
        "qkv": "attn_qkv",
        "wo": "attn_output",
        "ffn_norm": "ffn_norm",
        "ffn.w12": "ffn_up",
        "ffn.w3": "ffn_down",
    }
    layout: ClassVar[Layout] = Layout(
        fused=True,
        query_bias="none",
        gate="fused",
        final_norm_name="enc.output_norm",
    )
    unread = ("cls.",)

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order.

        The width inside is two thirds of `intermediate_size`.
        """
        size = checked(required(config, INNER), SIZE, f"config.json: {INNER}")
        return super().hyperparameters(config, file_type) | {
            "feed_forward_length": uint32(int(2 * size / 3)),
            "rope.freq_base": float32(BASE),
            "rope.scaling.type": string("none"),
            "attention.layer_norm_rms_epsilon": float32(required(config, "norm_eps")),
            "pooling_type": uint32(CLS),
        }

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensor of a checkpoint tensor."""
        source = source.removeprefix("model.")
        if labels_of(config) is not None:
            source = re.sub(r"^classifier\.(?=\w+$)", "classifier.out_proj.", source)
        yield self.gguf_name(source, config), tensor

    def load_encoder(self, facts: Facts, claims: Claims) -> Encoder:
        """Build the encoder from GGUF metadata and tensors."""
        traits = Traits(
            epsilon=facts.rms_epsilon,
            layout=self.layout,
            rotary=Rotary.load(facts, claims, self.layout),
            interleaved=True,
            causal=False,
        )
        return load_encoder(facts, claims, traits)
