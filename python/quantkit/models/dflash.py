"""DFlash and DSpark: layers that draft a block of tokens at a time.

They read states of several of the target's layers, and use its embedding and output
head unless they have their own.  DFlash 2 has short convolutions and a choice among
candidates; DSpark weighs each token by the one before (a Markov head).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from ..checkpoint.lazy import LazyTensor, taken
from ..errors import CheckpointError, UnsupportedModelError
from ..forward.base import Config
from ..forward.windows import PATTERN, WINDOW
from ..gguf.keys import Field, ValueType, array, boolean, float32, uint32
from ..settings import shown
from .config import first, head_size, require_setting, required, text_fields
from .drafts import (
    DRAFT_TOKENS,
    DRAFTS,
    NUMBERS,
    SIZE,
    TARGET,
    layers_field,
    numbered,
)
from .family import DECODER_LAYER, DECODER_TENSORS, SILU, Family, Named, Tensors
from .rope_config import rope_parameters

__all__ = [
    "CONFIDENCE",
    "HAS_CONFIDENCE",
    "DFlash",
    "DSpark",
    "mask_field",
    "own_value",
]

OWN = "dflash_config"
"""The config of drafting inside config.json."""
MASK = "tokenizer.ggml.mask_token_id"
CONFIDENCE = "confidence_head.proj"
HAS_CONFIDENCE = "has_confidence_head"
SECTIONS = "rope.dimension_sections"
PICKLED = {
    "mask_embedding.pt": "a pickled row of the embedding, which quantkit does not read"
}
TURNED = tuple(
    f"self_attn.{part}.weight" for part in ("q_proj", "k_proj", "q_norm", "k_norm")
)
"""Ends of the names of tensors whose rows are in the order of rotation."""

CANDIDATES = (
    "conv_kernel_size",
    "conv_group_size",
    "selector_rank",
    "selector_top_k",
)
"""Keys of DFlash 2, in GGUF and in the config."""


class DFlash(Family):
    """The architecture that llama.cpp calls `dflash`, with layers like Qwen 3's."""

    name = "dflash"
    hf_classes: ClassVar[tuple[str, ...]] = ("DFlashDraftModel", "DFlash2DraftModel")
    defaults: ClassVar = {
        "rms_norm_eps": 1e-6,
        "max_position_embeddings": 32768,
        "num_key_value_heads": 32,
        "head_dim": 128,
    }
    assumed: ClassVar = {**SILU, "markov_head_type": ("vanilla",)}
    drafts = True
    not_run = DRAFTS
    rotates_partly = True
    refused_files = PICKLED
    bare = (".base_kernel",)
    outer: ClassVar = {
        **DECODER_TENSORS,
        "model.lm_head": "output",
        "model.fc": "fc",
        "model.hidden_norm": "enc.output_norm",
        "model.markov_head.markov_w1": "markov_w1",
        "model.markov_head.markov_w2": "markov_w2",
        "model.confidence_head.proj": "conf_proj",
        "model.candidate_selector.predecessor_codebook": "selector_predecessor",
        "model.candidate_selector.successor_codebook": "selector_successor",
        "model.candidate_selector.hidden_projection": "selector_hidden",
    }
    inner: ClassVar = {
        **DECODER_LAYER,
        "self_attn.sinks": "attn_sinks",
        "self_attn.attention_sink_bias": "attn_sinks",
        "attention_conv.base_kernel": "attn_conv_base",
        "attention_conv.kernel_projection": "attn_conv_proj",
        "mlp_conv.base_kernel": "ffn_conv_base",
        "mlp_conv.kernel_projection": "ffn_conv_proj",
    }

    def complete(self, config: Config) -> dict[str, Any]:
        """The complete config, with what drafting needs in `dflash_config`."""
        whole = super().complete(config)
        whole[OWN] = dict(whole.get(OWN) or {})
        return whole

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            UnsupportedModelError: the config has such a setting.
        """
        super().check_settings(config)
        require_setting(config[OWN], "markov_head_type", "vanilla")
        if not target_layers(config):
            raise UnsupportedModelError(
                "config.json has no target_layer_ids; GGUF readers need the numbers of "
                "the target's layers whose states are read"
            )

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        own, fields = config[OWN], text_fields(config, file_type)
        share = rope_parameters(config).get("partial_rotary_factor")
        if share is not None:
            fields["rope.dimension_count"] = uint32(int(head_size(config) * share))
        if (scale := own.get("attention_value_scale")) is not None:
            fields["attention.value_scale"] = float32(scale)
        fields["block_size"] = uint32(own_value(config, "block_size", 16))
        if own.get("conv_kernel_size") is not None:
            fields |= {key: uint32(required(own, key)) for key in CANDIDATES}
        if (factor := own_value(config, "output_multiplier")) is not None:
            fields["logit_scale"] = float32(factor)
        if cap := own_value(config, "final_logit_softcapping"):
            fields["final_logit_softcapping"] = float32(cap)
        if (scale := self.embedding_scale(config)) is not None:
            fields["embedding_scale"] = float32(scale)
        fields["target_layers"] = layers_field([i + 1 for i in target_layers(config)])
        fields |= windows(config)
        causal = config.get("is_causal")
        causal = own.get("causal") if causal is None else causal
        if causal is not None:
            fields["attention.causal"] = boolean(causal)
        target = config[TARGET]
        rope = target.get("rope_parameters") or target.get("rope_scaling") or {}
        if "mrope_section" in rope:
            sections = [head_size(config) // 2, 0, 0, 0]
            fields[SECTIONS] = array(ValueType.INT32, sections)
        return fields

    def embedding_scale(self, config: Config) -> float | None:
        """What multiplies embedded tokens: Gemma's embeddings are scaled."""
        stated = own_value(config, "input_embedding_scale")
        if stated is not None:
            return float(stated)
        target = config[TARGET]
        classes = target.get("architectures") or [""]
        if not str(classes[0]).startswith("Gemma"):
            return None
        return float(required(target, "hidden_size") ** 0.5)

    def token_fields(self, config: Config) -> dict[str, Field]:
        """The token that stands for those to be drafted."""
        return mask_field(config[OWN].get("mask_token_id"))

    def check(self, config: Config, stored: Tensors) -> None:
        """See `Family.check`; a draft model may use the target's output head."""

    def mapped(self, config: Config, stored: Tensors) -> Iterator[Named]:
        """The GGUF tensors made from the checkpoint's tensors."""
        named = {self.whole_name(name): tensor for name, tensor in stored.items()}
        if config.get("has_embed_tokens") is False:
            named.pop("model.embed_tokens.weight", None)
        yield from super().mapped(config, named)

    def whole_name(self, name: str) -> str:
        """The name of a tensor as in other checkpoints."""
        whole = name if name.startswith("model.") else f"model.{name}"
        is_kind_missing = "sink" in name or name.endswith("_codebook")
        if is_kind_missing and not name.endswith(".weight"):
            return f"{whole}.weight"
        return whole

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensor of a checkpoint tensor; rows may change their order."""
        is_neox = config.get("rope_is_neox_style") is not False
        if not is_neox and source.endswith(TURNED):
            tensor = taken(tensor, _evens_first(source, tensor, head_size(config)))
        yield self.gguf_name(source, config), tensor


class DSpark(DFlash):
    """DFlash with a Markov head, and perhaps a head for how sure it is."""

    hf_classes: ClassVar[tuple[str, ...]] = (
        "DSparkDraftModel",
        "DSparkSpeculator",
        "Lfm2DSparkDraftModel",
        "LingDSparkModel",
        "Qwen3DSparkModel",
    )

    def complete(self, config: Config) -> dict[str, Any]:
        """The complete config, with the keys of other tools under their usual names."""
        whole = super().complete(config)
        layers = config.get("aux_hidden_state_layer_ids")
        if "sample_from_anchor" not in whole:
            is_nested = "transformer_layer_config" in config
            whole["sample_from_anchor"] = layers is None and not is_nested
        if config.get(OWN) is None:
            ids = whole.get("target_layer_ids")
            if layers is not None:
                ids = [layer - 1 for layer in layers]
            mask = whole.get("mask_token_id")
            whole[OWN] = {"mask_token_id": mask, "target_layer_ids": ids}
        return whole

    def extended(self, config: Config, stored: Tensors) -> Config:
        """The complete config, with whether there is a head for how sure it is."""
        return {**config, HAS_CONFIDENCE: any(CONFIDENCE in name for name in stored)}

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        return {
            **super().hyperparameters(config, file_type),
            "sample_from_anchor": boolean(config["sample_from_anchor"]),
            HAS_CONFIDENCE: boolean(config.get(HAS_CONFIDENCE, False)),
        }

    def mapped(self, config: Config, stored: Tensors) -> Iterator[Named]:
        """The GGUF tensors; a head for all of the target's tokens is the target's.

        Raises:
            CheckpointError: the model has fewer tokens, and does not say which.
        """
        n_tokens, n_drafts = required(config, "vocab_size"), config.get(SIZE)
        is_smaller = n_drafts not in (None, n_tokens)
        if is_smaller and NUMBERS not in stored:
            raise CheckpointError(
                f"config.json has {SIZE}: {shown(n_drafts)} and vocab_size: "
                f"{shown(n_tokens)}, but the checkpoint has no {NUMBERS!r}, which says "
                "which tokens the draft model has"
            )
        kept = {
            name: tensor
            for name, tensor in stored.items()
            if name not in DRAFT_TOKENS
            and (is_smaller or not name.endswith("lm_head.weight"))
        }
        yield from super().mapped(config, kept)
        yield from numbered(config, stored.get(NUMBERS))


def own_value(config: Config, key: str, default: Any = None) -> Any:
    """The value of a key in `dflash_config`, or else beside it."""
    found = first(config[OWN], key)
    found = first(config, key) if found is None else found
    return default if found is None else found


def target_layers(config: Config) -> list[int]:
    """The target's layers whose outputs are read, counted from 0."""
    return list(own_value(config, "target_layer_ids", []))


