"""The vision, audio and speech parts of multimodal checkpoints, by their names.

Source: `TextModel.filter_tensors` of llama.cpp's converter (conversion/base.py).
"""

from __future__ import annotations

import re

from ..forward.base import Config

__all__ = ["has_other_parts", "is_other_part"]

CONFIGS = ("vision_config", "audio_config", "thinker_config", "text_config")
"""Keys of configs that describe more than a text model."""

STARTS = (
    *("mlp", "vit.", "vpm.", "siglip2.", "conformer.", "merger.", "resampler."),
    *("sound_encoder.", "sound_projection.", "speech_embeddings."),
)
PARTS = (
    *("visual.", "vision.", "audio.", "talker.", "vision_", "audio_"),
    *("token2wav.", "code2wav.", "projector.", "pre_mm_projector_norm"),
    *("image_newline", "view_seperator", "patch_embed", "patch_embedding"),
    *("patch_merger.", "patch_merge_mlp.", "model.connector."),
)
INSIDE = re.compile("|".join(map(re.escape, PARTS)))


def has_other_parts(config: Config) -> bool:
    """Whether the config is that of a model with more parts than text."""
    return any(config.get(key) for key in CONFIGS)


def is_other_part(name: str) -> bool:
    """Whether a tensor of a multimodal checkpoint is not of its text model."""
    return name.startswith(STARTS) or INSIDE.search(name) is not None
