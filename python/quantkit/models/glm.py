"""GLM-4 and ChatGLM: partial rotation of neighbouring components; fused gate and up.

ChatGLM (2, 3, GLM-4-9B-Chat) uses its own tensor names and config keys; Glm is the same
architecture in transformers.  Glm4 (GLM-4-0414) is a separate architecture that also
normalizes the output of each part.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..checkpoint.lazy import LazyTensor, taken
from ..errors import CheckpointError
from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.facts import Facts
from ..forward.layout import Layout
from ..forward.rotary import DEFAULT_BASE, Rotary
from ..forward.traits import Traits
from ..gguf.keys import Field, boolean, float32, uint32
from .config import (
    FILE_TYPE,
    head_size,
    ordered,
    require_setting,
    required,
    text_fields,
)
from .family import DECODER_LAYER, Family, Named
from .next_predictors import PREDICTOR, n_blocks, predictor_fields
from .rope_config import rope_parameters, rotary_fields, rotated_size

__all__ = ["ChatGlm", "Glm", "Glm4", "Glm4v", "GlmOcr", "n_rotated"]

FIELDS = (
    "context_length",
    "embedding_length",
    "feed_forward_length",
    "block_count",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.layer_norm_rms_epsilon",
    FILE_TYPE,
)
# ChatGLM's config key -> transformers' key for the same setting.
OWN_NAMES = {
    "seq_length": "max_position_embeddings",
    "ffn_hidden_size": "intermediate_size",
    "multi_query_group_num": "num_key_value_heads",
    "layernorm_epsilon": "rms_norm_eps",
}


class Glm(Family):
    """The architecture that llama.cpp calls `chatglm`, as transformers stores it.

    llama.cpp's converter ignores transformers' keys for the rotary base and the norms'
    epsilon; quantkit reads them from the config.
    """

    name = "chatglm"
    hf_classes: ClassVar[tuple[str, ...]] = ("GlmForCausalLM",)
    defaults: ClassVar = {
        "num_key_value_heads": 2,
        "head_dim": 128,
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1.5625e-07,
        "partial_rotary_factor": 0.5,
    }
    inner: ClassVar = {**DECODER_LAYER, "mlp.gate_up_proj": "ffn_up"}
    rotates_partly = True
    split_sizes: ClassVar[tuple[str, ...]] = ("head_dim", "kv_channels")
    """Keys whose value must be the hidden size divided by the number of heads."""

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            UnsupportedModelError: the config has such a setting.
        """
        super().check_settings(config)
        for key in self.split_sizes:
            require_setting(config, key, _split_size(config))

    layout: ClassVar[Layout] = Layout(gate="fused")

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        base = rope_parameters(config).get("rope_theta") or DEFAULT_BASE
        return {
            **ordered(text_fields(config, file_type), *FIELDS),
            "context_length": uint32(self.context(config)),
            "rope.dimension_count": uint32(n_rotated(config, _split_size(config))),
            "tokenizer.ggml.add_bos_token": boolean(False),
            **rotary_fields(config),
            "rope.freq_base": float32(base * (config.get("rope_ratio") or 1)),
        }

    def context(self, config: Config) -> int:
        """The context length.

        For transformers' configs, llama.cpp's converter writes the hidden size.
        """
        return int(required(config, "hidden_size"))

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        traits = Traits(
            epsilon=facts.rms_epsilon,
            layout=self.layout,
            rotary=Rotary.load(facts, claims, self.layout),
            interleaved="rope.dimension_sections" not in facts,
        )
        return load_decoder(facts, claims, traits)