def windows(config: Config) -> dict[str, Field]:
    """The layers with a sliding window, if the model uses one."""
    own = config.get(OWN) or {}
    window = own.get("swa_window_size") or config.get("sliding_window")
    is_all = bool(own.get("use_swa"))
    if not window or not (is_all or config.get("use_sliding_window")):
        return {}
    layers = [True] * required(config, "num_hidden_layers")
    if not is_all:
        kinds = required(config, "layer_types")
        layers = [kind == "sliding_attention" for kind in kinds]
    return {WINDOW: uint32(window), PATTERN: array(ValueType.BOOL, layers)}


def mask_field(token: int | None) -> dict[str, Field]:
    """The token that stands for those to be drafted."""
    return {} if token is None else {MASK: uint32(token)}


def _evens_first(source: str, tensor: LazyTensor, size: int) -> Any:
    """The row order that puts components 0, 2, ... of each head before the others.

    Raises:
        CheckpointError: the rows do not form heads of that size.
    """
    n_rows = tensor.shape[0]
    if n_rows % size or size % 2:
        raise CheckpointError(
            f"{source!r} has {n_rows} rows, which do not form heads of {size}; "
            "config.json does not belong to these weights"
        )
    pairs = np.arange(n_rows, dtype=np.intp).reshape(-1, size // 2, 2)
    return pairs.swapaxes(1, 2).reshape(n_rows)
