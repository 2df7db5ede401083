"""Mistral in its own format: Llama's tensors in the order that GGUF has."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from ..checkpoint.lazy import LazyTensor
from ..checkpoint.mistral_format import MISTRAL_CLASS
from ..forward.base import Config
from ..forward.temperature import SCALE
from ..gguf.keys import Field, float32, string, uint32
from .config import required
from .family import Family, Named
from .llama import Llama
from .mistral3 import BETA, LOG_MULTIPLIER, Mistral3
from .rope_config import ORIGINAL, rope_parameters
from .windows import warn_of_windows

__all__ = ["YARN", "MistralNative", "MistralNative3", "scaling_fields"]

YARN, SIZE = "rope_scaling", "vocab_size"


class MistralNative(Llama):
    """The architecture that llama.cpp calls `llama`."""

    hf_classes: ClassVar[tuple[str, ...]] = (MISTRAL_CLASS,)
    headless: ClassVar[tuple[str, ...]] = ()
    model_types: ClassVar[tuple[str, ...]] = ()
    defaults: ClassVar[Mapping[str, Any]] = {"num_key_value_heads": None}
    layer: ClassVar[re.Pattern[str]] = re.compile(r"layers\.(\d+)\.(.+)")
    outer: ClassVar = {
        "tok_embeddings": "token_embd",
        "norm": "output_norm",
        "output": "output",
    }
    inner: ClassVar = {
        "attention_norm": "attn_norm",
        "attention.wq": "attn_q",
        "attention.wk": "attn_k",
        "attention.wv": "attn_v",
        "attention.wo": "attn_output",
        "ffn_norm": "ffn_norm",
        "feed_forward.w1": "ffn_gate",
        "feed_forward.w2": "ffn_down",
        "feed_forward.w3": "ffn_up",
    }

    @classmethod
    def suits(cls, config: Config) -> bool:
        """Whether there are no experts, and queries do not grow with their position."""
        return config.get(BETA) is None and config.get("n_routed_experts") is None

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent; tell of a window.

        Raises:
            UnsupportedModelError: the config has such a setting.
        """
        Llama.check_settings(self, config)
        warn_of_windows(config)

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        fields = Llama.hyperparameters(self, {**config, YARN: None}, file_type)
        del fields[SIZE]
        return fields | scaling_fields(config)

    def token_fields(self, config: Config) -> dict[str, Field]:
        """The number of tokens, which llama.cpp's converter writes with them."""
        return {f"{self.name}.{SIZE}": uint32(required(config, SIZE))}

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensor of a checkpoint tensor, with its rows as they are."""
        yield from Family.converted(self, source, tensor, config)


class MistralNative3(MistralNative, Mistral3):
    """The architecture that llama.cpp calls `mistral3`."""

    name = "mistral3"

    @classmethod
    def suits(cls, config: Config) -> bool:
        """Whether there are no experts, and queries grow with their position."""
        return config.get(BETA) is not None and config.get("n_routed_experts") is None

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        fields = super().hyperparameters(config, file_type)
        return {**fields, SCALE: float32(config[BETA])}


def scaling_fields(config: Config) -> dict[str, Field]:
    """The metadata of YaRN, which llama.cpp's converter writes last.

    Raises:
        CheckpointError: a setting of YaRN is missing.
    """
    if not config.get(YARN):
        return {}
    scaling = rope_parameters(config)
    numbers = {
        "rope.scaling.factor": "factor",
        "rope.scaling.yarn_beta_fast": "beta_fast",
        "rope.scaling.yarn_beta_slow": "beta_slow",
        LOG_MULTIPLIER: "mscale_all_dim",
    }
    return {
        "rope.scaling.type": string("yarn"),
        **{key: float32(required(scaling, name)) for key, name in numbers.items()},
        "rope.scaling.original_context_length": uint32(required(scaling, ORIGINAL)),
    }
