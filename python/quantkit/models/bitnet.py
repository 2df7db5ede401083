"""BitNet b1.58: weights of -1, 0 and 1, and norms inside of both parts of a layer.

Checkpoints have the weights of training, which are rounded here, or packed ones, four
in a byte.  GGUF readers do not quantize activations, as the classes do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from ..checkpoint.lazy import LazyTensor
from ..checkpoint.stored import DequantizedTensor
from ..checkpoint.ternary import ternary
from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.facts import Facts
from ..forward.layout import Layout
from ..forward.rotary import Rotary
from ..forward.sub_norms import load_normed_attention, load_normed_feed_forward
from ..forward.traits import Traits
from ..gguf.keys import Field, float32, string
from .config import head_size, text_fields
from .family import DECODER_LAYER, SILU, Family, Named

__all__ = ["BitNet", "LlamaBitNet"]


class BitNet(Family):
    """The architecture that llama.cpp calls `bitnet`."""

    name = "bitnet"
    hf_classes: ClassVar[tuple[str, ...]] = ("BitNetForCausalLM",)
    defaults: ClassVar[Mapping[str, Any]] = {
        "default_theta": 500000.0,
        "hidden_act": "relu2",
        "max_position_embeddings": 2048,
        "num_key_value_heads": 5,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": False,
    }
    inner: ClassVar = {
        **DECODER_LAYER,
        "self_attn.inner_attn_ln": "attn_sub_norm",
        "self_attn.attn_sub_norm": "attn_sub_norm",
        "mlp.ffn_layernorm": "ffn_sub_norm",
        "mlp.ffn_sub_norm": "ffn_sub_norm",
    }
    drops_tied_head = True
    rope_types = ("default",)
    assumed: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        **SILU,
        "attention_bias": (False,),
        "input_bits": (8,),
        "tie_word_embeddings": (True,),
        "weight_bits": (1,),
    }
    layout: ClassVar[Layout] = Layout(head="none", query_bias="none")

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        return {
            **text_fields(config, file_type),
            "rope.scaling.type": string("linear"),
            "rope.scaling.factor": float32(1.0),
        }

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensor of a checkpoint tensor; matrices of layers are rounded.

        Packed weights are -1, 0 and 1 already.
        """
        is_packed = isinstance(tensor, DequantizedTensor)
        if source.endswith("_proj.weight") and not is_packed:
            tensor = ternary(tensor)
        yield self.gguf_name(source, config), tensor

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        traits = Traits(
            epsilon=facts.rms_epsilon,
            layout=self.layout,
            rotary=Rotary.load(facts, claims, self.layout),
        )
        return load_decoder(
            facts, claims, traits, load_normed_attention, load_normed_feed_forward
        )


class LlamaBitNet(BitNet):
    """The same architecture in GGUF; the config is one of Llama's class."""

    hf_classes = ("BitnetForCausalLM",)
    model_types = ("llama", "bitnet")
    defaults: ClassVar[Mapping[str, Any]] = {
        "max_position_embeddings": 2048,
        "num_key_value_heads": None,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": False,
    }

    def complete(self, config: Config) -> dict[str, Any]:
        """The config, with missing keys set to the defaults of its class."""
        if config.get("model_type") == "bitnet":
            return BitNet().complete(config)
        whole = super().complete(config)
        whole["head_dim"] = head_size(whole)
        return whole
