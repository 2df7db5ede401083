"""ERNIE 4.5, dense: Llama whose checkpoints also rotate neighbouring components.

Paddle checkpoints fuse queries, keys and values, and also gate and up.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from ..checkpoint.lazy import LazyTensor, taken
from ..errors import CheckpointError
from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.facts import Facts
from ..forward.layout import Layout
from ..forward.rotary import Rotary
from ..forward.traits import Traits
from ..gguf.keys import Field
from .config import head_size, required, text_fields
from .family import SILU, Family, Named

__all__ = ["Ernie45"]


class Ernie45(Family):
    """The architecture that llama.cpp calls `ernie4_5`."""

    name = "ernie4_5"
    hf_classes: ClassVar[tuple[str, ...]] = (
        "Ernie4_5ForCausalLM",
        "Ernie4_5_ForCausalLM",
    )
    defaults: ClassVar = {
        "default_theta": 500000.0,
        "rms_norm_eps": 1e-5,
        "max_position_embeddings": 131072,
        "num_key_value_heads": 2,
        "head_dim": 128,
        "tie_word_embeddings": True,
    }
    renames = (("ernie.", "model."),)
    assumed: ClassVar = {**SILU, "compression_ratio": (1.0,)}
    layout: ClassVar[Layout] = Layout(
        attention_bias="optional", feed_forward_bias="optional"
    )

    def complete(self, config: Config) -> dict[str, Any]:
        """The config, with missing keys set to the defaults of its class."""
        whole = super().complete(config)
        return {**whole, "head_dim": head_size(whole)}

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        return text_fields(config, file_type)

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensors of a checkpoint tensor; fused ones are split."""
        for fused, parts in self._fused(config).items():
            if f".{fused}." in source:
                yield from self._cut(source, fused, parts, tensor, config)
                return
        yield from super().converted(source, tensor, config)

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
        )

    def _fused(self, config: Config) -> dict[str, dict[str, int]]:
        """The fused modules, and the number of rows of each of their parts."""
        width, n_inner = config["head_dim"], required(config, "intermediate_size")
        n_q = required(config, "num_attention_heads") * width
        n_kv = required(config, "num_key_value_heads") * width
        return {
            "qkv_proj": {"q_proj": n_q, "k_proj": n_kv, "v_proj": n_kv},
            "up_gate_proj": {"gate_proj": n_inner, "up_proj": n_inner},
        }

    def _cut(
        self,
        source: str,
        fused: str,
        parts: dict[str, int],
        tensor: LazyTensor,
        config: Config,
    ) -> Iterator[Named]:
        if tensor.shape[0] != sum(parts.values()):
            raise CheckpointError(
                f"{source!r} has {tensor.shape[0]} rows; expected "
                f"{' + '.join(map(str, parts.values()))}; config.json does not belong "
                "to these weights"
            )
        start = 0
        for part, n_rows in parts.items():
            name = self.gguf_name(source.replace(fused, part), config)
            yield name, taken(tensor, np.arange(start, start + n_rows))
            start += n_rows
