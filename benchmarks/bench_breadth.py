"""How far calibration texts are from the built-in mixture, on a model.

    python benchmarks/bench_breadth.py MODEL [TEXT ...]

Measures the kinds of text of the mixture, and each TEXT; prints Markdown.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from quantkit.calibrating.mixture import mixture_texts
from quantkit.calibrating.narrowness import breadth_of_sample
from quantkit.calibrating.sample import sample_of
from quantkit.execution.workers import kept_open, workers_of
from quantkit.sources.opening import open_runnable
from quantkit.tokens.options import DEFAULT

TOKENS = 8192
"""Tokens of each text; the comparison uses some of them."""


def named_texts(given: Sequence[Path]) -> Iterator[tuple[str, Sequence[Path]]]:
    """The mixture, its kinds, and the given texts."""
    yield "the mixture", mixture_texts()
    for kind, files in groupby(mixture_texts(), lambda path: path.name.split("_")[0]):
        yield kind, list(files)
    for path in given:
        yield path.name, [path]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("texts", type=Path, nargs="*")
    args = parser.parse_args()
    source = open_runnable(args.model)
    print("| text | different tokens | distance |\n|---|---|---|")
    with kept_open(workers_of(None)) as workers:
        for name, texts in named_texts(args.texts):
            sample = sample_of(source, texts, TOKENS, DEFAULT)
            found = breadth_of_sample(source, sample, DEFAULT, workers)
            assert found is not None  # the model has such matrices
            print(f"| {name} | {found.n_distinct} | {found.distance:.2f} |", flush=True)


if __name__ == "__main__":
    main()
