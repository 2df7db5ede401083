"""Chameleon: Llama with LayerNorms of heads; some of its tokens are pieces of images.

The larger model, of 30B, normalizes outputs of a layer's parts instead of their inputs,
as the Swin Transformer does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from ..checkpoint.lazy import LazyTensor, reshaped, taken
from ..errors import CheckpointError
from ..forward.attention import Attention, load_attention
from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.facts import TOKENS, Facts
from ..forward.layer import Layer, Sequential
from ..forward.layers import Head
from ..forward.layout import Layout
from ..forward.traits import Traits
from ..gguf.keys import Field, boolean
from .config import required, text_fields
from .family import SILU, Family, Named
from .llama import Llama, interleaved_rows

__all__ = ["Chameleon"]

IMAGE_TOKEN = "IMGIMG"
"""The start of the names of tokens that are pieces of images."""
HEAD_EPSILON = 1e-5
"""That of the norms of heads, for which GGUF has no key."""
NEVER = np.float32(np.finfo(np.float32).min)


class Chameleon(Llama):
    """The architecture that llama.cpp calls `chameleon`."""

    name = "chameleon"
    hf_classes: ClassVar[tuple[str, ...]] = (
        "ChameleonForConditionalGeneration",
        "ChameleonForCausalLM",
    )
    headless: ClassVar[tuple[str, ...]] = ()
    defaults: ClassVar[Mapping[str, Any]] = {
        "rms_norm_eps": 1e-5,
        "max_position_embeddings": 4096,
        "num_key_value_heads": 32,
        "swin_norm": False,
    }
    assumed: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        **SILU,
        "attention_bias": (False,),
        "mlp_bias": (False,),
    }
    rope_types: ClassVar[tuple[str, ...]] = Family.rope_types
    fills_head_size = False
    foreign: ClassVar[tuple[str, ...]] = ("model.vqmodel",)
    layout: ClassVar[Layout] = Layout(
        query_norms="required", query_norm_bias="optional", query_norm_span="heads"
    )

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        return {
            **text_fields(config, file_type),
            "swin_norm": boolean(required(config, "swin_norm")),
        }

    def computed_tensors(self, config: Config) -> Iterator[Named]:
        """GGUF tensors computed from the config: none."""
        yield from ()

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensor of a checkpoint tensor; those of heads are permuted.

        Raises:
            CheckpointError: a norm of heads has another number of axes than two.
        """
        module = source.rpartition(".")[0]
        if not module.endswith((".q_norm", ".k_norm")):
            yield from super().converted(source, tensor, config)
            return
        if len(tensor.shape) != 2:
            raise CheckpointError(
                f"the checkpoint's {source!r} has the shape {list(tensor.shape)}; "
                "expected two axes: heads, and the components of a head"
            )
        n_heads, size = tensor.shape
        flat = reshaped(tensor, (n_heads * size,))
        flat = taken(flat, interleaved_rows(source, flat, n_heads))
        yield self.gguf_name(source, config), reshaped(flat, (n_heads, size))

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        swin = facts.flag("swin_norm", False)
        model = load_decoder(
            facts,
            claims,
            self.traits(facts, claims),
            mixer=_load_attention,
            wrap=_with_norms_after if swin else lambda layer, number: layer,
        )
        return replace(model, head=_without_images(model.head, facts, claims))


def _load_attention(
    facts: Facts, claims: Claims, number: int, traits: Traits
) -> Attention:
    """The attention of layer `number`, whose heads have LayerNorms."""
    of_heads = replace(traits, centered=True, epsilon=HEAD_EPSILON)
    return load_attention(facts, claims, number, of_heads)


def _with_norms_after(layer: Sequential, number: int) -> Layer:
    """The layer with the norms of its parts' inputs applied to their outputs."""
    return replace(
        layer,
        mixer_norm=None,
        mixer_out_norm=layer.mixer_norm,
        feed_forward_norm=None,
        feed_forward_out_norm=layer.feed_forward_norm,
    )


def _without_images(head: Head, facts: Facts, claims: Claims) -> Head:
    """The head, which never predicts pieces of images, as in transformers."""
    tokens = facts.metadata.get(TOKENS)
    if tokens is None:
        return head
    is_image = [str(token).startswith(IMAGE_TOKEN) for token in tokens.value]
    bias = claims.placed(np.where(is_image, NEVER, np.float32(0)))
    return replace(head, linear=replace(head.linear, bias=bias))
