"""The measured values of one model or type: a row of a comparison."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..by_value import ByValue

__all__ = ["Measurement", "TextResult"]


@dataclass(frozen=True, eq=False)
class Measurement(ByValue):
    """The size of a model, its perplexity, and its difference from the base.

    Errors are one standard error over chunks; a `token_error` is one over tokens, as in
    llama.cpp (see `statistics`).  With one chunk the errors over chunks are NaN.

    Attributes:
        name: the recipe; for a model as it is, its main type or its file.
        type: the type of most weights; it differs from the recipe's if rows are not a
            multiple of its block.
        size_bytes: bytes of the file, see `Entry.file_bytes`.
        bpw: bits per weight of all tensors, without metadata.
        chunks: number of evaluated sequences.
        ppl, ppl_error, ppl_token_error: perplexity.
        delta_ppl, ...: perplexity minus the base's, paired.
        ppl_ratio, ppl_ratio_error: perplexity divided by the base's, paired.
        ln_ppl_ratio, ln_ppl_ratio_error: its logarithm.
        kld_mean, ...: mean KL divergence from the base per token, in nats.
        kld_median, kld_p90, kld_p95, kld_p99, kld_p99_9, kld_max: its percentiles.
        same_top, ...: share of tokens with the same most likely token as the base.
        top_2 ... top_5: share of tokens where the model's most likely token is among
            the base's 2 ... 5 most likely.
        mean_dp, mean_dp_error: mean of the probability of the actual token minus its
            probability under the base.
        rms_dp, rms_dp_error: root mean square of that difference.
        dp_p1 ... dp_p99: its percentiles.
        tokens_per_second: speed of all threads, statistics included.
        quantize_seconds: time to quantize; None for a model as it is.  `==` ignores
            both times.
    """

    name: str
    type: str
    size_bytes: int
    bpw: float
    chunks: int
    ppl: float
    ppl_error: float
    ppl_token_error: float
    delta_ppl: float
    delta_ppl_error: float
    delta_ppl_token_error: float
    ppl_ratio: float
    ppl_ratio_error: float
    ln_ppl_ratio: float
    ln_ppl_ratio_error: float
    kld_mean: float
    kld_mean_error: float
    kld_mean_token_error: float
    kld_median: float
    kld_p90: float
    kld_p95: float
    kld_p99: float
    kld_p99_9: float
    kld_max: float
    same_top: float
    same_top_error: float
    same_top_token_error: float
    top_2: float
    top_3: float
    top_4: float
    top_5: float
    mean_dp: float
    mean_dp_error: float
    rms_dp: float
    rms_dp_error: float
    dp_p1: float
    dp_p5: float
    dp_p10: float
    dp_median: float
    dp_p90: float
    dp_p95: float
    dp_p99: float
    tokens_per_second: float = field(compare=False)
    quantize_seconds: float | None = field(default=None, compare=False)


@dataclass(frozen=True, eq=False)
class TextResult(ByValue):
    """The rows on one text.

    Attributes:
        text: name of the text.
        chunks: number of its sequences.
        base: the row of the base.
        results: the other rows.
    """

    text: str
    chunks: int
    base: Measurement
    results: list[Measurement]
