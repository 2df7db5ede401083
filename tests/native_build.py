"""The C core without Python, for machines and compilers that Python does not run on.

`build` compiles csrc with tests/cross/run_rows.c; the `Build` that it gives quantizes,
dequantizes and runs lane ops in another process, under an emulator if need be.
"""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from quantkit._native import Precision, needs_importance
from quantkit.arrays.rows import dequantize_rows, quantize_rows
from quantkit.execution.workers import default_threads
from quantkit.types import QuantType

from .conftest import NATIVE_TYPES, bits
from .strategies import ROW_KINDS, adversarial_rows
from .test_golden import TASKS, committed_hashes, hash_of
from .test_parity import IMPORTANCE

__all__ = [
    "ROOT",
    "WARNINGS",
    "Build",
    "all_wrong",
    "build",
    "compile_driver",
    "generated",
    "load",
    "needs",
    "run",
    "wrong_golden",
    "wrong_rows",
]

ROOT = Path(__file__).parents[1]
CSRC = ROOT / "csrc"
DRIVER = ROOT / "tests" / "cross" / "run_rows.c"
# As CMakeLists.txt has it.
WARNINGS = ["-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wstrict-prototypes"]
FLAGS = ["-std=c11", "-ffp-contract=off", "-fno-math-errno", f"-I{CSRC}"]
MACHINES = {"x86_64": ["-DQK_X86"], "aarch64": ["-DQK_NEON"]}
"""What a processor adds to the flags of the whole build."""
NOT_RUN = ["-O0", "-fno-sanitize=all"]
"""For files that are linked but not run, in place of what costs a compiler time."""
OUT = "OUT"
"""Stands for the file that the driver writes, among its arguments."""


def units(machine: str) -> dict[Path, list[str]]:
    """The files of a machine's instruction sets and their flags, from units.txt."""
    lines = (CSRC / "backends" / "units.txt").read_text().splitlines()
    rows = [re.split(r" *\| *", line) for line in lines if re.match("[a-z]", line)]
    return {
        CSRC / "backends" / f"{name}.c": flags.split()
        for of, name, flags, _ in rows
        if of in ("any", machine)
    }


@dataclass(frozen=True)
class Build:
    """A compiled driver.

    Attributes:
        command: the emulator, if any, and the driver.
        lanes: of each backend that can run, by name.
        ops: the variant of its forward pass, by name.
        folder: where arrays are handed over.
    """

    command: tuple[str, ...]
    lanes: dict[str, int]
    ops: dict[str, str]
    folder: Path

    def _run(self, kind: type[np.generic], *arguments: object) -> np.ndarray:
        """What the driver writes, numbers of this kind.

        Arrays among the arguments are handed over in files.  Every call has files of
        its own, so that calls may run at once.
        """
        with TemporaryDirectory(dir=self.folder) as name:

            def word(i: int, argument: object) -> str:
                if not isinstance(argument, np.ndarray):
                    return str(Path(name, OUT) if argument is OUT else argument)
                path = Path(name, str(i))
                argument.tofile(path)
                return str(path)

            run([*self.command, *(word(i, each) for i, each in enumerate(arguments))])
            return np.fromfile(Path(name, OUT), kind)

    def quantize(
        self,
        backend: str,
        x: np.ndarray,
        type: QuantType,
        importance: np.ndarray | None,
    ) -> np.ndarray:
        """X f32 [rows, cols] -> uint8 [rows, row bytes]."""
        extra = [] if importance is None else [importance]
        task = (backend, "quantize", type.id, *x.shape, x, OUT, *extra)
        return self._run(np.uint8, *task).reshape(len(x), -1)

    def dequantize(
        self, backend: str, data: np.ndarray, type: QuantType, n_cols: int
    ) -> np.ndarray:
        """Data uint8 [rows, row bytes] -> f32 [rows, cols]."""
        task = (backend, "dequantize", type.id, len(data), n_cols, data, OUT)
        return self._run(np.float32, *task).reshape(len(data), n_cols)

    def matmul(
        self,
        backend: str,
        x: np.ndarray,
        data: np.ndarray,
        type: QuantType,
        precision: Precision,
    ) -> np.ndarray:
        """X f32 [m, k] times the transpose of data [n, row bytes]: f32 [m, n]."""
        shape = (len(x), len(data), x.shape[1])
        task = (backend, "matmul", type.id, int(precision), *shape, x, data, OUT)
        return self._run(np.float32, *task).reshape(len(x), len(data))

    def layer(
        self, backend: str, task: str, x: np.ndarray, *arguments: object
    ) -> np.ndarray:
        """A task of the driver that makes f32 of x f32; its shape is the caller's."""
        return self._run(np.float32, backend, task, *arguments, x, OUT)

    def solve(
        self,
        backend: str,
        type: QuantType,
        r: np.ndarray,
        x: np.ndarray,
        *orders: np.ndarray,
    ) -> np.ndarray:
        """Calibrated rows and their errors: uint8, the errors as f64 at the end.

        Args:
            backend: the name of the backend.
            type: the type of the rows.
            r: f64 [cols, cols], the factor of H.
            x: f32 [rows, cols].
            orders: the orders of units and groups of a plan.
        """
        joined = b"".join(each.tobytes() for each in (r, x, *orders))
        given = np.frombuffer(joined, np.uint8)
        return self._run(np.uint8, backend, "solve", type.id, *x.shape, given, OUT)

    def op(self, backend: str, op: str, *inputs: np.ndarray) -> np.ndarray:
        """One op; up to three inputs int32 [calls, lanes * lanes] -> the same shape."""
        calls, size = inputs[0].shape
        missing = [np.zeros_like(inputs[0])] * (3 - len(inputs))
        given = np.stack([*inputs, *missing], axis=1)
        made = self._run(np.int32, backend, "op", op, calls, given, OUT)
        return made.reshape(calls, size)


