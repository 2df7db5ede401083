"""Rules about the source itself: what kernels may contain, what the module exports."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

import quantkit._core

ROOT = Path(__file__).parents[1]
KERNELS = sorted((ROOT / "csrc" / "kernels").glob("*.h"))

FUSED = r"\bv?fn?m(?:add|sub|la|ls)\w*"

pytestmark = pytest.mark.skipif(
    not KERNELS, reason="the C sources are not beside the tests"
)


@pytest.mark.parametrize("path", KERNELS, ids=lambda p: p.name)
def test_kernels_know_no_instruction_set(path: Path) -> None:
    """No intrinsic, register type or compile-time switch of an instruction set."""
    text = path.read_text()
    assert not re.findall(r"_mm\d*_|__m\d+|\bv\w+q_f32|immintrin|arm_neon", text)
    assert not re.findall(r"__(?:global|device|shared)__|threadIdx|__\w+_sync\b", text)
    machines = "AVX|SSE|NEON|X86|__arm|__aarch|CUDA"
    switches = re.findall(rf"^\s*#\s*if.*(?:{machines})", text, re.MULTILINE)
    assert switches == []


@pytest.mark.parametrize("path", KERNELS, ids=lambda p: p.name)
def test_kernels_do_float_arithmetic_on_lanes_only(path: Path) -> None:
    """Nothing in kernels calls libm, allocates, prints or stops the process."""
    math = ["fma", "expf", "logf", "powf", "fminf", "fmaxf"]
    functions = [*math, "malloc", "free", "printf", "abort"]
    forbidden = rf"\b(?:{'|'.join(functions)})\s*\("
    assert re.findall(forbidden, path.read_text()) == []


def module_path() -> Path:
    return Path(quantkit._core.__file__)


def test_only_the_module_is_exported() -> None:
    """No symbol of the core is visible to other libraries in the process."""
    nm = shutil.which("nm")
    if nm is None or module_path().suffix != ".so":
        pytest.skip("needs nm and an ELF or Mach-O module")
    out = subprocess.run(
        [nm, "-D", "--defined-only", module_path()],
        capture_output=True,
        text=True,
        check=True,
    )
    names = [line.split()[-1].lstrip("_") for line in out.stdout.splitlines()]
    assert set(names) <= {"PyInit__core", "cffi_pypyinit__core", "init", "fini"}


def test_quantizers_hold_no_fused_multiply_add() -> None:
    """The compiler fused nothing: a*b + c is two roundings on every machine.

    The forward pass (csrc/ops) may fuse; the module keeps its functions' names.
    """
    objdump = shutil.which("objdump")
    if objdump is None or module_path().suffix != ".so":
        pytest.skip("needs objdump and an ELF or Mach-O module")
    out = subprocess.run(
        [objdump, "-d", "--no-show-raw-insn", module_path()],
        capture_output=True,
        text=True,
        check=True,
    )
    # A compiler's own copy of a function is called name.isra.0 or the like.
    functions = [
        (re.split(r"[.>]", part)[0].lstrip("_"), part)
        for part in re.split(r"\n[0-9a-f]+ <", out.stdout)[1:]
    ]
    quantizers = set(re.findall(r"\b\w+(?=\()", "".join(map(Path.read_text, KERNELS))))
    kept = {name for name, _ in functions} & quantizers
    assert len(kept) > 20, "the module has lost its symbols"
    assert {n for n, code in functions if re.search(FUSED, code)} & quantizers == set()


def test_ci_runs_the_commands_of_the_readme() -> None:
    """The two that install and run something, word for word but for --quiet."""
    script = ROOT / ".ci" / "run"
    if not script.exists():
        pytest.skip("the script of CI is not beside the tests")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^    (pip install .* && .*)$", readme, re.MULTILINE)
    assert len(commands) == 2
    lines = script.read_text(encoding="utf-8").replace(" --quiet", "").splitlines()
    assert set(commands) <= set(lines)
