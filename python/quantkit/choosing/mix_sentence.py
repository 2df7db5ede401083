"""What became of a mix of types, in one sentence."""

from __future__ import annotations

from ..mixing import Mix
from ..quantities import value_as_text
from .sentence import chance_as_text

__all__ = ["NO_MIX", "mix_sentence"]

NO_MIX = "No mix of types keeps to these limits either."


def mix_sentence(mix: Mix) -> str:
    """What was expected of a mix, what it does, and how it compares."""
    if mix.measured is None or mix.difference is None:
        return f"The mix of types that is expected to lose least is {mix.reference}."
    compared = chance_as_text(
        mix.difference.kld_difference,
        mix.difference.kld_difference_error,
        mix.difference.kld_p_value,
    )
    verdict = "" if mix.is_chosen else ", so it is not taken"
    if mix.is_better and not mix.is_chosen:
        verdict = ", but it may lose more than the limits allow"
    return (
        f"The mix of types ({mix.counts}) was expected to lose KLD "
        f"{mix.predicted:.2g}, or {mix.predicted_together:.2g} with interactions; "
        f"{value_as_text(mix.measured, mix.measured_error)} was measured. Compared "
        f"with {mix.reference}, it {compared}{verdict}."
    )
