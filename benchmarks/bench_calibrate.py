"""Calibrated rounding against llama-quantize with an importance matrix.

    pip install .
    python benchmarks/bench_calibrate.py MODEL-f16.gguf EVALUATION.txt
        --calibrate FILE.txt --llama-bin FOLDER --work FOLDER
        [--types Q4_0,Q4_K_M] [--efforts fast,best] [--calibration-tokens 131072]
        [--chunks 40] [--threads 2] [--pure] [--matrices] [--kl-divergence]
        [--output FILE.md]

Every side reads the same F16 file and the same calibration text, and writes a file of
the same type and size; with `--calibrate builtin`, calibrated rounding takes its own
texts, and the importance matrix those of `--imatrix-text`.  `--pure` gives every matrix
the type itself, where a recipe would give some of them a better one; `--matrices`
leaves the token embedding and the output matrix in F16 on all sides.
The KL divergences are those of `quantkit.compare` from the F16 file, on chunks of the
evaluation text; relative differences are paired over chunks, with one standard error.
`--kl-divergence` measures the files with llama-perplexity as well.
Seconds and memory are of the whole command, in a process of its own.

The folder `--work` keeps files and figures; a run that was stopped goes on there.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from llama_perplexity import Divergence, Perplexity
from measuring import MIB, Run, machine, publish, run

import quantkit

CTX = 512
LLAMA, PLAIN = "llama-quantize", "quantkit"
"""The sides that only weigh columns; quantkit's bytes are llama.cpp's."""


@dataclass(frozen=True)
class Setup:
    """What all files of a run have in common."""

    model: Path
    calibrate: str
    importance: Path
    tokens: int
    threads: int
    pure: bool
    matrices: bool
    llama_bin: Path

    def llama(self, out: Path, recipe: str) -> list[str]:
        """The command of llama-quantize."""
        options = ["--imatrix", str(self.importance), *self._types()]
        files = [str(self.model), str(out), recipe, str(self.threads)]
        return [str(self.llama_bin / "llama-quantize"), *options, *files]

    def quantkit(self, out: Path, recipe: str, effort: str = "") -> list[str]:
        """The command of quantkit; without an effort, plain rounding."""
        files = [str(self.model), str(out), recipe, "--imatrix", str(self.importance)]
        command = [sys.executable, "-m", "quantkit", "quantize", *files, "-q"]
        command += ["--threads", str(self.threads), *self._types()]
        if not effort:
            return command
        command += ["--calibrate", self.calibrate, "--effort", effort]
        return [*command, "--calibration-tokens", str(self.tokens)]

    def _types(self) -> list[str]:
        options = ["--pure"] if self.pure else []
        if self.matrices:
            options += ["--token-embedding-type", "F16", "--output-tensor-type", "F16"]
        return options


@dataclass(frozen=True)
class Figures:
    """What one file cost and costs."""

    size: int
    run: Run
    kld: float
    relative: float
    relative_error: float
    ppl: float
    ppl_change: float
    ppl_change_error: float
    base_ppl: float
    same_top: float
    theirs: Divergence | None


def made(command: list[str], out: Path) -> Run:
    """Write a file; one that is there with its time is kept."""
    noted = out.with_suffix(".json")
    if not noted.exists():
        out.unlink(missing_ok=True)
        taken = run(command)
        noted.write_text(json.dumps([taken.seconds, taken.peak_bytes]))
    return Run(*json.loads(noted.read_text()))


def files_of(recipe: str, setup: Setup, args: argparse.Namespace) -> dict[str, Path]:
    """The file of each side, llama-quantize's first.

    Stops if plain rounding gives other bytes than llama-quantize.
    """
    efforts = [effort for effort in args.efforts.split(",") if effort]
    names = [LLAMA, PLAIN, *efforts]
    files = {side: args.work / f"{recipe}-{side}{args.variant}.gguf" for side in names}
    commands = {
        LLAMA: setup.llama(files[LLAMA], recipe),
        PLAIN: setup.quantkit(files[PLAIN], recipe),
    }
    for effort in efforts:
        commands[effort] = setup.quantkit(files[effort], recipe, effort)
    for side, command in commands.items():
        taken = made(command, files[side])
        print(f"{recipe} {side}: {taken.seconds:.0f} s", file=sys.stderr)
    if different := differing(files[LLAMA], files.pop(PLAIN)):
        sys.exit(f"{recipe}: plain rounding differs from llama-quantize: {different}")
    return files


def differing(one: Path, other: Path) -> list[str]:
    """The tensors whose types or bytes differ between two files."""
    with quantkit.GGUFFile(one) as left, quantkit.GGUFFile(other) as right:
        names = left.tensors.keys() | right.tensors.keys()
        shared = left.tensors.keys() & right.tensors.keys()
        return sorted(
            name
            for name in names
            if name not in shared
            or left.tensors[name].type != right.tensors[name].type
            or not np.array_equal(left.raw(name), right.raw(name))
        )


def figures(
    recipe: str, setup: Setup, args: argparse.Namespace, base: Perplexity | None
) -> Iterator[tuple[str, Figures]]:
    """The figures of each side for one type, llama.cpp's first."""
    files = files_of(recipe, setup, args)
    compared = quantkit.compare(
        [setup.model, *files.values()],
        text=args.text,
        options=quantkit.TextOptions(CTX, args.chunks),
        threads=args.threads,
        save=args.work / f"{recipe}{args.variant}-scores.json",
    )
    rows = dict(zip(files, compared.results, strict=True))
    first = rows[LLAMA]
    for side, row in rows.items():
        pair = compared.versus(row.name, first.name)
        taken = Run(*json.loads(files[side].with_suffix(".json").read_text()))
        yield (
            side,
            Figures(
                size=row.size_bytes,
                run=taken,
                kld=row.kld_mean,
                relative=pair.kld_difference / first.kld_mean,
                relative_error=pair.kld_difference_error / first.kld_mean,
                ppl=row.ppl,
                ppl_change=math.expm1(pair.ln_ppl_ratio),
                ppl_change_error=math.exp(pair.ln_ppl_ratio) * pair.ln_ppl_ratio_error,
                base_ppl=compared.base.ppl,
                same_top=row.same_top,
                theirs=base.divergence(files[side]) if base else None,
            ),
        )


