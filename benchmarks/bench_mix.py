"""What a mix of types loses, beside the best single type of its size and a baseline.

    python benchmarks/bench_mix.py MODEL TEXT [--baseline TYPE] [--types LIST]
                                   [--chunks N] [--calibrate FILE --tokens N]

MODEL is not quantized; the size is that of its file in the baseline's type.  Types and
mix are chosen on the first half of TEXT and compared on the second, which nothing was
chosen by.  Prints the answer, what was expected of the mix, and the comparison.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import quantkit as qk


def halves(path: str) -> tuple[str, str]:
    """The first and the second half of a text."""
    text = Path(path).read_text(encoding="utf-8")
    middle = text.index("\n", len(text) // 2)
    return text[:middle], text[middle:]


def size_of(model: str, recipe: str) -> int:
    """The bytes of a file of the model."""
    with TemporaryDirectory() as folder:
        out = Path(folder) / "out.gguf"
        return qk.quantize_file(model, out, recipe, dry_run=True).size_bytes


def compared(
    choice: qk.Choice,
    baseline: str,
    model: str,
    text: str,
    options: qk.TextOptions,
    calibration: qk.Calibration | None,
) -> qk.Comparison:
    """The mix, the best type of its size and the baseline on other text."""
    assert choice.mix is not None
    best = choice.mix.reference.split()[0]
    with TemporaryDirectory() as folder:
        recipe = Path(folder) / "mix.toml"
        recipe.write_text(choice.mix.to_toml(), encoding="utf-8")
        types = dict.fromkeys([baseline, best, str(recipe)])
        return qk.compare(
            model, list(types), text=text, options=options, calibration=calibration
        )


def report(result: qk.Comparison, baseline: str) -> None:
    """One line for each row: size, KLD, and the paired difference from the baseline."""
    for row in result.results:
        line = f"{row.name:20} {row.size_bytes:12,} {row.kld_mean:.5f} "
        line += f"± {row.kld_mean_error:.5f}"
        if row.name != baseline:
            pair = result.versus(row.name, baseline)
            share = row.kld_mean / result.results[0].kld_mean
            line += f" {pair.kld_difference:+.5f} ± {pair.kld_difference_error:.5f}"
            line += f" p {pair.kld_p_value:.1g}, {share:.2f} of {baseline}"
        print(line)


def main() -> None:
    """Choose on one half of the text, and compare on the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("text")
    parser.add_argument("--baseline", default="Q4_K_M")
    parser.add_argument("--types", default="all")
    parser.add_argument("--chunks", type=int, default=64)
    parser.add_argument("--calibrate")
    parser.add_argument("--tokens", type=int, default=131072)
    given = parser.parse_args()
    calibration = None
    if given.calibrate:
        calibration = qk.Calibration([Path(given.calibrate)], given.tokens, "best")
    first, second = halves(given.text)
    options = qk.TextOptions(chunks=given.chunks)
    start = perf_counter()
    choice = qk.choose(
        given.model,
        qk.Budget(max_size=size_of(given.model, given.baseline)),
        given.types.split(","),
        text=first,
        options=options,
        calibration=calibration,
        mix=True,
    )
    print(choice.sentence)
    print(f"{perf_counter() - start:.0f} s")
    baseline = given.baseline
    result = compared(choice, baseline, given.model, second, options, calibration)
    report(result, baseline)


if __name__ == "__main__":
    main()
