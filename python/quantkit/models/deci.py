"""DeciLM and Llama-Nemotron: Llama whose layers differ (Puzzle, arXiv:2411.19146).

Layers have their own numbers of key heads and widths.  A layer may have a linear map
instead of attention, no attention, or no feed-forward part.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ..checkpoint.lazy import LazyTensor, taken
from ..errors import CheckpointError, UnsupportedModelError
from ..forward.attention import load_attention
from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.facts import Facts
from ..forward.feed_forward import load_feed_forward
from ..forward.layer import Mixer, Part
from ..forward.layout import Layout
from ..forward.linear_mixer import load_linear_mixer
from ..forward.rotary import Rotary
from ..forward.traits import Traits
from ..gguf.keys import Field, ValueType, array, float32, uint32
from ..settings import COUNT, FLAG, SIZE, checked, number, shown
from .config import FILE_TYPE, head_size, n_layers, required, text_fields
from .family import DECODER_LAYER, Named
from .llama import Llama, interleaved_rows
from .rope_config import rotary_fields

__all__ = ["Deci"]

BLOCKS, KEY_HEADS = "block_configs", "num_key_value_heads_per_layer"
HEADS, KV_HEADS = "attention.head_count", "attention.head_count_kv"
INNER = "feed_forward_length"
STEP = 256
"""Widths are multiples of this."""
UNSUPPORTED = {
    "attention": ("sparsify", "num_sink_tokens", "unshifted_sink", "window_length"),
    "ffn": ("sparsify", "replace_with_linear"),
}
"""Settings of blocks that GGUF has no key for, if they are not null or false."""
MULTIPLE = number(above=0, most=1e6)


@dataclass(frozen=True)
class Block:
    """The sizes of a layer.

    Attributes:
        heads, kv_heads: the numbers of heads; without key heads, heads mean a linear
            map, and no heads mean no attention.
        inner: the width inside the feed-forward part; 0: there is none.
    """

    heads: int
    kv_heads: int
    inner: int


class Deci(Llama):
    """The architecture that llama.cpp calls `deci`."""

    name = "deci"
    hf_classes = ("DeciLMForCausalLM",)
    defaults: ClassVar[Mapping[str, Any]] = {
        **Llama.defaults,
        "default_theta": None,
    }
    fills_head_size = False
    inner: ClassVar = {**DECODER_LAYER, "self_attn.linear_attn": "attn_output"}
    layout: ClassVar[Layout] = Layout(
        attention_bias="optional",
        feed_forward_bias="optional",
        frequencies="optional",
        long_frequencies="stated",
        own_norms=True,
    )

    def complete(self, config: Config) -> dict[str, Any]:
        """The config, with missing keys set to the defaults of its class."""
        whole = super().complete(config)
        if config.get(KEY_HEADS) is not None:
            whole["num_key_value_heads"] = config.get("num_key_value_heads")
        return whole

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            CheckpointError: the settings of layers are damaged.
            UnsupportedModelError: the config has such a setting.
        """
        super().check_settings(config)
        if config.get(BLOCKS) is not None:
            blocks(config)
        elif config.get(KEY_HEADS) is not None:
            _refuse_other_count(config, KEY_HEADS)

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        fields = text_fields(config, file_type)
        if config.get(BLOCKS) is not None:
            fields = _fields_of_blocks(config, file_type)
        elif config.get(KEY_HEADS) is not None:
            fields[KV_HEADS] = array(ValueType.INT32, config[KEY_HEADS])
        return {
            **fields,
            "vocab_size": uint32(required(config, "vocab_size")),
            "rope.dimension_count": uint32(head_size(config)),
        }

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensor of a checkpoint tensor; key heads may differ by layer."""
        match = self.layer.fullmatch(source.rpartition(".")[0])
        if match is None or match[2] != "self_attn.k_proj":
            yield from super().converted(source, tensor, config)
            return
        n_heads, number = _key_heads(config), int(match[1])
        if number >= len(n_heads) or not n_heads[number]:
            raise CheckpointError(
                f"the checkpoint has {source!r}, but config.json says that there is no "
                "such attention; it does not belong to these weights"
            )
        rows = interleaved_rows(source, tensor, n_heads[number])
        yield self.gguf_name(source, config), taken(tensor, rows)

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        traits = Traits(
            epsilon=facts.rms_epsilon,
            layout=self.layout,
            rotary=Rotary.load(facts, claims, self.layout),
            interleaved=True,
        )
        return load_decoder(facts, claims, traits, _load_mixer, _load_part)


def _load_mixer(
    facts: Facts, claims: Claims, number: int, traits: Traits
) -> Mixer | None:
    """Attention, or a linear map, or nothing."""
    heads, kv_heads = (_count(facts, key, number) for key in (HEADS, KV_HEADS))
    if kv_heads == 0:
        return load_linear_mixer(facts, claims, number) if heads else None
    return load_attention(facts, claims, number, traits)


def _load_part(
    facts: Facts, claims: Claims, number: int, traits: Traits
) -> Part | None:
    """The feed-forward part, or nothing."""
    if _count(facts, INNER, number) == 0:
        return None
    return load_feed_forward(facts, claims, number, traits)


def _count(facts: Facts, key: str, layer: int) -> int | None:
    """A layer's number in an array, which may be 0; None: there is no array."""
    values = facts.layer_values(key)
    if values is None:
        return None
    return int(checked(values[layer], COUNT, f"{facts.key(key)}[{layer}]"))


