"""XVERSE: a Llama with an architecture of its own in GGUF."""

from __future__ import annotations

from typing import ClassVar

from ..forward.base import Config
from ..forward.layout import Layout
from ..gguf.keys import Field, string, uint32
from .config import head_size, require_setting, required, text_fields
from .llama import Llama

__all__ = ["DATA_LAYOUT", "Xverse"]

DATA_LAYOUT = {"tensor_data_layout": string("Meta AI original pth")}
"""The order of the rows of queries and keys; readers do not use it."""


class Xverse(Llama):
    """The architecture that llama.cpp calls `xverse`."""

    name = "xverse"
    hf_classes = ("XverseForCausalLM",)
    defaults: ClassVar = {"default_theta": None}
    rope_types = ("default", "linear", "yarn", "dynamic")
    fills_head_size = False
    layout: ClassVar[Layout] = Layout(head="required")

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            UnsupportedModelError: the config has such a setting.
        """
        super().check_settings(config)
        n_heads = required(config, "num_attention_heads")
        require_setting(config, "num_key_value_heads", n_heads)

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        return {
            **text_fields(config, file_type),
            **DATA_LAYOUT,
            "rope.dimension_count": uint32(head_size(config)),
        }
