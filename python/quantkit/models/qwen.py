"""Qwen 2, 2.5 and 3, dense: as Llama, but heads rotate by halves, so no row moves.

Qwen 2 has biases on queries, keys and values.  Qwen 3 norms queries and keys instead,
head by head, before they rotate.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ..gguf.keys import Field
from .base import Config, Model, Shapes, TensorMap, Weights
from .config import decoder_fields
from .decoder import decoder_maps, load_decoder

__all__ = ["QWEN2", "QWEN3", "QwenFamily"]


@dataclass(frozen=True)
class QwenFamily:
    """The architectures that llama.cpp calls `qwen2` and `qwen3`.

    Attributes:
        name: `general.architecture`.
        hf_classes: the Hugging Face classes.
        head_size: `head_dim` where the config leaves it out; None: the config class
            has no such key, and every head has an equal share of the width.
    """

    name: str
    hf_classes: tuple[str, ...]
    head_size: int | None = None

    def hyperparameters(self, config: Config) -> dict[str, Field]:
        """The metadata of a config, in the order llama.cpp writes it."""
        return decoder_fields(
            self.name, config, config.get("head_dim") or self.head_size
        )

    def tensor_maps(self, config: Config, shapes: Shapes) -> Iterator[TensorMap]:
        """How every tensor of the checkpoint goes to GGUF."""
        return decoder_maps(config, shapes)

    def load(self, metadata: Mapping[str, Field], weights: Weights) -> Model:
        """The runnable model that GGUF metadata and tensors describe."""
        return load_decoder(self.name, metadata, weights, interleaved=False)


QWEN2 = QwenFamily("qwen2", ("Qwen2ForCausalLM",))
QWEN3 = QwenFamily("qwen3", ("Qwen3ForCausalLM",), head_size=128)
