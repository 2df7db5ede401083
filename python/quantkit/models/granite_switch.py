"""Granite Switch: a dense Granite with LoRA adapters that tokens switch on.

Slot 0 of the stacked adapters adds nothing; the checkpoint does not have it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from ..checkpoint.lazy import LazyTensor, joined, padded, reshaped, taken
from ..errors import CheckpointError, FormatError
from ..forward.attention import Attention
from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder, vocabulary_size
from ..forward.facts import Facts
from ..forward.feed_forward import Gated
from ..forward.layer import Sequential
from ..forward.layout import Layout
from ..forward.stack import first_columns
from ..forward.switched import Lora, SwitchedLayer, SwitchOpening
from ..gguf.keys import Field, ValueType, array, float32, uint32
from ..settings import checked, integer, list_of, number
from .config import n_layers, require_setting, required
from .family import Named, Tensors
from .granite_moe import GraniteMoe
from .llama import interleaved_rows

__all__ = ["GraniteSwitch"]

GAIN = 15.0
"""How much the adapters' tokens are seen, if the config does not tell."""
MOST = 4096
"""The largest number of adapters, and the largest rank, that readers load."""
ACTIVATE, SUBSTITUTE = "adapters.token_ids_activate", "adapters.token_ids_substitute"
SKIPPED = ("adapter_token_ids", "control_to_substitute_lut")
SLICE = re.compile(
    r"(?P<layer>model\.layers\.\d+)\.(?P<module>.+)\.lora_(?P<factor>[AB])"
    r"(_slices\.(?P<slot>\d+))?"
)
PARTS = {
    "self_attn.qkv_proj": ("attn_q", "attn_k", "attn_v"),
    "self_attn.o_proj": ("attn_output",),
    "shared_mlp.input_linear": ("ffn_gate", "ffn_up"),
    "shared_mlp.output_linear": ("ffn_down",),
}
"""Module with adapters -> GGUF names of its parts."""