def cells(recipe: str, side: str, got: Figures) -> str:
    """One Markdown row."""
    relative = change = ""
    if side != LLAMA:
        relative = f"**{got.relative:+.1%}** ±{got.relative_error:.1%}"
        change = f"{got.ppl_change:+.2%} ±{got.ppl_change_error:.2%}"
    theirs = ["", ""]
    if got.theirs is not None:
        theirs = [f"{got.theirs.kld:.5f}", f"{got.theirs.ppl:.3f}"]
    parts = [recipe, side, f"{got.size / MIB:.1f}", f"{got.kld:.5f}", relative]
    parts += [f"{got.ppl:.3f} ({got.base_ppl:.3f})", change, f"{got.same_top:.2%}"]
    parts += theirs
    parts += [f"{got.run.seconds:.0f}", f"{got.run.peak_bytes / MIB:.0f}"]
    return f"| {' | '.join(parts)} |"


def parsed() -> argparse.Namespace:
    """The arguments."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, help="a GGUF file in F16")
    parser.add_argument("text", type=Path, help="a UTF-8 text to evaluate on")
    parser.add_argument("--calibrate", required=True, help="a UTF-8 text, or builtin")
    parser.add_argument("--imatrix-text", type=Path, help="default: --calibrate")
    parser.add_argument("--llama-bin", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--types", default="Q4_0,Q4_K_M")
    parser.add_argument("--efforts", default="fast,best")
    parser.add_argument("--calibration-tokens", type=int, default=131072)
    parser.add_argument("--chunks", type=int, default=40)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pure", action="store_true")
    parser.add_argument("--matrices", action="store_true")
    parser.add_argument("--kl-divergence", action="store_true")
    parser.add_argument("--output", type=Path, help="also write the table here")
    args = parser.parse_args()
    args.variant = ("-pure" if args.pure else "") + (
        "-matrices" if args.matrices else ""
    )
    return args


def importance(args: argparse.Namespace) -> Path:
    """The importance matrix of the calibration text, as llama-imatrix gives it."""
    out: Path = args.work / "imatrix.gguf"
    if not out.exists():
        text = str(args.imatrix_text or args.calibrate)
        command = [sys.executable, "-m", "quantkit", "imatrix", str(args.model), "-q"]
        command += ["--text", text, "--threads", str(args.threads), "-o", str(out)]
        run([*command, "--chunks", str(args.calibration_tokens // CTX)])
    return out


def main() -> None:
    """Print the table."""
    args = parsed()
    args.work.mkdir(parents=True, exist_ok=True)
    setup = Setup(
        *(args.model, args.calibrate, importance(args), args.calibration_tokens),
        *(args.threads, args.pure, args.matrices, args.llama_bin),
    )
    base = None
    if args.kl_divergence:
        base = Perplexity(
            *(args.llama_bin, args.model, args.text, args.work),
            *(args.chunks, args.threads),
        )
    rows = []
    for recipe in args.types.split(","):
        for side, got in figures(recipe, setup, args, base):
            rows.append(cells(recipe, side, got))
            print(rows[-1], json.dumps(asdict(got)), file=sys.stderr)
    head = ["type", "side", "MiB", "KLD", "relative", "PPL (base)", "change"]
    head += ["same top", "llama.cpp's KLD", "its PPL", "s", "peak MiB"]
    lines = [
        machine(),
        "",
        f"{args.model.name}, {args.chunks} chunks of {CTX} of {args.text.name}, "
        f"calibrated with {args.calibration_tokens} tokens of "
        f"{Path(args.calibrate).name}{args.variant.replace('-', ', ')}",
        "",
        f"| {' | '.join(head)} |",
        "|---" * len(head) + "|",
        *rows,
    ]
    publish(lines, args.output)


if __name__ == "__main__":
    main()
