"""Every compiler and level gives the same bytes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from .native_build import (
    ROOT,
    WARNINGS,
    all_wrong,
    build,
    compile_driver,
    generated,
    load,
    needs,
    run,
    wrong_golden,
)

# The line in CONTRIBUTING.md.
ONE_LINE = (
    "cc -std=c11 -O2 -ffp-contract=off -Icsrc -o run_rows tests/cross/run_rows.c "
    "csrc/*.c csrc/formats/*.c csrc/backends/*_scalar.c neighbours.c -lm"
)
BUILDS = [  # -O1: tests/test_sanitizers.py; gcc's -O3 is also that of the package
    pytest.param("gcc", "-O2", marks=pytest.mark.exhaustive),
    pytest.param("gcc", "-O3", marks=pytest.mark.exhaustive),
    pytest.param("clang", "-O2", marks=pytest.mark.exhaustive),
    ("clang", "-O3"),
]
WINDOWS_FLAG = "-Wa,-muse-unaligned-vector-move"


@pytest.mark.slow
def test_one_line_builds_the_core(tmp_path: Path) -> None:
    """No build system: the documented line, and the same bytes."""
    needs("cc")
    assert ONE_LINE in (ROOT / "CONTRIBUTING.md").read_text()
    shutil.copytree(ROOT / "csrc", tmp_path / "csrc")
    shutil.copytree(ROOT / "tests" / "cross", tmp_path / "tests" / "cross")
    shutil.copy(generated(tmp_path.parent), tmp_path)
    run(["sh", "-c", ONE_LINE], cwd=tmp_path)
    built = load(tmp_path, str(tmp_path / "run_rows"))
    assert list(built.lanes) == ["scalar"]
    assert all_wrong(built, wrong_golden) == {}


@pytest.mark.slow
@pytest.mark.parametrize(("compiler", "level"), BUILDS)
def test_compilers_give_the_committed_hashes(
    tmp_path: Path, compiler: str, level: str
) -> None:
    """Every backend of this machine, every type."""
    needs(compiler)
    built = build(tmp_path, compiler, [level], forward=False)
    assert all_wrong(built, wrong_golden) == {}


@pytest.mark.slow
def test_windows_compiler_builds_the_core(tmp_path: Path) -> None:
    """Every source without a warning, and a program of them; nothing is run.

    Debian's gcc-mingw-w64-x86-64.
    """
    compiler = "x86_64-w64-mingw32-gcc"
    needs(compiler)
    flags = ["-O1", *WARNINGS, "-Werror", WINDOWS_FLAG]
    assert WINDOWS_FLAG in (ROOT / "CMakeLists.txt").read_text()
    driver = Path(compile_driver(tmp_path, compiler, flags, "x86_64") + ".exe")
    assert driver.read_bytes().startswith(b"MZ")
