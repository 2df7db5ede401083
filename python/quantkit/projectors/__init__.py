"""The encoders that quantkit writes.  To add one, list its class here."""

from __future__ import annotations

from difflib import get_close_matches

from ..errors import UnsupportedModelError
from ..settings import shown
from .cog_vlm import CogVLM
from .deepseek_ocr import DeepseekOCR, UnlimitedOCR
from .deepseek_ocr2 import DeepseekOCR2
from .deepseek_vision import DeepseekVision
from .dots3_note import Dots3Note
from .dots_ocr import DotsOCR
from .encoder import Encoder
from .exaone_vl import ExaoneVL
from .gemma3n import Gemma3n
from .gemma4 import Gemma4
from .gemma4_unified import Gemma4Unified
from .glm4v import Glm4V, Glm5Next
from .granite_speech import GraniteSpeech, GraniteSpeechPlus
from .granite_vision import GraniteVision
from .hunyuan_vl import HunyuanVL
from .intern_vl import InternVL
from .janus import Janus
from .kimi_vl import KimiK25, KimiVL
from .lfm2_audio import Lfm2Audio
from .lfm2_vl import Lfm2VL
from .ling_vl import LingVL
from .llama4 import Llama4
from .llamacpp_classes import REFUSED
from .mimo import Mimo
from .minicpm import MiniCPM
from .minimax_vl import MiniMaxVL
from .mistral_vision import MistralVision
from .muse_glimmer import MuseGlimmer
from .omni import Qwen25Omni
from .paddle_ocr import PaddleOCR
from .phi4_vision import Phi4Vision
from .pixtral import LightOnOCR, Pixtral
from .qwen3_sounds import Qwen3ASR, Qwen3Omni
from .qwen_vl import Qwen2VL, Qwen3VL
from .radio import NemotronVL
from .siglip import Gemma3, SmolVLM
from .speech_encoders import GlmASR, Meralion
from .step_vl import StepVL
from .whisper import AudioFlamingo3, Qwen2Audio, Ultravox, Voxtral
from .youtu_vl import YoutuVL

__all__ = ["ENCODERS", "encoder_of", "unknown_encoder"]

ENCODERS: tuple[Encoder, ...] = (
    Gemma3(),
    Gemma3n(),
    Gemma4(),
    Gemma4Unified(),
    SmolVLM(),
    Qwen2VL(),
    Qwen3VL(),
    Qwen25Omni(),
    Qwen3Omni(),
    Qwen3ASR(),
    NemotronVL(),
    Mimo(),
    Dots3Note(),
    Pixtral(),
    LightOnOCR(),
    MistralVision(),
    InternVL(),
    Llama4(),
    Glm4V(),
    Glm5Next(),
    Lfm2VL(),
    MuseGlimmer(),
    MiniCPM(),
    KimiVL(),
    KimiK25(),
    Janus(),
    HunyuanVL(),
    PaddleOCR(),
    MiniMaxVL(),
    ExaoneVL(),
    DotsOCR(),
    DeepseekOCR(),
    DeepseekOCR2(),
    DeepseekVision(),
    UnlimitedOCR(),
    YoutuVL(),
    GraniteVision(),
    StepVL(),
    CogVLM(),
    Phi4Vision(),
    LingVL(),
    Qwen2Audio(),
    Ultravox(),
    Voxtral(),
    AudioFlamingo3(),
    GlmASR(),
    GraniteSpeech(),
    GraniteSpeechPlus(),
    Lfm2Audio(),
    Meralion(),
)

BY_CLASS = {name: encoder for encoder in ENCODERS for name in encoder.hf_classes}


def encoder_of(classes: tuple[str, ...]) -> Encoder | None:
    """The encoder of a checkpoint, or None if quantkit does not know it.

    Args:
        classes: the `architectures` of its `vision_config`, else of the whole.
    """
    return next((BY_CLASS[name] for name in classes if name in BY_CLASS), None)


def unknown_encoder(classes: tuple[str, ...]) -> UnsupportedModelError:
    """The error that says what is known of an encoder that quantkit does not write."""
    found = ", ".join(map(shown, classes)) or "no architecture"
    return UnsupportedModelError(
        f"config.json names {found}, whose encoder quantkit does not write"
        f"{_why(classes)}"
    )


def _why(classes: tuple[str, ...]) -> str:
    """What is known of an encoder that quantkit does not write."""
    for name in classes:
        if name in REFUSED:
            return f": {REFUSED[name]}"
    near = [one for name in classes for one in get_close_matches(name, BY_CLASS, 3)]
    nearest = f"; nearest: {', '.join(near)}" if near else ""
    return (
        f", and llama.cpp's converter of build 11434 does not know it either{nearest}"
    )
