"""Qwen 4 Exp (Qwen 3.8 Flash Next): Qwen 3.5 with experts, and three things more.

Several residual streams replace the norms of layers; one layer adds embeddings of token
n-grams, which are hashed; full attention sees only the keys that an indexer chooses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from ..checkpoint.lazy import LazyTensor, joined, reshaped, taken
from ..checkpoint.lazy_columns import columns_joined
from ..checkpoint.stored import integers_of
from ..errors import CheckpointError, UnsupportedModelError
from ..forward.attention import Attention
from ..forward.base import Config, Model
from ..forward.block_indexer import load_block_indexer
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.facts import Facts
from ..forward.gated_streams import GatedLayer, GatedStreams, StreamMixer
from ..forward.layer import Layer, Sequential
from ..forward.layout import Layout
from ..forward.ngram_embedding import load_ngram_layer, ngram_layer
from ..forward.traits import Traits
from ..gguf.keys import Field, ValueType, array, uint32
from ..settings import shown
from .config import n_layers, require_setting, required
from .family import Named, Tensors
from .mtp import MTP
from .qwen_next import FULL, LINEAR, Qwen3Next, Qwen35Moe

__all__ = ["Qwen4Exp"]

INDEXED = "indexed_attention"
TABLE = "per_layer_token_embd.weight"
CONSTANTS = {
    "layer_multipliers": "ple.layer_multipliers",
    "ngram_heads_offsets": "ple.head_offsets",
    "ngram_heads_vocab_sizes": "ple.head_vocab_sizes",
}
"""Tensors of integers in the checkpoint -> GGUF key."""
ROW_SIZE = "embedding_length_per_layer_input"
SHARD = re.compile(
    r"(.+\.ple)\.ple_embedding\.ngram_embedding\.shard_(\d{1,9})\.weight"
)
HALVES = ("mtp.fc_embedding.weight", "mtp.fc_hidden.weight")
STREAMS = {
    "hc_norm": "norm",
    "input_mix_weight_down": "down",
    "input_mix_weight_up": "up",
    "block_inject_weight": "inject",
}


class Qwen4Exp(Qwen35Moe):
    """The architecture that llama.cpp calls `qwen4exp`."""

    name = "qwen4exp"
    hf_classes = ("Qwen4ExpForCausalLM", "Qwen4ExpForConditionalGeneration")
    defaults: ClassVar = {
        **Qwen3Next.defaults,
        "partial_rotary_factor": 1.0,
        "intermediate_size": None,
        "hc_count": 4,
        "hc_lowrank": 320,
        "ple_layer_ids": [],
        "ple_conv_kernel_size": 4,
        "ngram_size": 3,
        "heads_per_ngram": 8,
        "split_ngram_parts": 512,
        "output_gate_type": "silu",
    }
    assumed: ClassVar = {
        **Qwen3Next.assumed,
        "output_gate_type": ("sigmoid",),
        "indexer_kv_heads": (1,),
    }
    layer_types = (LINEAR, FULL, INDEXED)
    outer: ClassVar = {
        "model.embed_tokens": "token_embd",
        "lm_head": "output",
        **{
            f"model.hyper_connection_mixer.{part}": f"output_hc_{name}"
            for part, name in STREAMS.items()
        },
    }
    inner: ClassVar = {
        **{k: v for k, v in Qwen3Next.inner.items() if "layernorm" not in k},
        **{
            f"{where}_hyper_connection.{part}": f"hc_{short}_{name}"
            for part, name in STREAMS.items()
            for where, short in (("attn", "attn"), ("mlp", "ffn"))
        },
        **{
            f"mtp.hyper_connection_mixer.{part}": f"nextn.hc_head_{name}"
            for part, name in STREAMS.items()
        },
        **MTP,
        "self_attn.indexer.q_proj": "indexer.q_proj",
        "self_attn.indexer.k_proj": "indexer.k_proj",
        "self_attn.indexer.q_layernorm": "indexer.q_norm",
        "self_attn.indexer.k_layernorm": "indexer.k_norm",
        "ple.key_proj": "ple_key",
        "ple.value_proj": "ple_value",
        "ple.norm_key": "ple_norm_key",
        "ple.norm_query": "ple_norm_query",
        "ple.norm_conv": "ple_norm_conv",
        "ple.conv1d": "ple_conv1d",
    }
    layout: ClassVar[Layout] = Layout(
        norms="none",
        feed_forward_norm="none",
        final_norm="none",
        query_norms="required",
    )

    def complete(self, config: Config) -> dict[str, Any]:
        """The config, with missing keys set to the defaults of its class."""
        whole = super().complete(config)
        if whole.get("output_gate_type") is None:
            whole["output_gate_type"] = whole.get("hidden_act", "silu")
        whole["ple_layer_ids"] = whole["ple_layer_ids"] or []
        return whole

    def extended(self, config: Config, stored: Tensors) -> Config:
        """The config, with what only the checkpoint's tensors tell.

        These are the number of layers that predict further tokens, and the constants of
        the n-gram hash.

        Raises:
            CheckpointError: a constant is missing.
        """
        whole = dict(super().extended(config, stored))
        if not config.get("ple_layer_ids"):
            if name := next((name for name in stored if ".ple." in name), None):
                raise CheckpointError(
                    f"the checkpoint has {name!r}, but ple_layer_ids of config.json "
                    "names no layer; download the model's config.json again"
                )
            return whole
        for name, tensor in stored.items():
            if (key := name.rpartition(".")[2]) in CONSTANTS:
                whole[key] = integers_of(tensor)
            if SHARD.fullmatch(name):
                whole[ROW_SIZE] = tensor.shape[-1]
        for key in (*CONSTANTS, ROW_SIZE):
            if key not in whole:
                raise CheckpointError(
                    f"the checkpoint lacks {key} of its n-gram embedding; a shard is "
                    "missing"
                )
        return whole

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            CheckpointError: a setting is missing or does not fit the others.
            UnsupportedModelError: the config has such a setting.
        """
        super().check_settings(config)
        budget, ratio = (
            required(config, f"indexer_{key}") for key in ("budget", "compress_ratio")
        )
        if ratio < 2 or budget % ratio:
            raise CheckpointError(
                f"config.json: indexer_budget is {budget} and indexer_compress_ratio "
                f"{ratio}; expected a multiple of the second, which is at least 2"
            )
        require_setting(config, "ple_embed_dim", required(config, "hidden_size"))
        layers = config["ple_layer_ids"]
        kinds = required(config, "layer_types")
        if len(layers) > 1 or any(
            not 0 < layer <= len(kinds) or kinds[layer - 1] != LINEAR
            for layer in layers
        ):
            raise UnsupportedModelError(
                f"config.json has ple_layer_ids: {shown(layers)}; GGUF readers support "
                "only one such layer, which has linear attention"
            )

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        fields = super().hyperparameters(config, file_type)
        ratio = required(config, "indexer_compress_ratio")
        kinds = required(config, "layer_types")
        n_more = self.n_blocks(config) - n_layers(config)
        ratios = [0 if kind == LINEAR else ratio for kind in kinds] + [ratio] * n_more
        fields |= {
            key: uint32(required(config, name))
            for key, name in {
                "hyper_connection.count": "hc_count",
                "hyper_connection.low_rank": "hc_lowrank",
                "attention.indexer.head_count": "indexer_n_heads",
                "attention.indexer.key_length": "indexer_head_dim",
                "attention.indexer.top_k": "indexer_budget",
            }.items()
        }
        fields["attention.compress_ratios"] = array(ValueType.INT32, ratios)
        if config["ple_layer_ids"]:
            fields |= _ngram_fields(config)
        return fields

    def is_norm(self, name: str) -> bool:
        """Whether GGUF has this tensor plus one; `name` is its GGUF name."""
        return super().is_norm(name) or ".ple_norm_" in name

    def mapped(self, config: Config, stored: Tensors) -> Iterator[Named]:
        """The GGUF tensors made from the checkpoint's tensors."""
        kept: dict[str, LazyTensor] = {}
        shards: dict[int, LazyTensor] = {}
        n_shards = int(required(config, "split_ngram_parts"))
        for name, tensor in stored.items():
            if name.rpartition(".")[2] in CONSTANTS:
                continue
            if match := SHARD.fullmatch(name):
                shards[int(match[2])] = tensor
                if len(shards) == n_shards:
                    whole = joined([shards[number] for number in sorted(shards)])
                    kept[f"{match[1]}.table.weight"] = whole
                continue
            kept[name] = tensor
        if shards and len(shards) != n_shards:
            raise CheckpointError(
                f"the checkpoint has {len(shards)} parts of its n-gram embedding, but "
                f"config.json has split_ngram_parts: {n_shards}; a shard is missing"
            )
        yield from super().mapped(config, _fused_halves(kept))

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensors of a checkpoint tensor."""
        if source.endswith(".ple.table.weight"):
            yield TABLE, tensor
            return
        if source.endswith(".indexer.index_qk_proj.weight"):
            n_heads = int(required(config, "indexer_n_heads"))
            n_queries = n_heads * int(required(config, "indexer_head_dim"))
            rows = np.split(np.arange(tensor.shape[0]), [n_queries])
            for part, own in zip("qk", rows, strict=True):
                name = source.replace("index_qk_proj", f"{part}_proj")
                yield self.gguf_name(name, config), taken(tensor, own)
            return
        if source.endswith(".ple.conv1d.weight") and len(tensor.shape) == 3:
            tensor = reshaped(tensor, (tensor.shape[0], tensor.shape[2]))
        yield from super().converted(source, tensor, config)

    gating = "sigmoid"

    def attention(
        self, facts: Facts, claims: Claims, number: int, traits: Traits
    ) -> Attention:
        """The attention of layer `number`."""
        attention = super().attention(facts, claims, number, traits)
        chooser = load_block_indexer(facts, claims, number, traits)
        return replace(attention, chooser=chooser)

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        traits, with_ngrams = self.traits(facts, claims), ngram_layer(facts)
        sizes = (
            facts.size("hyper_connection.count"),
            facts.width,
            facts.size("hyper_connection.low_rank"),
        )

        def mixer(name: str, *, injects: bool = True) -> StreamMixer:
            return StreamMixer.of(claims, name, sizes, traits.epsilon, injects=injects)

        def wrap(parts: Sequential, number: int) -> Layer:
            before = (mixer(f"blk.{number}.hc_{part}") for part in ("attn", "ffn"))
            ngrams = None
            if number == with_ngrams:
                ngrams = load_ngram_layer(
                    facts, claims, number, sizes[0], traits.epsilon
                )
            return GatedLayer(parts, (next(before), next(before)), ngrams)

        streams = GatedStreams(
            int(sizes[0]),
            int(facts.width),
            mixer("output_hc", injects=False),
            keeps_tokens=with_ngrams is not None,
        )
        return load_decoder(
            facts,
            claims,
            traits,
            self.mixers(facts),
            opening=streams,
            closing=streams.closed,
            wrap=wrap,
        )


def _fused_halves(stored: Tensors) -> dict[str, LazyTensor]:
    """The tensors, with the two halves of the predictors' first projection as one.

    Raises:
        CheckpointError: only one is there.
    """
    halves = [name for end in HALVES for name in stored if name.endswith(end)]
    if not halves:
        return dict(stored)
    if len(halves) != len(HALVES):
        raise CheckpointError(
            f"the checkpoint has {halves[0]!r}, but not both of {', '.join(HALVES)}; a "
            "shard is missing"
        )
    whole = columns_joined([stored[name] for name in halves])
    last = max(halves, key=list(stored).index)
    made = {}
    for name, tensor in stored.items():
        if name == last:
            made["mtp.fc.weight"] = whole
        elif name not in halves:
            made[name] = tensor
    return made


def _ngram_fields(config: Config) -> dict[str, Field]:
    """The metadata of the n-gram embedding."""
    layers = [layer - 1 for layer in config["ple_layer_ids"]]
    end = required(config, "eos_token_id")
    fields = {
        "ple.layers": array(ValueType.INT32, layers),
        "ple.ngram_size": uint32(required(config, "ngram_size")),
        "ple.heads_per_ngram": uint32(required(config, "heads_per_ngram")),
        "ple.conv_kernel": uint32(required(config, "ple_conv_kernel_size")),
        "ple.eos_token_id": uint32(end[0] if isinstance(end, list) else end),
    }
    if config.get("image_token_id") is not None:
        fields["ple.image_token_id"] = uint32(config["image_token_id"])
    fields[ROW_SIZE] = uint32(config[ROW_SIZE])
    for name, key in CONSTANTS.items():
        fields[key] = array(ValueType.UINT64, config[name])
    return fields
