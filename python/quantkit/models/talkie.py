"""Talkie: norms without weights, gains of heads and parts, embeddings added again.

Heads rotate by halves, in the other direction than GGUF readers rotate them; so half of
the rows of queries and keys change their sign.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from ..checkpoint.lazy import LazyTensor, LowRank, joined, reshaped, taken, values_of
from ..checkpoint.lazy_functions import scaled
from ..errors import CheckpointError
from ..forward.attention import Attention, load_attention
from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.facts import Facts
from ..forward.layer import Sequential
from ..forward.layers import Norm
from ..forward.layout import Layout
from ..forward.rotary import Rotary
from ..forward.skipping import SkipOpening, Skipping
from ..forward.stack import first_columns
from ..forward.traits import Traits
from ..gguf.keys import Field, float32
from .config import required, text_fields
from .family import Family, Named, Tensors

__all__ = ["Talkie"]

EPSILON = float(np.finfo(np.float32).eps)
HEAD_GAIN = "lm_head_gain.w_g"
LOGIT_SCALE = "logit_gain"
"""The key, in a complete config, of what multiplies the logits."""
GAINS = (".a_g", ".head_g", ".w_g")


class Talkie(Family):
    """The architecture that llama.cpp calls `talkie`."""

    name = "talkie"
    hf_classes = ("TalkieForCausalLM",)
    defaults: ClassVar[Mapping[str, Any]] = {"default_theta": None}
    outer: ClassVar = {"model.embed": "token_embd", "lm_head": "output"}
    layer: ClassVar = re.compile(r"model\.blocks\.(\d+)\.(.+)")
    inner: ClassVar = {
        "attn.attn_query": "attn_q",
        "attn.attn_key": "attn_k",
        "attn.attn_value": "attn_v",
        "attn.attn_resid": "attn_output",
        "attn.head_gain.head_g": "attn_q_norm.weight",
        "attn_gain.a_g": "attn_output.scale",
        "embed_skip.a_g": "layer_output_scale.weight",
        "mlp.mlp_gate": "ffn_gate",
        "mlp.mlp_linear": "ffn_up",
        "mlp.mlp_resid": "ffn_down",
        "mlp_gain.a_g": "ffn_down.scale",
    }
    bare = GAINS
    skipped: ClassVar = (HEAD_GAIN,)
    rope_types = ("default",)
    layout: ClassVar[Layout] = Layout(head="required")

    def extended(self, config: Config, stored: Tensors) -> Config:
        """The complete config, with the scale of the logits.

        Raises:
            CheckpointError: it is missing, or no number.
        """
        gain = stored.get(HEAD_GAIN)
        value = np.array([]) if gain is None else values_of(gain).ravel()
        if value.size != 1 or not np.isfinite(value).all():
            raise CheckpointError(
                f"the checkpoint has no {HEAD_GAIN!r} with one number; a shard is "
                "missing"
            )
        return {**config, LOGIT_SCALE: float(value[0])}

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        required(config, "head_dim")
        fields = text_fields(config, file_type)
        fields["attention.layer_norm_rms_epsilon"] = float32(EPSILON)
        return fields

    def early_fields(self, config: Config) -> dict[str, Field]:
        """Metadata that precedes all other keys: the scale of the logits."""
        return {"logit_scale": float32(config[LOGIT_SCALE])}

    def tensors(self, config: Config, stored: Tensors) -> Iterator[Named]:
        """GGUF names and tensors; matrices may be stored without ".weight"."""
        ends = (".weight", *GAINS)
        named = {k if k.endswith(ends) else f"{k}.weight": t for k, t in stored.items()}
        yield from super().tensors(config, named)

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensor of a checkpoint tensor.

        Raises:
            CheckpointError: rows do not form heads.
        """
        if source.endswith((".attn_query.weight", ".attn_key.weight")):
            tensor = _turned_back(source, tensor, required(config, "head_dim"))
        if source.endswith(".head_g"):
            tensor = reshaped(tensor, (*tensor.shape, 1))
        yield self.gguf_name(source, config), tensor

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        width = facts.width
        traits = Traits(
            epsilon=facts.rms_epsilon,
            layout=self.layout,
            unweighted_norms=True,
            normed_embedding=True,
            normed_heads=lambda layer: True,
            norm_after_rotary=True,
            rotary=Rotary.load(facts, claims, self.layout),
            logit_scale=facts.number("logit_scale"),
        )

        def wrap(layer: Sequential, number: int) -> Skipping:
            at = f"blk.{number}."
            for part in ("attn_output", "ffn_down"):
                claims.vector(f"{at}{part}.scale", 1)  # the matrix is read with it
            scale = claims.vector(f"{at}layer_output_scale.weight", 1)
            return Skipping(layer, width, scale)

        return load_decoder(
            facts,
            claims,
            traits,
            _load_attention,
            opening=SkipOpening(2 * width),
            closing=first_columns(width),
            wrap=wrap,
        )


def _load_attention(
    facts: Facts, claims: Claims, number: int, traits: Traits
) -> Attention:
    """The attention of layer `number`; the norm of queries has a gain for each head."""
    attention = load_attention(facts, claims, number, traits)
    n_heads = facts.n_heads(number)
    gains = claims.vector(f"blk.{number}.attn_q_norm.weight", n_heads, 1)
    weight = np.repeat(gains[:, None], facts.key_size, axis=1)
    norm = Norm(weight, None, traits.epsilon, centered=False)
    return replace(attention, q_norm=norm)


def _turned_back(source: str, tensor: LazyTensor, size: int) -> LazyTensor:
    """The matrix with the sign of the second half of each head changed.

    Raises:
        CheckpointError: its rows do not form heads of an even size.
    """
    if isinstance(tensor, LowRank):
        return LowRank(tensor.a, _turned_back(source, tensor.b, size))
    n_rows = tensor.shape[0]
    if n_rows % size or size % 2:
        raise CheckpointError(
            f"{source!r} has {n_rows} rows, which do not form heads of an even size of "
            f"{size}; config.json does not belong to these weights"
        )
    rows = np.arange(n_rows)
    both = joined([scaled(tensor, 1.0), scaled(tensor, -1.0)])
    return taken(both, rows + n_rows * (rows % size >= size // 2))
