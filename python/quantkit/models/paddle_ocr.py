"""The text model of PaddleOCR-VL: ERNIE 4.5 that rotates by halves.

It rotates by the time, height and width of a position; in a text the three are alike.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from ..forward.claims import Claims
from ..forward.facts import Facts
from ..forward.traits import Traits
from .ernie4_5 import Ernie45
from .qwen_vl import Sectioned

__all__ = ["PaddleOCR"]


class PaddleOCR(Sectioned, Ernie45):
    """The architecture that llama.cpp calls `paddleocr`."""

    name = "paddleocr"
    hf_classes = ("PaddleOCRVLForConditionalGeneration",)
    foreign: ClassVar[tuple[str, ...]] = ("mlp_AR.", "visual.")

    def traits(self, facts: Facts, claims: Claims) -> Traits:
        """The traits of the forward pass."""
        return replace(super().traits(facts, claims), interleaved=False)
