"""Llama 1 to 3 and models built like it: Mistral, Mixtral, SmolLM2, Yi, DeepSeek LLM.

GGUF's llama layout rotates neighbouring components (0, 1), (2, 3), ...  Hugging Face
checkpoints rotate the two halves of a head, so the rows of the query and key matrices
are permuted.  Mistral's sliding window has no key in this layout: readers use full
attention, which is the same up to the window's length.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..checkpoint.lazy import LazyTensor, taken
from ..errors import CheckpointError
from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.experts import load_experts
from ..forward.facts import Facts
from ..forward.layout import Layout
from ..forward.rotary import Rotary
from ..forward.traits import Experts, Traits
from ..gguf.keys import Field, uint32
from .config import head_size, required, text_fields
from .family import DECODER_LAYER, NUMBERED_EXPERTS, Family, Named
from .rope_config import llama3_tensor
from .windows import warn_of_windows

__all__ = ["Llama", "Mixtral", "interleaved_rows"]


WINDOWED_CLASSES = (
    "MistralForCausalLM",
    "MixtralForCausalLM",
    "Mistral3ForConditionalGeneration",
    "Ministral3ForCausalLM",
)


class Llama(Family):
    """The architecture that llama.cpp calls `llama`."""

    name = "llama"
    hf_classes: ClassVar[tuple[str, ...]] = (
        "LlamaForCausalLM",
        "MistralForCausalLM",
        "LLaMAForCausalLM",
        "LlamaModel",
        "IQuestCoderForCausalLM",
    )
    headless: ClassVar[tuple[str, ...]] = ("LlamaModel",)
    defaults: ClassVar[Mapping[str, Any]] = {
        "rms_norm_eps": 1e-6,
        "max_position_embeddings": 2048,
        "num_key_value_heads": None,
    }
    rope_types: ClassVar[tuple[str, ...]] = (*Family.rope_types, "llama3")
    fills_head_size: ClassVar[bool] = True
    """Whether the config class computes `head_dim` if config.json lacks it."""
    layout: ClassVar[Layout] = Layout(
        attention_bias="optional",
        feed_forward_bias="optional",
        frequencies="optional",
        long_frequencies="stated",
    )

    def complete(self, config: Config) -> dict[str, Any]:
        """The config, with missing keys set to the defaults of its class."""
        whole = super().complete(config)
        if self.fills_head_size:
            whole["head_dim"] = head_size(whole)
        return whole

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent; warn of Mistral's window.

        Raises:
            UnsupportedModelError: the config has such a setting.
        """
        super().check_settings(config)
        if set(WINDOWED_CLASSES) & set(config.get("architectures") or ()):
            warn_of_windows(config)

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        return {
            **text_fields(config, file_type),
            "vocab_size": uint32(required(config, "vocab_size")),
            "rope.dimension_count": uint32(head_size(config)),
        }

    def computed_tensors(self, config: Config) -> Iterator[Named]:
        """The frequency factors of Llama 3.1."""
        yield from llama3_tensor(config, head_size(config))

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensor of a checkpoint tensor; query and key rows are permuted."""
        n_heads = required(config, "num_attention_heads")
        module = source.rpartition(".")[0]
        if module.endswith(".q_proj"):
            tensor = taken(tensor, interleaved_rows(source, tensor, n_heads))
        if module.endswith(".k_proj"):
            n_heads = config.get("num_key_value_heads") or n_heads
            tensor = taken(tensor, interleaved_rows(source, tensor, n_heads))
        yield self.gguf_name(source, config), tensor

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        return load_decoder(facts, claims, self.traits(facts, claims))

    def traits(self, facts: Facts, claims: Claims) -> Traits:
        """The traits of the forward pass."""
        return Traits(
            epsilon=facts.rms_epsilon,
            layout=self.layout,
            rotary=Rotary.load(facts, claims, self.layout),
            interleaved=True,
            experts=self.experts_of(facts),
        )

    def experts_of(self, facts: Facts) -> Experts | None:
        """The experts of the forward pass; None: the feed-forward part is dense."""
        if not facts.count("expert_count", 0):
            return None
        return load_experts(facts, normed=True, size=facts.inner_size)


class Mixtral(Llama):
    """Llama with a mixture of experts."""

    hf_classes = ("MixtralForCausalLM",)
    defaults: ClassVar = {
        **Llama.defaults,
        "rms_norm_eps": 1e-5,
        "default_theta": 1e6,
        "num_local_experts": 8,
        "num_experts_per_tok": 2,
    }
    fills_head_size = False
    inner: ClassVar = {**DECODER_LAYER, "block_sparse_moe.gate": "ffn_gate_inp"}
    experts: ClassVar = NUMBERED_EXPERTS


def interleaved_rows(source: str, tensor: LazyTensor, n_heads: int) -> NDArray[np.intp]:
    """The row order that puts components j and j + half of each head side by side.

    Raises:
        CheckpointError: the rows do not form `n_heads` heads of an even size.
    """
    n_rows = tensor.shape[0]
    if n_rows % (2 * n_heads):
        raise CheckpointError(
            f"{source!r} has {n_rows} rows, which do not form {n_heads} heads "
            "of an even size; config.json does not belong to these weights"
        )
    halves = np.arange(n_rows, dtype=np.intp).reshape(n_heads, 2, -1)
    rows: NDArray[np.intp] = halves.swapaxes(1, 2).reshape(n_rows)
    return rows
