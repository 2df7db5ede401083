"""The CUDA library, built for the processor: the same kernels, in main memory.

`host_library` is a fixture with its path; the environment variable
QUANTKIT_CUDA_LIBRARY is for `_device`.  It is compiled once for its sources and kept in
pytest's cache, because that takes ten seconds of a core.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from quantkit._version import __version__
from quantkit.execution.workers import default_threads

from .native_build import CSRC, needs, run

__all__ = ["BUILT", "HEADERS", "build_host_library", "host_library"]

CUDA = CSRC / "cuda"
HEADERS = (
    CSRC / "quantkit_ops.h",
    CUDA / "quantkit_cuda.h",
    CUDA / "quantkit_cuda_ops.h",
    CUDA / "quantkit_cuda_solver.h",
)
BUILT = "QUANTKIT_HOST_LIBRARY"
NEIGHBOURS = CSRC / "formats" / "make_neighbours.py"
COMPILER = "g++"
FLAGS = (
    *("-O1", "-fPIC", "-shared", "-ffp-contract=off", "-fvisibility=hidden"),
    "-march=native",  # fused multiply-adds as instructions
    "-DQKC_MOST_BLOCKS=5",  # so that blocks of operations have several tasks
    "-D__CUDA_ARCH_LIST__=750,800,860,890,900,1000,1200",  # as CMakeLists.txt has it
    *("-DQKC_HOST_BUILD", f'-DQKC_VERSION="{__version__}"'),
)


@pytest.fixture(scope="session")
def host_library(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The path of the library; its headers lie beside it.

    It is the one that the environment variable names, if there is one.
    """
    if BUILT in os.environ:
        return Path(os.environ[BUILT])
    needs("g++", "gcc")
    cache = getattr(request.config, "cache", None)
    parent = tmp_path_factory.mktemp("cuda") if cache is None else cache.mkdir("cuda")
    folder = Path(parent) / _key()
    folder.mkdir(exist_ok=True)
    with _alone(folder):
        path = folder / "libquantkit_cuda.so"
        if not path.exists():
            for other in set(folder.parent.iterdir()) - {folder}:
                shutil.rmtree(other)  # of earlier sources
            build_host_library(path)
    return path


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Among the processes of a test run, which may all need it first."""
    import fcntl  # not on Windows, where there is no library either

    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _sources() -> list[Path]:
    found = [*CUDA.glob("*.cu"), *CUDA.glob("ops/*.cu"), *CUDA.glob("host/*.cpp")]
    return [*sorted(found), CSRC / "formats" / "layouts.c"]


def _key() -> str:
    """A hash of all that the library is made of."""
    made_of = sha256(repr((COMPILER, FLAGS)).encode())
    for path in sorted(CSRC.rglob("*")):
        if path.is_file():
            made_of.update(path.name.encode() + path.read_bytes())
    return made_of.hexdigest()[:16]


def build_host_library(
    path: Path, flags: Sequence[str] = (), kernel_flags: Sequence[str] = ()
) -> None:
    """Compile it, with more flags, and put its headers beside it.

    Args:
        path: the library; it appears when it is complete.
        flags: such as those of sanitizers.
        kernel_flags: more, for files with kernels alone.
    """
    with TemporaryDirectory(dir=path.parent) as folder:
        _build_in(Path(folder), path, flags, kernel_flags)


def _build_in(
    folder: Path, path: Path, flags: Sequence[str], kernel_flags: Sequence[str]
) -> None:
    """Compile in a folder that is for this alone."""
    run([sys.executable, str(NEIGHBOURS), str(folder / "neighbours.cuh")])
    objects = [str(folder / f"{source.stem}.o") for source in _sources()]
    commands = [
        [
            *(*_compiler(source, folder), *flags),
            *(kernel_flags if source.suffix == ".cu" else ()),
            *("-c", str(source), "-o", made),
        ]
        for source, made in zip(_sources(), objects, strict=True)
    ]
    with ThreadPoolExecutor(default_threads()) as pool:
        list(pool.map(run, commands))
    for header in HEADERS:
        shutil.copy(header, path.parent)
    made = folder / path.name
    run([COMPILER, *FLAGS, *flags, *objects, "-lm", "-o", str(made)])
    made.rename(path)


def _compiler(source: Path, folder: Path) -> list[str]:
    if source.suffix == ".c":
        return ["gcc", *FLAGS, "-std=c11"]
    includes = [f"-I{CUDA}", f"-I{folder}"]
    return [COMPILER, *FLAGS, "-std=c++17", *includes, "-x", "c++"]
