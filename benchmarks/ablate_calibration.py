"""Ablations of calibrated rounding: what each choice is worth, one at a time.

    pip install .
    python benchmarks/ablate_calibration.py MODEL-f16.gguf EVALUATION.txt
        --calibrate FILE.txt [--type Q4_0] [--tokens 131072] [--chunks 40] [--threads 2]
        [--pure] [--output FILE.md] VARIANT [VARIANT ...]

A variant is a comma-separated list of NAME=VALUE.  The names are `effort`, `tokens`,
`text`, `order`, `first`, and constants of quantkit's room of calibration, as
MODULE.CONSTANT:

    effort=best tokens=4096 sink.HERE=5 sink.HERE=30,first=1
    choosing.DAMPINGS=(0.1,) order=natural

The order in which columns are solved is by their part of H, largest first; "natural":
from the last to the first; "reversed": by their part of H, smallest first.  `first` is
the weight of keys and values at the first position, in place of attention's.

The word `default` is the variant without any.  The first variant is the one that the
others are compared with, paired over chunks, with one standard error.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from measuring import machine, publish, relative_kld
from numpy.typing import NDArray

import quantkit
from quantkit._native import column_order

CTX = 512
NAMES = ("effort", "tokens", "text", "order", "first")

ORDERS: dict[str, Callable[..., NDArray[np.int64]]] = {
    "natural": lambda diagonal, type: np.arange(len(diagonal)),
    "reversed": lambda diagonal, type: column_order(-diagonal, type),
}


def settings_of(variant: str) -> dict[str, str]:
    """The names and values of a variant; commas inside brackets belong to a value."""
    if variant == "default":
        return {}
    settings: dict[str, str] = {}
    name = ""
    for part in variant.split(","):
        if "=" in part:
            name, _, settings[name] = part.partition("=")
        else:
            settings[name] = f"{settings.get(name, '')},{part}"
    unknown = [name for name in settings if "." not in name and name not in NAMES]
    if unknown:
        sys.exit(f"{variant}: unknown name {unknown[0]!r}; known: {', '.join(NAMES)}")
    return settings


@contextmanager
def constants(settings: dict[str, str]) -> Iterator[None]:
    """Set constants of the room, and put back what they were."""
    values: dict[str, Any] = {
        name: ast.literal_eval(value) for name, value in settings.items() if "." in name
    }
    if "order" in settings:
        values["solving.column_order"] = ORDERS[settings["order"]]
    if "first" in settings:
        weight = float(settings["first"])
        values["sink._weight"] = lambda mass: weight
    changed = []
    for name, value in values.items():
        module_name, _, constant = name.rpartition(".")
        module = importlib.import_module(f"quantkit.calibrating.{module_name}")
        changed.append((module, constant, getattr(module, constant)))
        setattr(module, constant, value)
    try:
        yield
    finally:
        for module, constant, value in reversed(changed):
            setattr(module, constant, value)


def make(out: Path, settings: dict[str, str], args: argparse.Namespace) -> float:
    """Write the file of a variant; gives the seconds."""
    text = settings.get("text", str(args.calibrate))
    calibration = quantkit.Calibration(
        texts=() if text == "builtin" else (Path(text),),
        tokens=int(settings.get("tokens", args.tokens)),
        effort=cast("Literal['fast', 'best']", settings.get("effort", "fast")),
    )
    start = time.perf_counter()
    with constants(settings):
        quantkit.quantize_file(
            *(args.model, out, args.type),
            calibration=calibration,
            overrides=quantkit.Overrides(pure=args.pure),
            threads=args.threads,
        )
    return time.perf_counter() - start


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, help="a GGUF file in F16")
    parser.add_argument("text", type=Path, help="a UTF-8 text to evaluate on")
    parser.add_argument("variants", nargs="+", metavar="VARIANT")
    parser.add_argument("--calibrate", required=True, help="a UTF-8 text, or builtin")
    parser.add_argument("--type", default="Q4_0")
    parser.add_argument("--tokens", type=int, default=131072)
    parser.add_argument("--chunks", type=int, default=40)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pure", action="store_true")
    parser.add_argument("--output", type=Path, help="also write the table here")
    args = parser.parse_args()
    settings = [settings_of(variant) for variant in args.variants]
    with tempfile.TemporaryDirectory() as folder:
        files, seconds = [], []
        for i, variant in enumerate(args.variants):
            files.append(Path(folder, f"{i}.gguf"))
            seconds.append(make(files[-1], settings[i], args))
            print(f"{variant}: {seconds[-1]:.0f} s", file=sys.stderr)
        compared = quantkit.compare(
            [args.model, *files],
            text=args.text,
            options=quantkit.TextOptions(CTX, args.chunks),
            threads=args.threads,
        )
    first = compared.results[0]
    rows = []
    for variant, row, taken in zip(
        args.variants, compared.results, seconds, strict=True
    ):
        relative = "" if row is first else relative_kld(compared, row, first)
        cells = [variant, f"{row.kld_mean:.5f}", relative, f"{row.ppl:.3f}"]
        rows.append(f"| {' | '.join([*cells, f'{taken:.0f}'])} |")
    lines = [
        machine(),
        "",
        f"{args.model.name}, {args.type}{', pure' if args.pure else ''}, {args.chunks} "
        f"chunks of {CTX} of {args.text.name}, calibrated with {args.tokens} tokens of "
        f"{Path(args.calibrate).name}; perplexity of the base {compared.base.ppl:.3f}",
        "",
        "| variant | KLD | relative to the first | PPL | s |",
        "|---" * 5 + "|",
        *rows,
    ]
    publish(lines, args.output)


if __name__ == "__main__":
    main()
