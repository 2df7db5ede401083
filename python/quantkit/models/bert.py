"""BERT and its relatives: norms after the parts, absolute positions or rotation.

All of them are the architecture `bert` in GGUF, or one that differs from it in how
positions enter: `nomic-bert` rotates, `jina-bert-v2` has ALiBi in both directions.
They are in modules of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np

from ..checkpoint.lazy import LazyTensor, taken
from ..errors import CheckpointError
from ..forward.base import Config
from ..forward.claims import Claims
from ..forward.encoder import Encoder, load_encoder, post_normed
from ..forward.facts import Facts
from ..forward.layout import Layout
from ..forward.traits import Traits
from ..gguf.keys import Field, float32
from ..settings import COUNT, checked
from .config import required
from .encoders import EncoderFamily, labels_of
from .family import Named

__all__ = ["PLAIN", "Bert", "DistilBert", "Roberta", "XlmRoberta"]

EPSILON_KEY = "attention.layer_norm_epsilon"
DISTILBERT_EPSILON = 1e-12
"""A constant of the class."""

PLAIN = Layout(
    norms="none",
    norm_bias="required",
    feed_forward_norm="none",
    embedding_norm="required",
    final_norm="none",
    positions="required",
    attention_bias="optional",
    gate="none",
    feed_forward_bias="optional",
)


class Bert(EncoderFamily):
    """The architecture that llama.cpp calls `bert`."""

    name = "bert"
    hf_classes: ClassVar[tuple[str, ...]] = (
        "BertModel",
        "BertForMaskedLM",
        "BertForSequenceClassification",
        "CamembertModel",
    )
    defaults: ClassVar[Mapping[str, Any]] = {"default_theta": None}
    assumed: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "hidden_act": ("gelu",),
        "position_embedding_type": ("absolute",),
        "is_decoder": (False,),
        "add_cross_attention": (False,),
    }
    rope_types: ClassVar[tuple[str, ...]] = ()
    renames: ClassVar[tuple[tuple[str, str], ...]] = (
        (".gamma", ".weight"),
        (".beta", ".bias"),
    )
    prefix: ClassVar[str] = "bert."
    """What models with a head put before the names of the encoder's tensors."""

    dropped: ClassVar[tuple[str, ...]] = (
        *("embeddings.position_ids", "pooler.dense.", "cls.predictions"),
        *("cls.seq_relationship", "lm_head."),
    )
    """Starts of the names of tensors that embeddings do not need."""

    outer: ClassVar[dict[str, str]] = {
        "embeddings.word_embeddings": "token_embd",
        "embeddings.token_type_embeddings": "token_types",
        "embeddings.position_embeddings": "position_embd",
        "embeddings.LayerNorm": "token_embd_norm",
        "classifier": "cls",
        "classifier.dense": "cls",
        "classifier.out_proj": "cls.output",
    }
    layer: ClassVar[re.Pattern[str]] = re.compile(r"encoder\.layer\.(\d+)\.(.+)")
    inner: ClassVar[dict[str, str]] = {
        "attention.self.query": "attn_q",
        "attention.self.key": "attn_k",
        "attention.self.value": "attn_v",
        "attention.output.dense": "attn_output",
        "attention.output.LayerNorm": "attn_output_norm",
        "intermediate.dense": "ffn_up",
        "output.dense": "ffn_down",
        "output.LayerNorm": "layer_output_norm",
    }
    layout: ClassVar[Layout] = PLAIN
    unread = ("cls.",)

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensor of a checkpoint tensor, if the encoder needs it."""
        source = source.removeprefix(self.prefix)
        if source.startswith(self.dropped):
            return
        if source.startswith("classifier.") and labels_of(config) is not None:
            source = re.sub(r"^classifier\.(?=\w+$)", "classifier.out_proj.", source)
        yield self.gguf_name(source, config), tensor

    def load_encoder(self, facts: Facts, claims: Claims) -> Encoder:
        """Build the encoder from GGUF metadata and tensors."""
        traits = self.traits(facts, claims)
        return load_encoder(facts, claims, traits, post_normed(facts, claims, traits))

    def traits(self, facts: Facts, claims: Claims) -> Traits:
        """The traits of the forward pass."""
        return Traits(
            epsilon=facts.epsilon,
            layout=self.layout,
            centered=True,
            activation="gelu",
            causal=False,
        )


class DistilBert(Bert):
    """BERT with other names, without token types."""

    hf_classes = (
        "DistilBertModel",
        "DistilBertForMaskedLM",
        "DistilBertForSequenceClassification",
    )
    assumed: ClassVar = {
        "activation": ("gelu",),
        "sinusoidal_pos_embds": (False,),
    }
    prefix = "distilbert."
    dropped = ("vocab_",)
    outer: ClassVar = {**Bert.outer, "pre_classifier": "cls"}
    layer = re.compile(r"transformer\.layer\.(\d+)\.(.+)")
    inner: ClassVar = {
        "attention.q_lin": "attn_q",
        "attention.k_lin": "attn_k",
        "attention.v_lin": "attn_v",
        "attention.out_lin": "attn_output",
        "sa_layer_norm": "attn_output_norm",
        "ffn.lin1": "ffn_up",
        "ffn.lin2": "ffn_down",
        "output_layer_norm": "layer_output_norm",
    }

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        epsilon = {EPSILON_KEY: float32(DISTILBERT_EPSILON)}
        return epsilon | super().hyperparameters(config, file_type)


class Roberta(Bert):
    """BERT whose positions start after the number of the padding token."""

    hf_classes: ClassVar[tuple[str, ...]] = (
        "RobertaModel",
        "RobertaForSequenceClassification",
    )
    prefix = "roberta."

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        n_all, n_padding = required(config, "max_position_embeddings"), _first(config)
        if n_all <= n_padding:
            raise CheckpointError(
                f"config.json: max_position_embeddings is {n_all}, and the first "
                f"{n_padding} are for padding: none is left"
            )
        own = {**config, "max_position_embeddings": n_all - n_padding}
        return super().hyperparameters(own, file_type)

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensor of a checkpoint tensor; unused positions are left out."""
        if source.endswith("embeddings.position_embeddings.weight"):
            tensor = taken(tensor, np.arange(_first(config), tensor.shape[0]))
        yield from super().converted(source, tensor, config)


class XlmRoberta(Roberta):
    """RoBERTa with a multilingual vocabulary."""

    hf_classes = ("XLMRobertaModel", "XLMRobertaForSequenceClassification")

    @classmethod
    def suits(cls, config: Config) -> bool:
        """Whether the model has no adapters, as Jina BERT 3 has."""
        return not config.get("lora_adaptations")


def _first(config: Config) -> int:
    """The position of a text's first token, which follows that of padding."""
    pad = config.get("pad_token_id")
    if pad is None:
        return 0
    return int(checked(pad, COUNT, "config.json: pad_token_id")) + 1
