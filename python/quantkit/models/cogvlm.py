"""CogVLM: Llama with other matrices for images, which texts do not use.

llama.cpp's converter leaves those matrices out, and llama.cpp cannot load such files.
Heads rotate by halves, with the usual base whatever the config says.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from ..checkpoint.lazy import LazyTensor
from ..forward.attention import load_attention
from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.facts import Facts
from ..forward.layer import Mixer
from ..forward.layout import Layout
from ..forward.rotary import DEFAULT_BASE
from ..forward.traits import Traits
from .config import require_setting, required
from .family import DECODER_LAYER, Named
from .llama import Llama

__all__ = ["CogVlm"]

LANGUAGE = {
    "self_attn.language_expert_query_key_value": "attn_qkv",
    "self_attn.language_expert_dense": "attn_output",
    "mlp.language_mlp.gate_proj": "ffn_gate",
    "mlp.language_mlp.up_proj": "ffn_up",
    "mlp.language_mlp.down_proj": "ffn_down",
}


class CogVlm(Llama):
    """The architecture that llama.cpp calls `cogvlm`."""

    name = "cogvlm"
    hf_classes = ("CogVLMForCausalLM",)
    defaults: ClassVar[dict[str, Any]] = {
        **Llama.defaults,
        "default_theta": None,
    }
    rope_types = ("default", "dynamic")
    fills_head_size = False
    foreign = ("model.vision.", ".vision_expert_", ".vision_mlp.")
    inner: ClassVar = {**DECODER_LAYER, **LANGUAGE}
    layout: ClassVar[Layout] = Layout(fused=True, query_bias="none")

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            UnsupportedModelError: the config has such a setting.
        """
        super().check_settings(config)
        n_heads = required(config, "num_attention_heads")
        require_setting(config, "num_key_value_heads", n_heads)
        require_setting(config, "num_multi_query_heads", n_heads)
        required(config, "hidden_size")

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensor of a checkpoint tensor."""
        yield self.gguf_name(source, config), tensor

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        return load_decoder(facts, claims, self.traits(facts, claims), _load_mixer)

    def traits(self, facts: Facts, claims: Claims) -> Traits:
        """The traits of the forward pass."""
        base = facts.number("rope.freq_base", DEFAULT_BASE)
        usual = super().traits(facts, claims)
        rotary = usual.rotary
        assert rotary is not None  # for mypy: all heads rotate
        pairs = len(rotary.frequencies)
        powers = [(DEFAULT_BASE / base) ** (i / pairs) for i in range(pairs)]
        turned = rotary.divided(facts, np.array(powers))
        return replace(usual, interleaved=False, experts=None, rotary=turned)


def _load_mixer(facts: Facts, claims: Claims, number: int, traits: Traits) -> Mixer:
    """Attention; a file may have the matrices for images, as large as the others."""
    at, width = f"blk.{number}.", facts.width
    n_rows, inner = facts.n_heads(number) * facts.key_size, facts.inner_size(number)
    for name, shape in (
        ("attn_qkv", (3 * n_rows, width)),
        ("attn_output", (width, n_rows)),
        ("gate", (inner, width)),
        ("up", (inner, width)),
        ("down", (width, inner)),
    ):
        if claims.has(f"{at}vis_{name}.weight"):
            claims.table(f"{at}vis_{name}.weight", *shape)
    return load_attention(facts, claims, number, traits)
