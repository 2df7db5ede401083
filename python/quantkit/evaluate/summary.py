"""Compute the row of a comparison from the scores of tokens."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, TypeVar

import numpy as np

from .best import N_BEST
from .described import DescribedRow
from .likelihood import TokenScores
from .measurement import Measurement
from .statistics import (
    mean_estimate,
    percentiles,
    perplexity_difference,
    perplexity_estimate,
    perplexity_log_ratio,
    perplexity_ratio,
    root_mean_square,
)

__all__ = ["averaged", "macro_average", "measurement"]

Row = TypeVar("Row")
SAME_FOR_TEXTS = ("name", "type", "size_bytes", "bpw", "quantize_seconds")

KLD_SHARES = {"median": 50, "p90": 90, "p95": 95, "p99": 99, "p99_9": 99.9, "max": 100}
DP_SHARES = {"p1": 1, "p5": 5, "p10": 10, "median": 50, "p90": 90, "p95": 95, "p99": 99}


def measurement(
    row: DescribedRow,
    scores: TokenScores,
    base: TokenScores,
    tokens_per_second: float,
    quantize_seconds: float | None,
) -> Measurement:
    """A row on one text.

    Args:
        row: what it is of.
        scores: its scores [chunks, tokens].
        base: the base's scores on the same tokens.
        tokens_per_second: the evaluation speed.
        quantize_seconds: the time to quantize; None: the model was not quantized.
    """
    return Measurement(
        name=row.name,
        type=row.type,
        size_bytes=row.size_bytes,
        bpw=row.bpw,
        chunks=len(scores.nll),
        **_perplexity_figures(scores, base),
        **_divergence_figures(scores, base),
        tokens_per_second=tokens_per_second,
        quantize_seconds=quantize_seconds,
    )


def _perplexity_figures(scores: TokenScores, base: TokenScores) -> dict[str, float]:
    ppl = perplexity_estimate(scores.nll)
    delta = perplexity_difference(scores.nll, base.nll)
    ratio = perplexity_ratio(scores.nll, base.nll)
    log_ratio = perplexity_log_ratio(scores.nll, base.nll)
    return {
        "ppl": ppl.value,
        "ppl_error": ppl.error,
        "ppl_token_error": ppl.token_error,
        "delta_ppl": delta.value,
        "delta_ppl_error": delta.error,
        "delta_ppl_token_error": delta.token_error,
        "ppl_ratio": ratio.value,
        "ppl_ratio_error": ratio.error,
        "ln_ppl_ratio": log_ratio.value,
        "ln_ppl_ratio_error": log_ratio.error,
    }


def _divergence_figures(scores: TokenScores, base: TokenScores) -> dict[str, float]:
    kld = mean_estimate(scores.kld)
    same_top = mean_estimate(scores.same_top.astype(np.float64))
    dp = np.exp(-scores.nll) - np.exp(-base.nll)
    mean_dp, rms_dp = mean_estimate(dp), root_mean_square(dp)
    klds = percentiles(scores.kld, list(KLD_SHARES.values()))
    dps = percentiles(dp, list(DP_SHARES.values()))
    return {
        "kld_mean": kld.value,
        "kld_mean_error": kld.error,
        "kld_mean_token_error": kld.token_error,
        **{f"kld_{key}": v for key, v in zip(KLD_SHARES, klds, strict=True)},
        "same_top": same_top.value,
        "same_top_error": same_top.error,
        "same_top_token_error": same_top.token_error,
        **{f"top_{k}": float((scores.rank < k).mean()) for k in range(2, N_BEST + 1)},
        "mean_dp": mean_dp.value,
        "mean_dp_error": mean_dp.error,
        "rms_dp": rms_dp.value,
        "rms_dp_error": rms_dp.error,
        **{f"dp_{key}": v for key, v in zip(DP_SHARES, dps, strict=True)},
    }


def macro_average(rows: Sequence[Measurement]) -> Measurement:
    """Average an entry's rows over several texts, with equal weights.

    Values are means, errors are those of a mean of independent values, `kld_max` is the
    maximum, and the speed is the overall speed.
    """
    return averaged(rows, pieces="chunks", largest="kld_max")


def averaged(rows: Sequence[Row], *, pieces: str, largest: str) -> Row:
    """The mean of rows over texts, which are dataclasses with `tokens_per_second`.

    Args:
        rows: one of each text.
        pieces: the field that counts what was measured.
        largest: the field that is a maximum.
    """
    if len(rows) == 1:
        return rows[0]
    each = [asdict(row) for row in rows]  # type: ignore[call-overload]
    columns = {key: [row[key] for row in each] for key in each[0]}
    n_pieces = sum(columns[pieces])
    seconds = sum(row[pieces] / row["tokens_per_second"] for row in each)
    mean = {key: _averaged(key, values) for key, values in columns.items()}
    mean |= {
        pieces: n_pieces,
        largest: max(columns[largest]),
        "tokens_per_second": n_pieces / seconds,
    }
    return type(rows[0])(**mean)


def _averaged(key: str, values: list[Any]) -> Any:
    if key.endswith("_error"):
        return math.hypot(*values) / len(values)
    if key in SAME_FOR_TEXTS:
        return values[0]
    return sum(values) / len(values)