class ChatGlm(Glm):
    """The architecture `chatglm`, as the original checkpoints store it."""

    hf_classes = ("ChatGLMModel", "ChatGLMForConditionalGeneration")
    defaults: ClassVar = {"rms_norm_eps": 1e-5, "partial_rotary_factor": 0.5}
    renames = (("transformer.", ""),)
    skipped = (".rotary_pos_emb.inv_freq",)
    foreign = ("vision.",)
    outer: ClassVar = {
        "embedding.word_embeddings": "token_embd",
        "encoder.final_layernorm": "output_norm",
        "output_layer": "output",
    }
    layer = re.compile(r"encoder\.layers\.(\d+)\.(.+)")
    inner: ClassVar = {
        "input_layernorm": "attn_norm",
        "self_attention.query_key_value": "attn_qkv",
        "self_attention.dense": "attn_output",
        "post_attention_layernorm": "ffn_norm",
        "mlp.dense_h_to_4h": "ffn_up",
        "mlp.dense_4h_to_h": "ffn_down",
    }

    assumed: ClassVar = {
        "rmsnorm": (True,),
        "post_layer_norm": (True,),
        "apply_residual_connection_post_layernorm": (False,),
        "multi_query_attention": (True,),
        "interleaved_qkv": (False,),
        "original_rope": (True,),
    }

    def complete(self, config: Config) -> dict[str, Any]:
        """The complete config, with transformers' keys."""
        named = {new: config[old] for old, new in OWN_NAMES.items() if old in config}
        return super().complete({**config, **named})

    def context(self, config: Config) -> int:
        """The context length."""
        return int(required(config, "max_position_embeddings", "hidden_size"))


def _split_size(config: Config) -> int:
    """The hidden size divided by the number of heads."""
    n_heads = required(config, "num_attention_heads")
    return int(required(config, "hidden_size") // n_heads)


class Glm4(Glm):
    """The architecture that llama.cpp calls `glm4`."""

    name = "glm4"
    hf_classes = ("Glm4ForCausalLM",)
    split_sizes = ()
    inner: ClassVar = {
        **Glm.inner,
        "post_self_attn_layernorm": "post_attention_norm",
        "post_mlp_layernorm": "post_ffw_norm",
    }
    layout: ClassVar[Layout] = Layout(gate="fused", output_norms="required")

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        return {
            **text_fields(config, file_type),
            "rope.dimension_count": uint32(n_rotated(config, head_size(config))),
        }


class Glm4v(Glm4):
    """The same architecture in GGUF: the text model of GLM-4V.

    It also rotates by position in an image (M-RoPE), which for text is the same.  For
    M-RoPE GGUF readers rotate the two halves of a head, so query and key rows are
    permuted.
    """

    hf_classes = ("Glm4vForConditionalGeneration",)
    defaults: ClassVar = {**Glm.defaults, "partial_rotary_factor": 1.0}
    foreign = ("visual.",)

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensor of a checkpoint tensor."""
        is_turned = source.rpartition(".")[0].endswith((".q_proj", ".k_proj"))
        if is_turned and "mrope_section" in rope_parameters(config):
            tensor = taken(tensor, halved_rows(source, tensor, config))
        yield self.gguf_name(source, config), tensor


class GlmOcr(Glm4v):
    """The same architecture in GGUF, with a layer that only predicts further tokens."""

    hf_classes = ("GlmOcrForConditionalGeneration",)
    defaults: ClassVar = {
        **Glm4v.defaults,
        "num_key_value_heads": 8,
        "rms_norm_eps": 1e-5,
    }
    inner: ClassVar = {**Glm4.inner, **PREDICTOR}

    def n_blocks(self, config: Config) -> int:
        """The number of layers, with those that only predict further tokens."""
        return n_blocks(config)

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        fields = super().hyperparameters(config, file_type)
        fields["block_count"] = uint32(n_blocks(config))
        return fields | predictor_fields(config)


def n_rotated(config: Config, head_size: int) -> int:
    """The number of components of a head that rotate."""
    share = required(rope_parameters(config), "partial_rotary_factor")
    return rotated_size(int(head_size * share))


def halved_rows(source: str, tensor: LazyTensor, config: Config) -> NDArray[np.intp]:
    """The row order that moves neighbours to the two halves of a head's rotated part.

    Raises:
        CheckpointError: the rows do not form heads.
    """
    n_rows, size = tensor.shape[0], head_size(config)
    if n_rows % size:
        raise CheckpointError(
            f"{source!r} has {n_rows} rows, which do not form heads of {size}; "
            "config.json does not belong to these weights"
        )
    n_turned = n_rotated(config, size)
    heads = np.arange(n_rows, dtype=np.intp).reshape(-1, size)
    turned = heads[:, :n_turned].reshape(len(heads), -1, 2).swapaxes(1, 2)
    halves = turned.reshape(len(heads), n_turned)
    rows: NDArray[np.intp] = np.concatenate([halves, heads[:, n_turned:]], axis=1)
    return rows.reshape(-1)
