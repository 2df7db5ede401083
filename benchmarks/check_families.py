"""Every tiny model of the families: its file, its logits, its perplexity in llama.cpp.

    python benchmarks/check_families.py --out benchmarks/results/families.md

QUANTKIT_LLAMACPP_PYTHON names an interpreter that has llama-cpp-python; without it, the
column of llama.cpp stays empty.  The perplexity is that of a random text of the case,
from the logits of all its tokens, all in f32.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.families.cases import CASES, DECODERS, Case
from tests.families.describe import described_tensors
from tests.families.runnable import write_runnable
from tests.families.stored import (
    checkpoint,
    fixture,
    known_logits,
    known_rows,
    logits_of,
    source_of,
)
from tests.test_llamacpp_families import ABORTED, DEPTHS, DIFFERENT, REFUSED

RUNNER = Path(__file__).parents[1] / "tests" / "families" / "run_llamacpp.py"
HEADING = """# Families: files, logits and perplexity

By `python benchmarks/check_families.py`.  "file": names, order, types and bytes are
those of llama.cpp's converter (build 11434), at f32 and f16.  "distance": of the logits
(of encoders: hidden states) to transformers', as a share of their range; for classes
that transformers does not have, to llama.cpp's.  Perplexities are those of random text
in random models, in quantkit and in llama.cpp (llama-cpp-python 0.3.36).

| case | class | file | distance | PPL, quantkit | PPL, llama.cpp |
|---|---|---|---|---|---|
"""


def perplexity(logits: NDArray[np.float32], tokens: NDArray[np.int32]) -> float:
    """exp of the mean negative log-likelihood of each token but the first."""
    scores = logits[:-1].astype(np.float64)
    scores -= scores.max(axis=1, keepdims=True)
    scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
    return float(np.exp(-scores[np.arange(len(scores)), tokens[1:]].mean()))


def is_equal(case: Case, folder: Path) -> bool:
    """Whether both files are those of llama.cpp's converter."""
    known = fixture(case)["tensors"]
    model = checkpoint(case, folder)
    return all(
        list(described_tensors(source_of(model, kind).tensors).items())
        == list(known[kind].items())
        for kind in ("f32", "f16")
    )


def llamacpp_logits(python: str, folder: Path) -> None:
    """Write the logits of all cases that llama.cpp runs."""
    for case in DECODERS:
        if case.name in ABORTED:
            continue
        tokens, logits = known_logits(case)
        own = folder / f"{case.name}-model"
        model = checkpoint(case, own, DEPTHS.get(case.name))
        write_runnable(model, logits.shape[1], folder / f"{case.name}.gguf")
        np.save(folder / f"{case.name}.npy", tokens)
    subprocess.run([python, RUNNER, folder], check=True)


def row(case: Case, folder: Path) -> str:
    """The line of a case."""
    hf_class = fixture(case)["config"]["architectures"][0]
    file = "equal" if is_equal(case, folder / f"{case.name}-file") else "differs"
    if not case.runs:
        return f"| {case.name} | {hf_class} | {file} | not run | | |\n"
    tokens, expected = known_logits(case)
    own = folder / f"{case.name}-own"
    found = logits_of(checkpoint(case, own), tokens)[known_rows(case, len(tokens))]
    distance = np.abs(found - expected).max() / np.ptp(expected)
    ours = theirs = ""
    if case.predicts_text:
        deep = checkpoint(case, folder / f"{case.name}-deep", DEPTHS.get(case.name))
        ours = f"{perplexity(logits_of(deep, tokens), tokens):.6g}"
        path = folder / f"{case.name}.logits.npy"
        if path.exists():
            theirs = f"{perplexity(np.load(path), tokens):.6g}"
        elif case.name in REFUSED:
            theirs = f"refuses it: {REFUSED[case.name]}"
        elif case.name in ABORTED:
            theirs = f"ends: {ABORTED[case.name]}"
        if case.name in DIFFERENT:
            theirs += f" (it {DIFFERENT[case.name]})"
    return (
        f"| {case.name} | {hf_class} | {file} | {distance:.1e} | {ours} | {theirs} |\n"
    )


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if python := os.environ.get("QUANTKIT_LLAMACPP_PYTHON"):
            llamacpp_logits(python, folder)
        out.write_text(HEADING + "".join(row(case, folder) for case in CASES))


if __name__ == "__main__":
    main()
