"""InternLM 3: a Llama whose rotation may grow with the text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ..forward.base import Config
from .family import Family, Named
from .llama import Llama

__all__ = ["InternLM3"]


class InternLM3(Llama):
    """The architecture that llama.cpp calls `llama`."""

    hf_classes = ("InternLM3ForCausalLM",)
    defaults: ClassVar = {
        "rms_norm_eps": 1e-5,
        "max_position_embeddings": 32768,
        "num_key_value_heads": 2,
        "head_dim": 128,
    }
    rope_types = Family.rope_types

    def computed_tensors(self, config: Config) -> Iterator[Named]:
        """None: the class has no scaling like that of Llama 3.1."""
        yield from ()
