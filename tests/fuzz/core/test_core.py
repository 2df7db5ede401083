"""Fuzz the C core under sanitizers: right and wrong calls of all its functions.

`fuzz_core.c` decides from random bytes what to call and with which sizes.  It is built
twice: with any compiler that has sanitizers, where it makes its own random inputs, and
with clang's libFuzzer, which looks for inputs that reach new code.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from ...native_build import ROOT, compile_driver, needs, run

HERE = Path(__file__).parent
TARGET = HERE / "fuzz_core.c"
CORPUS = HERE / "corpus.txt"
SECONDS = 60
SANITIZERS = "-fsanitize=address,undefined"
# clang needs most of an hour to compile the kernels with both sanitizers.
LIBFUZZER = "-fsanitize=address,fuzzer"
FLAGS = ["-O1", "-g", "-fno-sanitize-recover=all", "-D_GNU_SOURCE"]
SEED = 12


def needs_flag(folder: Path, compiler: str, flag: str, source: str) -> None:
    """Skip the test where a compiler cannot link a program with a flag."""
    needs(compiler)
    path = folder / "try.c"
    path.write_text(source)
    command = [compiler, flag, str(path), "-o", str(folder / "try")]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip(f"{compiler} cannot link programs with {flag}")


def corpus(folder: Path) -> Path:
    """The inputs of earlier runs, a file for each."""
    made = folder / "corpus"
    made.mkdir()
    for i, line in enumerate(CORPUS.read_text().split()):
        (made / f"{i:04}").write_bytes(bytes.fromhex(line))
    return made


@pytest.mark.slow
def test_random_calls(tmp_path: Path) -> None:
    """The corpus, then random inputs: no access outside, no wrong call that is made."""
    needs_flag(tmp_path, "gcc", SANITIZERS, "int main(void) { return 0; }")
    program = compile_driver(tmp_path, "gcc", [*FLAGS, SANITIZERS], driver=TARGET)
    files = sorted(map(str, corpus(tmp_path).iterdir()))
    said = run([program, str(SECONDS), str(SEED), *files])
    found = re.fullmatch(r"(\d+) inputs, (\d+) calls made, (\d+) refused\n", said)
    assert found is not None
    inputs, made, refused = map(int, found.groups())
    assert inputs > len(files)
    assert made > 0
    assert refused > 0


@pytest.mark.slow
def test_calls_that_reach_new_code(tmp_path: Path) -> None:
    """libFuzzer, from the corpus on."""
    source = "int LLVMFuzzerTestOneInput(const char *d, long n) { return d && 0 * n; }"
    needs_flag(tmp_path, "clang", LIBFUZZER, source)
    flags = [*FLAGS, LIBFUZZER, "-DQK_LIBFUZZER"]
    program = compile_driver(tmp_path, "clang", flags, driver=TARGET)
    options = [f"-max_total_time={SECONDS}", "-max_len=64", f"-seed={SEED}"]
    run([program, *options, str(corpus(tmp_path))], cwd=tmp_path)


def test_the_corpus_is_here() -> None:
    """Each line is the bytes of an input in hexadecimal."""
    lines = CORPUS.read_text().split()
    assert len(lines) == len(set(lines)) > 100
    assert all(bytes.fromhex(line) for line in lines)
    assert (ROOT / "csrc" / "quantkit.h").exists()
