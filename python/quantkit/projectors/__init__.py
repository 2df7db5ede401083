"""The vision encoders that quantkit writes.  To add one, list its class here."""

from __future__ import annotations

from typing import Any

from ..errors import UnsupportedModelError
from ..forward.base import Config
from ..settings import shown
from .encoder import Encoder
from .gemma4 import Gemma4
from .intern_vl import InternVL
from .llama4 import Llama4
from .pixtral import Pixtral
from .qwen_vl import Qwen2VL, Qwen3VL
from .siglip import Gemma3, SmolVLM

__all__ = ["ENCODERS", "encoder_for"]

ENCODERS: tuple[Encoder, ...] = (
    Gemma3(),
    Gemma4(),
    SmolVLM(),
    Qwen2VL(),
    Qwen3VL(),
    Pixtral(),
    InternVL(),
    Llama4(),
)

BY_CLASS = {name: encoder for encoder in ENCODERS for name in encoder.hf_classes}


def encoder_for(config: Config, vision: Config) -> Encoder:
    """The encoder of a checkpoint.

    Args:
        config: config.json.
        vision: its `vision_config`; its own `architectures` count before the others.

    Raises:
        UnsupportedModelError: quantkit does not know it.
    """
    classes: Any = vision.get("architectures") or config.get("architectures") or ()
    for name in classes if isinstance(classes, list) else ():
        if name in BY_CLASS:
            return BY_CLASS[name]
    raise UnsupportedModelError(
        f"config.json names the architecture {shown(classes)}, whose vision encoder "
        f"quantkit does not know; known: {', '.join(BY_CLASS)}"
    )
