"""The figures of one model or type: a row of a comparison."""

from __future__ import annotations

from dataclasses import dataclass

from ..by_value import ByValue

__all__ = ["Measurement", "TextResult"]


@dataclass(frozen=True, eq=False)
class Measurement(ByValue):
    """What a model takes, how well it predicts, and how far it is from the base.

    Errors take chunks as independent; those called `token_error` take tokens as
    independent, as llama.cpp does (see `statistics`).  One chunk has no error: NaN.

    Attributes:
        name: the recipe; of a model as it is, its main type or its file.
        type: the type that most of the weights have, which differs from the recipe's
            where rows are not a multiple of its block.
        size_bytes: bytes of all tensors.
        bpw: bits per weight, over all tensors.
        chunks: sequences that were evaluated.
        ppl, ppl_error, ppl_token_error: perplexity.
        delta_ppl, ...: perplexity less the base's, paired.
        ppl_ratio, ppl_ratio_error: perplexity over the base's, paired.
        ln_ppl_ratio, ln_ppl_ratio_error: its logarithm.
        kld_mean, ...: KL divergence from the base per token, in nats.
        kld_median, kld_p90, kld_p95, kld_p99, kld_p99_9, kld_max: of its tokens.
        same_top, ...: share of tokens where the likeliest token is the base's.
        mean_dp, mean_dp_error: mean of the probability of the token that came, less
            what the base gave it.
        rms_dp, rms_dp_error: root mean square of that.
        dp_p1 ... dp_p99: its percentiles.
        tokens_per_second: tokens evaluated a second by all threads, statistics
            included.
        quantize_seconds: what quantizing took; None of a model as it is.
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
    tokens_per_second: float
    quantize_seconds: float | None = None


@dataclass(frozen=True, eq=False)
class TextResult(ByValue):
    """The rows on one text.

    Attributes:
        text: its name.
        chunks: sequences that it has.
        base: the base's row.
        results: the others'.
    """

    text: str
    chunks: int
    base: Measurement
    results: list[Measurement]
