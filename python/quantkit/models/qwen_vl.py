"""The text models of Qwen 2-VL, 2.5-VL, 2.5-Omni, 3-VL and 3-Omni.

They are Qwen 2, Qwen 3 and Qwen 3 with experts, and rotate by the time, height and
width of a position in an image (M-RoPE); in a text the three are alike.  Qwen 3-VL also
adds vision features to the hidden states after its first layers (deepstack), which a
text does not have.  The vision and audio parts of the checkpoints are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from ..checkpoint.lazy import LazyTensor, transposed
from ..errors import CheckpointError
from ..forward.base import Config
from ..gguf.keys import Field, uint32
from .config import head_size, required
from .family import Family, Named
from .qwen import Qwen2, Qwen3
from .qwen_moe import Qwen3Moe
from .rope_config import rope_parameters

__all__ = [
    "Qwen2Omni",
    "Qwen2VL",
    "Qwen3ASR",
    "Qwen3OmniMoe",
    "Qwen3VL",
    "Qwen3VLMoe",
    "Sectioned",
]

WITHOUT_THINKER = (("thinker.", ""),)
DEEPSTACK = "n_deepstack_layers"
INDEXES = "deepstack_visual_indexes"
DEFAULT_INDEXES = (8, 16, 24)
"""The layers of the vision part whose features are added, if the config has none."""


class Sectioned(Family):
    """Models that rotate by the time, height and width of a position."""

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            CheckpointError: the config has no `mrope_section`, which readers need.
            UnsupportedModelError: the config has such a setting.
        """
        super().check_settings(config)
        if not rope_parameters(config).get("mrope_section"):
            raise CheckpointError(
                "config.json lacks 'mrope_section' in the rope settings, by which "
                "these models rotate; download the model's complete config.json"
            )


def n_deepstack(config: Config) -> int:
    """The number of first layers after which vision features are added."""
    vision: Mapping[str, Any] = config.get("vision_config") or {}
    indexes = vision.get(INDEXES)
    return len(DEFAULT_INDEXES if indexes is None else indexes)


class Qwen2VL(Sectioned, Qwen2):
    """The architecture that llama.cpp calls `qwen2vl`."""

    name = "qwen2vl"
    hf_classes: ClassVar[tuple[str, ...]] = (
        "Qwen2VLForConditionalGeneration",
        "Qwen2VLModel",
        "Qwen2_5_VLForConditionalGeneration",
    )
    defaults: ClassVar = {
        "rms_norm_eps": 1e-5,
        "max_position_embeddings": 32768,
        "num_key_value_heads": 8,
        "max_window_layers": 80,
        "default_theta": 1e6,
    }


class Qwen2Omni(Qwen2VL):
    """The same architecture in GGUF, from the part of the model that writes text."""

    hf_classes = ("Qwen2_5OmniModel",)
    defaults: ClassVar = {
        **Qwen2VL.defaults,
        "rms_norm_eps": 1e-6,
        "num_key_value_heads": 4,
        "max_window_layers": 28,
    }
    renames = WITHOUT_THINKER


class Qwen3VL(Sectioned, Qwen3):
    """The architecture that llama.cpp calls `qwen3vl`."""

    name = "qwen3vl"
    hf_classes = ("Qwen3VLForConditionalGeneration",)
    defaults: ClassVar = {
        **Qwen3.defaults,
        "max_position_embeddings": 128000,
        "default_theta": 5e5,
    }

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        fields = super().hyperparameters(config, file_type)
        return {**fields, DEEPSTACK: uint32(self.n_deepstack(config))}

    def n_deepstack(self, config: Config) -> int:
        """The number of first layers after which vision features are added."""
        return n_deepstack(config)


class Qwen3ASR(Qwen3VL):
    """The same architecture in GGUF, beside an audio encoder."""

    hf_classes = ("Qwen3ASRForConditionalGeneration",)
    model_types = ("qwen3",)
    defaults: ClassVar = Qwen3.defaults
    renames = WITHOUT_THINKER

    def n_deepstack(self, config: Config) -> int:
        """None: there are no vision features."""
        return 0


class Qwen3VLMoe(Sectioned, Qwen3Moe):
    """The architecture that llama.cpp calls `qwen3vlmoe`.

    Published checkpoints store the matrices of experts transposed; transformers 5 reads
    both layouts, and writes the usual one.
    """

    name = "qwen3vlmoe"
    hf_classes: ClassVar[tuple[str, ...]] = ("Qwen3VLMoeForConditionalGeneration",)
    defaults: ClassVar = {
        **Qwen3Moe.defaults,
        "num_key_value_heads": 16,
        "moe_intermediate_size": 1408,
        "num_experts_per_tok": 4,
        "num_experts": 60,
        "norm_topk_prob": True,
        "max_position_embeddings": 128000,
        "default_theta": 5e5,
    }

    def complete(self, config: Config) -> dict[str, Any]:
        """The config, with missing keys set to the defaults of its class."""
        whole = super().complete(config)
        return {**whole, "head_dim": head_size(whole)}

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        fields = super().hyperparameters(config, file_type)
        return {**fields, DEEPSTACK: uint32(self.n_deepstack(config))}

    def n_deepstack(self, config: Config) -> int:
        """The number of first layers after which vision features are added."""
        return n_deepstack(config)

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensors of a checkpoint tensor; fused experts are split."""
        if source.removesuffix(".weight").endswith(
            (".experts.gate_up_proj", ".experts.down_proj")
        ):
            tensor = self._by_outputs(source, tensor, config)
        yield from super().converted(source, tensor, config)

    def _by_outputs(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> LazyTensor:
        """The experts' matrices as [experts, outputs, inputs], from either layout.

        Where the two have one shape, it is that of published checkpoints.

        Raises:
            CheckpointError: the shape is of neither layout.
        """
        width = int(required(config, "hidden_size"))
        inner = int(required(config, "moe_intermediate_size"))
        outputs = (width, inner) if "down_proj" in source else (2 * inner, width)
        if tensor.shape[1:] == outputs[::-1]:
            return transposed(tensor)
        if tensor.shape[1:] == outputs:
            return tensor
        raise CheckpointError(
            f"{source!r} has the shape {list(tensor.shape)}; expected matrices of "
            f"{list(outputs)} or transposed; config.json does not belong to these "
            "weights"
        )


class Qwen3OmniMoe(Qwen3VLMoe):
    """The same architecture in GGUF, from the part of the model that writes text."""

    hf_classes = ("Qwen3OmniMoeForConditionalGeneration",)
    defaults: ClassVar = {
        **Qwen3Moe.defaults,
        "norm_topk_prob": True,
        "default_theta": 1e6,
    }
    renames = WITHOUT_THINKER

    def n_deepstack(self, config: Config) -> int:
        """None: llama.cpp's converter writes 0 for these models."""
        return 0
