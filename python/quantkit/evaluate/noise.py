"""The noise floor of a measurement: the KL divergence that is not due to the weights.

Weights are compared by predictions that are computed with rounded activations.  This
rounding alone moves the predictions, so a smaller divergence says nothing about the
weights.  It was measured as the divergence of the same quantized weights with
activations of each precision from those with f32 activations, on the demo model and on
the off-grid twin of SmolLM2-135M; the larger values, which are the twin's, are stated
here, rounded up.  That of f32 is the error of the divergence itself, given the logits.
docs/perplexity.md has the figures.
"""

from __future__ import annotations

from ..inference.computing import DEFAULT_ACTIVATIONS
from .precisions import BOTH

__all__ = ["noise_floor"]

MEAN_DIVERGENCE = {"f32": 2e-9, "i16": 1e-7, "f16": 4e-6, "tf32": 2e-5, "q8": 4e-3}
"""Nats per token, by precision of activations.

Those of devices, which round the weights, too, were measured with such factors on the
CPU; for tf32 their digits were cut off.
"""


def noise_floor(activations: str) -> dict[str, float]:
    """Nats per token by precision, for those of a comparison."""
    used = (DEFAULT_ACTIVATIONS, "q8") if activations == BOTH else (activations,)
    return {each: MEAN_DIVERGENCE[each] for each in used}
