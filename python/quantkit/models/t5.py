"""T5 and its relatives: an encoder and a decoder that reads its states; or the first.

Positions enter as a bias of attention scores, by the distance of key and query.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from ..errors import CheckpointError
from ..forward.base import Config
from ..forward.claims import Claims
from ..forward.encoder import Encoder, pooling_of
from ..forward.facts import Facts
from ..forward.relative_attention import load_relative_encoder
from ..gguf.keys import Field, float32, uint32
from .config import FILE_TYPE, n_layers, required
from .encoders import EncoderFamily
from .family import Family, Named, Tensors
from .unknown_tensors import unknown_tensor

__all__ = ["T5", "T5Encoder"]

CONTEXT = 512
"""The context that llama.cpp's converter writes if the config has none."""

ATTENTION = {
    "q": "attn_q",
    "k": "attn_k",
    "v": "attn_v",
    "o": "attn_o",
    "relative_attention_bias": "attn_rel_b",
}
FEED_FORWARD = {
    "layer_norm": "ffn_norm",
    "DenseReluDense.wi_0": "ffn_gate",
    "DenseReluDense.wi": "ffn_up",
    "DenseReluDense.wi_1": "ffn_up",
    "DenseReluDense.wo": "ffn_down",
}
SELF_ATTENTION = {"layer_norm": "attn_norm"} | {
    f"SelfAttention.{name}": target for name, target in ATTENTION.items()
}
CROSS_ATTENTION = {"layer_norm": "cross_attn_norm"} | {
    f"EncDecAttention.{name}": f"cross_{target}" for name, target in ATTENTION.items()
}
PARTS = {
    "encoder": (SELF_ATTENTION, FEED_FORWARD),
    "decoder": (SELF_ATTENTION, CROSS_ATTENTION, FEED_FORWARD),
}
"""The parts of a layer on each side: module -> GGUF name."""

OUTER = {
    "shared": "token_embd",
    "lm_head": "output",
    "encoder.final_layer_norm": "enc.output_norm",
    "decoder.final_layer_norm": "dec.output_norm",
}
LAYER = re.compile(r"(?P<side>encoder|decoder)\.block\.(?P<number>\d+)\.(?P<rest>.+)")
PART = re.compile(r"layer\.(?P<part>\d)\.(?P<name>.+)")
EMBEDDINGS = tuple(
    f"{name}.weight"
    for name in ("shared", "encoder.embed_tokens", "decoder.embed_tokens")
)
"""What the token embedding is called; the first one in a checkpoint counts."""

OLDER: Mapping[str, Any] = {
    "d_model": 512,
    "d_kv": 64,
    "d_ff": 2048,
    "num_layers": 6,
    "num_heads": 8,
    "relative_attention_num_buckets": 32,
    "layer_norm_epsilon": 1e-6,
    "feed_forward_proj": "relu",
}
NEWER = {**OLDER, "d_ff": 1024, "num_layers": 8, "num_heads": 6} | {
    "feed_forward_proj": "gated-gelu",
    "decoder_start_token_id": 0,
}
"""The defaults of the classes of mT5 and umT5."""


class T5(Family):
    """The architecture that llama.cpp calls `t5`."""

    name = "t5"
    hf_classes: ClassVar[tuple[str, ...]] = (
        "T5ForConditionalGeneration",
        "T5WithLMHeadModel",
        "MT5ForConditionalGeneration",
        "UMT5ForConditionalGeneration",
        "UMT5Model",
    )
    assumed: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "relative_attention_max_distance": (128,),
        "feed_forward_proj": ("relu", "gated-gelu"),
    }
    rope_types = ()
    not_run = "they write a text from another one; a text alone has no perplexity"
    has_decoder: ClassVar[bool] = True

    def complete(self, config: Config) -> dict[str, Any]:
        """The config, with missing keys set to the defaults of its class."""
        is_newer = config.get("model_type") in ("mt5", "umt5")
        whole = {**(NEWER if is_newer else OLDER), **config, "default_theta": None}
        if whole.get("num_decoder_layers") is None:
            whole["num_decoder_layers"] = n_layers(whole)
        return whole

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        epsilon = float32(required(config, "layer_norm_epsilon"))
        size = uint32(required(config, "d_kv"))
        n_buckets = required(config, "relative_attention_num_buckets")
        fields = {
            "context_length": uint32(config.get("n_positions") or CONTEXT),
            "embedding_length": uint32(required(config, "d_model")),
            "feed_forward_length": uint32(required(config, "d_ff")),
            "block_count": uint32(n_layers(config)),
            "decoder_block_count": uint32(config["num_decoder_layers"]),
            "attention.head_count": uint32(required(config, "num_heads")),
            "attention.key_length": size,
            "attention.value_length": size,
            "attention.layer_norm_epsilon": epsilon,
            "attention.relative_buckets_count": uint32(n_buckets),
            "attention.layer_norm_rms_epsilon": epsilon,
        }
        if self.has_decoder:
            start = required(config, "decoder_start_token_id")
            fields["decoder_start_token_id"] = uint32(start)
        else:
            del fields["decoder_block_count"]
        return {**fields, FILE_TYPE: uint32(file_type)}

    def check(self, config: Config, stored: Tensors) -> None:
        """Refuse a checkpoint that lacks its head.

        Raises:
            CheckpointError: config.json says that the head is not the embedding.
        """
        is_tied = config.get("tie_word_embeddings") is not False
        generates = "ForConditionalGeneration" in str(config.get("architectures"))
        if generates and not is_tied and "lm_head.weight" not in stored:
            raise CheckpointError(
                "the checkpoint has no 'lm_head.weight', but config.json has "
                "tie_word_embeddings: false; a shard is missing"
            )

    def mapped(self, config: Config, stored: Tensors) -> Iterator[Named]:
        """The GGUF tensors; of several copies of the embedding, the first."""
        first = next((name for name in stored if name in EMBEDDINGS), None)
        for source, tensor in stored.items():
            if source == first:
                yield self.gguf_name(EMBEDDINGS[0], config), tensor
            elif source not in EMBEDDINGS:
                yield self.gguf_name(source, config), tensor

    def gguf_name(self, source: str, config: Config) -> str:
        """The GGUF name of a checkpoint tensor.

        Raises:
            UnsupportedModelError: the family has no such tensor.
        """
        module, _, kind = source.rpartition(".")
        name, number = OUTER.get(module), None
        count = n_layers(config)
        if match := LAYER.fullmatch(module):
            side, number = match["side"], int(match["number"])
            if side == "decoder":
                count = int(config["num_decoder_layers"])
            part, parts = PART.fullmatch(match["rest"]), PARTS[side]
            if part and number < count and int(part["part"]) < len(parts):
                inner = parts[int(part["part"])].get(part["name"])
                name = inner and f"{side[:3]}.blk.{number}.{inner}"
        is_foreign = not self.has_decoder and source.startswith("decoder.")
        if name is None or kind != "weight" or is_foreign:
            raise unknown_tensor(source, number, count, self.name)
        return f"{name}.{kind}"


class T5Encoder(EncoderFamily, T5):
    """The architecture that llama.cpp calls `t5encoder`."""

    name = "t5encoder"
    hf_classes = ("T5EncoderModel",)
    model_types = ("t5", "mt5", "umt5")
    not_run = ""
    pools = False
    has_decoder = False
    unread = ("output.",)

    hyperparameters = T5.hyperparameters
    check = T5.check

    def load_encoder(self, facts: Facts, claims: Claims) -> Encoder:
        """Build the encoder from GGUF metadata and tensors."""
        return load_relative_encoder(facts, claims, pooling_of(facts, default=1))
