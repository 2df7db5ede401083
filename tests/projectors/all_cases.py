"""All tiny models with encoders."""

from __future__ import annotations

from .cases import FIRST
from .conformer_cases import CONFORMERS
from .described_cases import DESCRIBED
from .ocr_cases import OCRS
from .other_cases import OTHERS
from .pair_cases import PAIRS
from .sound_cases import SOUNDS

__all__ = ["CASES"]

CASES = (*FIRST, *OTHERS, *OCRS, *DESCRIBED, *CONFORMERS, *PAIRS, *SOUNDS)