def _key_heads(config: Config) -> list[int]:
    """The number of key heads of each layer."""
    if config.get(BLOCKS) is not None:
        return [block.kv_heads for block in blocks(config)]
    if config.get(KEY_HEADS) is not None:
        return list(config[KEY_HEADS])
    n_heads = required(config, "num_key_value_heads", "num_attention_heads")
    return [n_heads] * n_layers(config)


def _fields_of_blocks(config: Config, file_type: int) -> dict[str, Field]:
    """The metadata of a model whose layers differ."""
    sizes = blocks(config)
    size = required(config, "hidden_size") // required(config, "num_attention_heads")
    base = rotary_fields(config)
    return {
        **{key: base[key] for key in ("rope.freq_base",) if key in base},
        KV_HEADS: array(ValueType.INT32, [block.kv_heads for block in sizes]),
        HEADS: array(ValueType.INT32, [block.heads for block in sizes]),
        INNER: array(ValueType.INT32, [block.inner for block in sizes]),
        "block_count": uint32(n_layers(config)),
        "context_length": uint32(required(config, "max_position_embeddings")),
        "embedding_length": uint32(required(config, "hidden_size")),
        "attention.layer_norm_rms_epsilon": float32(required(config, "rms_norm_eps")),
        "attention.key_length": uint32(size),
        "attention.value_length": uint32(size),
        FILE_TYPE: uint32(file_type),
    }


def blocks(config: Config) -> list[Block]:
    """The sizes of each layer.

    Raises:
        CheckpointError: a setting is missing, or of a wrong kind.
        UnsupportedModelError: a block has a setting that GGUF has no key for.
    """
    _refuse_other_count(config, BLOCKS)
    return [_block(config, i, block) for i, block in enumerate(config[BLOCKS])]


def _refuse_other_count(config: Config, key: str) -> None:
    if len(config[key]) != n_layers(config):
        raise CheckpointError(
            f"config.json: {key} has {len(config[key])} entries; expected one for each "
            f"of {n_layers(config)} layers"
        )


def _block(config: Config, layer: int, block: Mapping[str, Any]) -> Block:
    attention, inside = (_part(block, layer, name) for name in ("attention", "ffn"))
    n_heads = required(config, "num_attention_heads")
    group, multiple = attention.get("n_heads_in_group"), inside.get("ffn_mult")
    at = f"config.json: {BLOCKS}[{layer}]"
    is_linear = attention.get("replace_with_linear", False)
    checked(is_linear, FLAG, f"{at}.attention.replace_with_linear")
    n_keys = 0
    if group is not None:
        checked(group, SIZE, f"{at}.attention.n_heads_in_group")
        n_keys = n_heads // group
        if not n_keys or n_heads % group:
            raise CheckpointError(
                f"{at}.attention.n_heads_in_group is {group}; expected a divisor of "
                f"num_attention_heads, {n_heads}"
            )
    inner = 0
    if multiple is not None:
        checked(multiple, MULTIPLE, f"{at}.ffn.ffn_mult")
        inner = int(2 * multiple * required(config, "hidden_size") / 3)
        inner = (inner + STEP - 1) // STEP * STEP
    return Block(n_heads if n_keys or is_linear else 0, n_keys, inner)


def _part(block: Mapping[str, Any], layer: int, name: str) -> Mapping[str, Any]:
    """The settings of one part of a block."""
    part = block.get(name)
    if not isinstance(part, Mapping):
        raise CheckpointError(
            f"config.json: {BLOCKS}[{layer}] has {name}: {shown(part)}; expected an "
            "object"
        )
    for key in UNSUPPORTED[name]:
        if part.get(key):
            raise UnsupportedModelError(
                f"config.json: {BLOCKS}[{layer}].{name} has {key}: {shown(part[key])}; "
                "for this architecture GGUF readers support only null"
            )
    return part
