"""The classes with encoders that llama.cpp's converter registers.

Source: `MMPROJ_MODEL_MAP` of conversion/__init__.py in build 11434.
"""

from __future__ import annotations

__all__ = ["BROKEN", "ELSEWHERE"]

ELSEWHERE = (
    *("BailingMoeV3VLForConditionalGeneration", "ClefModel", "CogVLMForCausalLM"),
    *("DeepseekOCR2ForCausalLM", "DeepseekV4ForCausalLM"),
    *("Dots3NoteForCausalLM", "Dots3NoteForConditionalGeneration"),
    *("DotsOCRForCausalLM",),
    *("Gemma3nForConditionalGeneration", "Glm5NextForConditionalGeneration"),
    *("GlmasrModel", "Granite4VisionForConditionalGeneration"),
    *("GraniteSpeechForConditionalGeneration", "Lfm2AudioForConditionalGeneration"),
    *("GraniteSpeechPlusForConditionalGeneration", "MiMoV2ForCausalLM"),
    *("MERaLiON2ForConditionalGeneration",),
    *("NemotronH_Nano_VL_V2", "OpenJevModel", "Phi4ForCausalLMV", "PocketTTSModel"),
    *("Qwen3TTSForConditionalGeneration", "Qwen4ExpForConditionalGeneration"),
    *("RADIOModel", "Sarashina2VisionForCausalLM", "StepVLForConditionalGeneration"),
    *("Step3p7ForConditionalGeneration"),
    *("YoutuVLForConditionalGeneration",),
)
"""Classes whose encoders llama.cpp's converter writes, and quantkit does not."""

BROKEN = {
    "Qwen3ASRForConditionalGeneration": "thinker_config",
    "Qwen3OmniMoeForConditionalGeneration": "model.visual.blocks.0.attn.proj.bias",
}
"""Classes that it registers and stops at -> what it does not find."""