def needs(*tools: str) -> None:
    """Skip the test where a tool is not on the path."""
    for tool in tools:
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not on the path")
    if not DRIVER.exists() or not CSRC.exists():
        pytest.skip("the C sources are not beside the tests")


def build(
    folder: Path,
    compiler: str,
    flags: Sequence[str],
    machine: str | None = None,
    emulator: str | None = None,
    *,
    forward: bool = True,
) -> Build:
    """Compile the core and the driver for a machine, by default this one.

    Without `forward`, the files of the forward pass are there to be linked only: no
    task of theirs may be run.
    """
    driver = compile_driver(folder, compiler, flags, machine, forward=forward)
    return load(folder, *([emulator] if emulator else []), driver)


def compile_driver(
    folder: Path,
    compiler: str,
    flags: Sequence[str],
    machine: str | None = None,
    driver: Path = DRIVER,
    *,
    forward: bool = True,
) -> str:
    """The path of a driver, compiled and linked; nothing is run."""
    machine = machine or platform.machine().lower()
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(machine, machine)
    common = [compiler, *FLAGS, *flags, *MACHINES.get(machine, [])]
    shared = [*CSRC.glob("*.c"), *CSRC.glob("formats/*.c")]
    sources = [driver, *sorted(shared), generated(folder.parent)]
    own_flags: dict[Path, list[str]] = {path: [] for path in sources} | units(machine)
    objects = [str(folder / f"{source.stem}.o") for source in own_flags]
    idle = (
        [] if forward else [path for path in own_flags if path.name.startswith("ops_")]
    )
    commands = [
        [*common, *own, *NOT_RUN * (source in idle), "-c", str(source), "-o", made]
        for (source, own), made in zip(own_flags.items(), objects, strict=True)
    ]
    with ThreadPoolExecutor(default_threads()) as pool:
        list(pool.map(run, commands))
    program = str(folder / driver.stem)
    run([compiler, *flags, *objects, "-lm", "-o", program])
    return program


def generated(folder: Path) -> Path:
    """The source that the build makes, made once for all builds of a test run."""
    target = folder / "neighbours.c"
    if not target.exists():
        run([sys.executable, str(CSRC / "formats" / "make_neighbours.py"), str(target)])
    return target


def load(folder: Path, *command: str) -> Build:
    """A compiled driver, after its emulator if any, asked what is in it."""
    lines = [line.split() for line in run([*command, "list"]).splitlines()]
    return Build(
        command=command,
        lanes={name: int(lanes) for name, lanes, ops in lines if ops != "none"},
        ops={name: ops for name, _, ops in lines if ops != "none"},
        folder=folder,
    )


def run(command: Sequence[str], cwd: Path | None = None) -> str:
    """The output of a command; warnings fail the test."""
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


def wrong_golden(build: Build, backend: str, type: QuantType) -> list[str]:
    """The tasks of tests/golden that give another hash."""
    known: dict[bool, np.ndarray] = {}

    def quantize(
        x: np.ndarray, type: QuantType, importance: np.ndarray | None
    ) -> np.ndarray:
        """Once for each input, since emulation is slow."""
        key = importance is None
        if key not in known:
            known[key] = build.quantize(backend, x, type, importance)
        return known[key]

    committed = committed_hashes()
    dequantize = partial(build.dequantize, backend)
    return [
        task
        for t, task in TASKS
        if t == type
        and committed.get((t.name, task)) != hash_of(t, task, quantize, dequantize)
    ]


def wrong_rows(build: Build, backend: str, type: QuantType) -> list[str]:
    """The kinds of adversarial rows whose bytes or weights differ from this machine's.

    Large importances make sums infinite, and scales NaN.
    """
    x = adversarial_rows(2 * len(ROW_KINDS), 512, seed=7)
    wrong = np.zeros(len(x), bool)
    for importance in (None, IMPORTANCE, IMPORTANCE * np.float32(1e30)):
        if importance is None and needs_importance(type):
            continue
        data = quantize_rows(x, type, importance)
        wrong |= (build.quantize(backend, x, type, importance) != data).any(axis=1)
    weights = build.dequantize(backend, data, type, x.shape[1])
    expected = dequantize_rows(data, type, x.shape[1])
    wrong |= (bits(weights) != bits(expected)).any(axis=1)
    kinds = list(ROW_KINDS)
    return sorted({kinds[i % len(kinds)] for i in np.flatnonzero(wrong)})


def all_wrong(
    built: Build, wrong: Callable[[Build, str, QuantType], list[str]]
) -> dict[str, list[str]]:
    """By type and backend, what `wrong_golden` or `wrong_rows` finds, if anything."""
    asked = [(type, backend) for backend in built.lanes for type in NATIVE_TYPES]
    with ThreadPoolExecutor(default_threads()) as pool:
        found = pool.map(lambda each: wrong(built, each[1], each[0]), asked)
        named = zip(asked, found, strict=True)
        return {f"{type.name} {name}": those for (type, name), those in named if those}
