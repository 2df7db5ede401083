"""The classes with encoders that quantkit does not write.

Source: `MMPROJ_MODEL_MAP` of conversion/__init__.py in llama.cpp's build 11434.
"""

from __future__ import annotations

__all__ = ["REFUSED"]

SPEECH = "its file makes speech, for a text model that quantkit does not convert"

REFUSED = {
    "PocketTTSModel": SPEECH,
    "Qwen3TTSForConditionalGeneration": SPEECH,
}
"""Class that llama.cpp's converter registers -> why quantkit does not write it."""
