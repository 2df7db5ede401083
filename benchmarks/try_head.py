"""Two ways to weigh the errors of the output head that were tried, and not adopted.

    pip install .
    python benchmarks/try_head.py MODEL-f16.gguf EVALUATION.txt --calibrate FILE.txt
        [--type Q4_0] [--tokens 32768] [--chunks 40] [--threads 2] WAY [WAY ...]

All matrices but the head stay F16.  Ways:

    default          as quantkit does it
    curvature        each token's final hidden state counts with 1 - sum p^2, the trace
                     of the softmax's curvature
    damping=D        D is added to the diagonal of H, relative to its mean
    frequency=D,P    a head that is also the token embedding: what is added is 0.01 +
                     D * f^P for the row of a token, f its frequency in the text
                     relative to the mean frequency

The first way is the one that the others are compared with, paired over chunks, with one
standard error.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from measuring import machine, publish, relative_kld
from numpy.typing import NDArray

import quantkit as qk
from quantkit.calibrating import captured_model, choosing, parts
from quantkit.calibrating.choosing import Problem
from quantkit.calibrating.run import sample_for
from quantkit.calibrating.site import Quadratic
from quantkit.calibrating.solving import plan_of, solved
from quantkit.execution.carried import Carried
from quantkit.execution.workers import Workers
from quantkit.inference.weights import TypedMatrix, load_model, load_weights
from quantkit.sources.opening import open_source

CTX = 512
WAYS = ("default", "curvature", "damping", "frequency")
LEAST = 0.01


def curvature(model: Path) -> Any:
    """Stands for `head_of`: the head reads weighed states."""
    source = open_source(model)
    exact: Any = load_model(source, load_weights(source))

    def head_of(captured: Any) -> Any:
        def headed(x: NDArray[np.float32]) -> NDArray[np.float32]:
            states = captured.finished(x)
            logits = exact.head.apply(states).astype(np.float64)
            p = np.exp(logits - logits.max(axis=1, keepdims=True))
            p /= p.sum(axis=1, keepdims=True)
            weight = np.sqrt(1 - np.square(p).sum(axis=1))[:, None]
            out: NDArray[np.float32] = captured.head.apply(
                (states * weight).astype(np.float32)
            )
            return out

        return headed

    return head_of


@dataclass(frozen=True)
class ByFrequency:
    """Stands for `Chosen`: rows have dampings of their own.

    Attributes:
        quadratic: of all rows.
        dampings: of each row.
        damping: the least of them.
    """

    quadratic: Quadratic
    dampings: NDArray[np.float64]
    damping: float = LEAST

    def solve(
        self, problem: Problem, rows: slice, workers: Workers, others: Workers
    ) -> TypedMatrix:
        """The rows, those of about the same damping together."""
        data = np.empty_like(problem.plain.data)
        about = 10 ** (np.round(2 * np.log10(self.dampings)) / 2)
        for damping in np.unique(about):
            own = np.flatnonzero(about == damping)
            plan, _ = plan_of(self.quadratic.h, problem.type, float(damping), workers)
            weights = problem.matrix.weights(own)
            data[own] = solved(Carried(plan), weights, workers)
        return problem.made(data, rows)


@contextmanager
def way(name: str, model: Path, calibration: qk.Calibration) -> Iterator[None]:
    """Calibrate in this way."""
    kind, _, value = name.partition("=")
    if kind == "curvature":
        with patch.object(captured_model, "head_of", curvature(model)):
            yield
    elif kind == "damping":
        chosen = (float(value),)
        with (
            patch.object(choosing, "DAMPINGS", chosen),
            patch.object(choosing, "TIED_DAMPINGS", chosen),
        ):
            yield
    elif kind == "frequency":
        scale, power = map(float, value.split(","))
        source = open_source(model)
        tokens = sample_for(source, calibration).chunks.reshape(-1)
        n_rows = source.tensors["token_embd.weight"].n_rows
        # a token that the text lacks is taken to be there a tenth of a time
        counts = np.bincount(tokens, minlength=n_rows) + 0.1
        dampings = LEAST + scale * (counts * n_rows / tokens.size) ** power

        def choose(quadratic: Quadratic, *_: object, **__: object) -> ByFrequency:
            return ByFrequency(quadratic, dampings)

        with patch.object(parts, "choose", choose):
            yield
    else:
        yield


def made(ways: Sequence[str], folder: Path, args: argparse.Namespace) -> list[Path]:
    """The files of all ways."""
    calibration = qk.Calibration([args.calibrate], args.tokens)
    head = "output" if "output.weight" in open_source(args.model).tensors else "token"
    types = qk.Overrides(
        (
            qk.TensorType.parse(f"^{head}={args.type}"),
            qk.TensorType.parse("^(blk|token|output)=F16"),
        )
    )
    files: list[Path] = []
    for name in ways:
        files.append(folder / f"{len(files)}.gguf")
        with way(name, args.model, calibration):
            qk.quantize_file(
                *(args.model, files[-1], "Q8_0"),
                overrides=types,
                calibration=calibration,
                threads=args.threads,
            )
    return files


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, help="a GGUF file in F16")
    parser.add_argument("text", type=Path, help="a UTF-8 text to evaluate on")
    parser.add_argument("ways", nargs="+", metavar="WAY")
    parser.add_argument("--calibrate", type=Path, required=True)
    parser.add_argument("--type", default="Q4_0")
    parser.add_argument("--tokens", type=int, default=32768)
    parser.add_argument("--chunks", type=int, default=40)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    for name in args.ways:
        if name.partition("=")[0] not in WAYS:
            parser.error(f"unknown way {name!r}; known: {', '.join(WAYS)}")
    with tempfile.TemporaryDirectory() as folder:
        files = made(args.ways, Path(folder), args)
        compared = qk.compare(
            [args.model, *files],
            text=args.text,
            options=qk.TextOptions(CTX, args.chunks),
            threads=args.threads,
        )
    first = compared.results[0]
    lines = [
        machine(),
        "",
        f"{args.model.name}, the head alone as {args.type}, {args.chunks} chunks of "
        f"{args.text.name}, calibrated with {args.tokens} tokens",
        "",
        "| way | KLD | relative to the first | PPL |",
        "|---" * 4 + "|",
    ]
    for name, row in zip(args.ways, compared.results, strict=True):
        relative = "" if row is first else relative_kld(compared, row, first)
        lines.append(f"| {name} | {row.kld_mean:.6f} | {relative} | {row.ppl:.3f} |")
    publish(lines, None)


if __name__ == "__main__":
    main()