class GraniteSwitch(GraniteMoe):
    """The architecture that llama.cpp calls `graniteswitch`."""

    name = "graniteswitch"
    hf_classes = ("GraniteSwitchForCausalLM",)
    defaults: ClassVar = {
        **{k: v for k, v in GraniteMoe.defaults.items() if "experts" not in k},
        "tie_word_embeddings": True,
        "control_token_gain": GAIN,
        "default_theta": None,
    }
    assumed: ClassVar = {
        **GraniteMoe.assumed,
        "num_local_experts": (None, 0),
        "tie_word_embeddings": (True,),
    }
    inner: ClassVar = {
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
        "self_attn.qkv_proj.base_layer": "attn_qkv",
        "self_attn.o_proj.base_layer": "attn_output",
        "shared_mlp.gate": "ffn_gate",
        "shared_mlp.up": "ffn_up",
        "shared_mlp.output_linear.base_layer": "ffn_down",
    }
    layout: ClassVar[Layout] = Layout(fused=True, query_bias="none")

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            UnsupportedModelError: the config has such a setting.
        """
        super().check_settings(config)
        width, n_heads = required(config, "hidden_size"), _heads(config)[0]
        require_setting(config, "projection_head_dim", None, width // n_heads)

    def n_blocks(self, config: Config) -> int:
        """The number of layers: the one that finds adapters has no weights."""
        return n_layers(config) - 1

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        fields = super().hyperparameters(config, file_type)
        ids = {
            ACTIVATE: required(config, "adapter_token_ids"),
            SUBSTITUTE: required(config, "adapter_substitute_token_ids"),
        }
        return {
            **fields,
            "block_count": uint32(self.n_blocks(config)),
            "expert_used_count": uint32(0),
            "adapters.count": uint32(required(config, "num_adapters")),
            "adapters.lora_rank": uint32(required(config, "max_lora_rank")),
            **{key: array(ValueType.INT32, value) for key, value in ids.items()},
            "adapters.router_gain": float32(required(config, "control_token_gain")),
        }

    def mapped(self, config: Config, stored: Tensors) -> Iterator[Named]:
        """The GGUF tensors made from the checkpoint's tensors."""
        own = {
            name: tensor
            for name, tensor in stored.items()
            if not name.startswith(("model.switch.", "switch."))
            and not name.endswith(SKIPPED)
            and name != "lm_head.weight"
        }
        yield from super().mapped(config, own)

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensors of a checkpoint tensor."""
        if (match := SLICE.fullmatch(source)) is not None and match["module"] in PARTS:
            yield self._adapters(source, match, tensor, config)
            return
        if source.endswith(".qkv_proj.base_layer.weight"):
            tensor = self._permuted(source, tensor, config)
        if source.endswith(".input_linear.base_layer.weight"):
            before = source.removesuffix("input_linear.base_layer.weight")
            halves = np.split(np.arange(tensor.shape[0]), [tensor.shape[0] // 2])
            for part, rows in zip(("gate", "up"), halves, strict=True):
                name = f"{before}{part}.weight"
                yield self.gguf_name(name, config), taken(tensor, rows)
            return
        yield self.gguf_name(source, config), tensor

    def _permuted(self, source: str, tensor: LazyTensor, config: Config) -> LazyTensor:
        """Queries, keys and values, with the rows that GGUF readers rotate."""
        n_heads, n_kv_heads = _heads(config)
        size, rest = divmod(tensor.shape[0], n_heads + 2 * n_kv_heads)
        if rest:
            raise CheckpointError(
                f"{source!r} has {tensor.shape[0]} rows, which do not form {n_heads} "
                f"heads of queries, and {n_kv_heads} of keys and of values"
            )
        ends = np.cumsum([0, n_heads * size, n_kv_heads * size, n_kv_heads * size])
        q, k, v = (taken(tensor, np.arange(ends[i], ends[i + 1])) for i in range(3))
        return joined(
            [
                taken(q, interleaved_rows(source, q, n_heads)),
                taken(k, interleaved_rows(source, k, n_kv_heads)),
                v,
            ]
        )

    def _adapters(
        self, source: str, match: re.Match[str], tensor: LazyTensor, config: Config
    ) -> Named:
        """The factors of all adapters, [adapters, 1, rows, columns], and slot 0."""
        names, place = PARTS[match["module"]], int(match["slot"] or 0)
        shape = tensor.shape
        if place >= len(names) or len(shape) != 4 or shape[1] != 1:
            raise CheckpointError(
                f"{source!r} has the shape {list(shape)}; expected [adapters, 1, rows, "
                f"columns] of one of {len(names)} parts"
            )
        own = reshaped(tensor, (shape[0], *shape[2:]))
        heads = dict(zip(("attn_q", "attn_k"), _heads(config), strict=True))
        if match["factor"] == "B" and names[place] in heads:
            first = taken(own, np.arange(1))
            rows = reshaped(first, own.shape[1:])
            order = interleaved_rows(source, rows, heads[names[place]])
            own = taken(own, order, axis=1)
        with_none = padded(own, shape[0] + 1)
        slots = taken(with_none, np.roll(np.arange(shape[0] + 1), 1))
        layer = match["layer"].rpartition(".")[2]
        return f"blk.{layer}.{names[place]}.lora_{match['factor'].lower()}", slots

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        traits = self.traits(facts, claims)
        width, limit = facts.width, integer(1, MOST)
        n_slots = facts.count("adapters.count", None, limit) + 1
        rank = facts.count("adapters.lora_rank", None, limit)
        gain = facts.number("adapters.router_gain", GAIN, number(0))
        opening = _opening(facts, claims, n_slots - 1, traits.embedding_scale)

        def switched(layer: Sequential, place: int) -> SwitchedLayer:
            assert isinstance(layer.mixer, Attention)
            assert isinstance(layer.feed_forward, Gated)
            attention, part = layer.mixer, layer.feed_forward
            size = facts.key_size
            q, k, inner = (
                facts.n_heads(place) * size,
                facts.n_kv_heads(place) * size,
                facts.inner_size(place),
            )
            maps = {
                "q": ("attn_q", q, width),
                "k": ("attn_k", k, width),
                "v": ("attn_v", k, width),
                "output": ("attn_output", width, q),
                "gate": ("ffn_gate", inner, width),
                "up": ("ffn_up", inner, width),
                "down": ("ffn_down", width, inner),
            }
            loras = {
                key: Lora.of(claims, f"blk.{place}.{name}", (rows, cols, rank), n_slots)
                for key, (name, rows, cols) in maps.items()
            }
            return SwitchedLayer(layer, attention, part, loras, gain)

        return load_decoder(
            facts,
            claims,
            traits,
            opening=opening,
            closing=first_columns(facts.width),
            wrap=switched,
        )


def _heads(config: Config) -> tuple[int, int]:
    """The numbers of query heads and of key heads."""
    n_heads = required(config, "num_attention_heads")
    return n_heads, config.get("num_key_value_heads") or n_heads


def _opening(facts: Facts, claims: Claims, n: int, scale: float) -> SwitchOpening:
    """What puts the adapters' tokens into the stream."""
    n_tokens = vocabulary_size(facts, claims)
    slots, substitutes = np.zeros(n_tokens, np.intp), np.arange(n_tokens)
    ids: dict[str, list[int]] = {}
    for key in (ACTIVATE, SUBSTITUTE):
        ids[key] = _tokens(facts, key, n, n_tokens)
    for slot, (token, other) in enumerate(zip(*ids.values(), strict=True), 1):
        slots[token], substitutes[token] = slot, other
    embedding = claims.table("token_embd.weight", n_tokens, facts.width)
    placed = claims.placed(slots), claims.placed(substitutes)
    return SwitchOpening(embedding, scale, *placed)


def _tokens(facts: Facts, key: str, n: int, n_tokens: int) -> list[int]:
    """The n tokens of a key.

    Raises:
        FormatError: it is missing, or has another number of tokens, or unknown ones.
    """
    field = facts.metadata.get(facts.key(key))
    if field is None or field.type is not ValueType.ARRAY:
        raise FormatError(f"the metadata lacks the list {facts.key(key)}")
    tokens = np.asarray(field.value).tolist()
    checked(tokens, list_of(integer(0, n_tokens - 1)), facts.key(key))
    checked(len(tokens), integer(n, n), f"the length of {facts.key(key)}")
    return [int(token) for token in tokens]
