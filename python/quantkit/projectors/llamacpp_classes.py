"""The classes with encoders that llama.cpp's converter registers.

Source: `MMPROJ_MODEL_MAP` of conversion/__init__.py in build 11434.
"""

from __future__ import annotations

__all__ = ["BROKEN", "ELSEWHERE"]

ELSEWHERE = (
    "ClefModel",
    "Dots3NoteForCausalLM",
    "Dots3NoteForConditionalGeneration",
    "MiMoV2ForCausalLM",
    "NemotronH_Nano_VL_V2",
    "PocketTTSModel",
    "Qwen3TTSForConditionalGeneration",
    "RADIOModel",
)
"""Classes whose encoders llama.cpp's converter writes, and quantkit does not."""

BROKEN = {
    "Gemma3nForConditionalGeneration": (
        "model.audio_tower.subsample_conv_projection.conv_0.norm.weight"
    ),
    "Qwen3ASRForConditionalGeneration": "thinker_config",
    "Qwen3OmniMoeForConditionalGeneration": "model.visual.blocks.0.attn.proj.bias",
}
"""Classes that it registers and stops at -> what it does not find."""
