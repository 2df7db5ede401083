"""What an answer of `choose` costs, beside measuring eight types in full.

    python benchmarks/bench_choose.py MODEL TEXT MAX_SIZE [CHUNKS]

MODEL is not quantized; MAX_SIZE is in bytes.  Prints the answer, and the seconds and
chunks of both.
"""

from __future__ import annotations

import sys
from pathlib import Path
from time import perf_counter

import quantkit as qk

EIGHT = ["Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q4_0", "IQ4_XS", "Q3_K_M", "Q2_K"]


def main(model: str, text: str, max_size: int, chunks: int = 64) -> None:
    """Choose among all types, then measure eight."""
    options = qk.TextOptions(chunks=chunks)
    start = perf_counter()
    choice = qk.choose(
        model, qk.Budget(max_size=max_size), text=Path(text), options=options
    )
    chosen = perf_counter() - start
    start = perf_counter()
    whole = qk.compare(model, EIGHT, text=Path(text), options=options)
    measured = perf_counter() - start
    n_all = sum(each.chunks for each in choice.candidates)
    n_eight = sum(row.chunks for row in whole.results)
    print(choice.sentence)
    print(f"choose among {len(choice.candidates)}: {chosen:.0f} s, {n_all} chunks")
    print(f"measure {len(EIGHT)} in full: {measured:.0f} s, {n_eight} chunks")
    print(f"ratio of the times: {chosen / measured:.2f}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
