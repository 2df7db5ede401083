"""Mixes by measurement: which type each tensor gets, so that a file of some size loses
least.

1. Each tensor is quantized alone, and moves the predictions of the unquantized model by
   some KL divergence: its *sensitivity* (`shifts`).  Only the layers from the tensor on
   are run.
2. That of other types follows from it: a divergence grows with the square of what
   moves the outputs, so it is scaled by the ratio of the tensor's weighted errors
   (`errors`, `sensitivities`).
3. An integer programme chooses a type for each tensor (`programme`).
4. The divergence of the whole is predicted twice (`prediction`): as a sum over tensors,
   and from the sum of what they move the predictions by, which contains how tensors
   interact.

docs/choosing.md has what these predictions are worth.
"""

from __future__ import annotations

from .limits import SizeLimits
from .mix import Mix, TensorChoice
from .planning import NAME, Planner

__all__ = ["NAME", "Mix", "Planner", "SizeLimits", "TensorChoice"]
