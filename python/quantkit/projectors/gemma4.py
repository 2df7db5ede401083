"""Gemma 4's vision encoder."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from ..checkpoint.lazy import LazyTensor, reshaped, transposed
from ..errors import CheckpointError, UnsupportedModelError
from ..gguf.keys import Field, float32, string
from .encoder import ATTENTION, EPSILON, Encoder, Named, Settings

__all__ = ["Gemma4"]

N_COLORS = 3
NO_SIZE = 224
"""What llama.cpp's converter writes as the width of images, which may differ."""
LIMITS = ("input_min", "input_max", "output_min", "output_max")
"""Ends of the names of the limits of activations."""


class Gemma4(Encoder):
    """Gemma 4: images of any shape, and one matrix.

    The smaller models also hear; their audio encoder is not written.
    """

    hf_classes = ("Gemma4ForConditionalGeneration",)
    projector = "gemma4v"
    defaults: ClassVar[Mapping[str, Any]] = {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 16,
        "num_attention_heads": 12,
        "patch_size": 16,
    }
    starts = ("model.vision_tower.", "model.embed_vision.")
    layer = re.compile(r"model\.vision_tower\.encoder\.layers\.(\d+)\.(.+)")
    outer: ClassVar[Mapping[str, str]] = {
        "model.vision_tower.patch_embedder.input_proj": "v.patch_embd",
        "model.vision_tower.patch_embedder.position_embedding_table": (
            "v.position_embd.weight"
        ),
        "model.vision_tower.std_bias": "v.std_bias",
        "model.vision_tower.std_scale": "v.std_scale",
        "model.embed_vision.embedding_projection": "mm.input_projection",
    }
    inner: ClassVar[Mapping[str, str]] = {
        **ATTENTION,
        "input_layernorm": "ln1",
        "self_attn.q_norm": "attn_q_norm",
        "self_attn.k_norm": "attn_k_norm",
        "self_attn.o_proj": "attn_out",
        "post_attention_layernorm": "attn_post_norm",
        "pre_feedforward_layernorm": "ln2",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
        "post_feedforward_layernorm": "ffn_post_norm",
    }
    renames = ((".linear.weight", ".weight"),)
    optional = ("v.std_bias", "v.std_scale")

    def check_settings(self, settings: Settings) -> None:
        """Refuse models with an audio encoder, which belongs into the same file.

        Raises:
            UnsupportedModelError: the model has one.
        """
        if settings.whole.get("audio_config"):
            raise UnsupportedModelError(
                "config.json has an audio_config: the file for images also holds the "
                "audio encoder, which quantkit does not write; use llama.cpp's "
                "converter"
            )

    def fields(self, settings: Settings) -> dict[str, Field]:
        """The metadata under `clip.`, in llama.cpp's order."""
        return {
            **self.common_fields(settings),
            "vision.projector_type": string(self.projector),
            EPSILON: float32(settings.vision.epsilon("layer_norm_eps", default=1e-6)),
        }

    def image_size(self, settings: Settings) -> int:
        """The width of an image in pixels, which may differ."""
        return NO_SIZE

    def converted(
        self, source: str, tensor: LazyTensor, settings: Settings
    ) -> Iterator[Named]:
        """The GGUF tensor of a checkpoint tensor; colors of patches come first."""
        module, _, kind = source.rpartition(".")
        if kind in LIMITS:
            name = self.gguf_name(f"{module}.weight", settings).removesuffix("weight")
            yield f"{name}{kind}", reshaped(tensor, (1,))
            return
        if source.endswith("patch_embedder.input_proj.weight"):
            tensor = _by_colors(tensor, settings.vision.size("patch_size"))
        yield self.gguf_name(source, settings), tensor


def _by_colors(tensor: LazyTensor, size: int) -> LazyTensor:
    """The weights of patches as [width, colors, size, size].

    Raises:
        CheckpointError: a row is not that of a patch.
    """
    if len(tensor.shape) != 2 or tensor.shape[1] != size * size * N_COLORS:
        raise CheckpointError(
            f"the weights of patches have the shape {list(tensor.shape)}; config.json "
            f"says {size} * {size} * {N_COLORS} columns"
        )
    width = tensor.shape[0]
    pixels = transposed(reshaped(tensor, (width, size * size, N_COLORS)))
    return reshaped(pixels, (width, N_COLORS, size, size))
