"""The tasks of everyone who works on quantkit: `nox --list` shows them.

Sessions run in the active environment, so they start at once; `nox -s dev` installs
there what they need.  Only `warnings`, which installs another build, has its own.
"""

from __future__ import annotations

import shutil

import nox

nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "tests"]

BUILD_TOOLS = ("cmake>=3.20", "ninja>=1.11")
"""What pip adds to an isolated build by itself where the system has none."""
PARALLEL = ("-n", "auto")
BYTES = ("tests/test_parity.py", "tests/test_source_rules.py")
USABLE = "import quantkit; print(*(b.name for b in quantkit.backends() if b.usable))"
LOADS = """
import ctypes, sys
library = ctypes.CDLL(sys.argv[1])
library.qkc_error_name.restype = ctypes.c_char_p
status = library.qkc_device_count(ctypes.byref(ctypes.c_int()))
print("loaded; devices:", library.qkc_error_name(status).decode())
"""
CUDA_FILES = ("csrc/*.cu", "csrc/*.cuh", "csrc/*.cpp", "tests/cuda/*.cu")
C_FILES = ("csrc/*.[ch]", "tests/cross/*.c", "tests/fuzz/core/*.[ch]", *CUDA_FILES)


def tracked(session: nox.Session, *patterns: str) -> list[str]:
    """The files in Git that match."""
    return str(session.run("git", "ls-files", *patterns, silent=True)).split()


@nox.session
def dev(session: nox.Session) -> None:
    """Install for editing, and all tools; again after a change in csrc/."""
    requires = nox.project.load_toml("pyproject.toml")["build-system"]["requires"]
    pip = ("python", "-m", "pip", "install", "--quiet")
    session.run(*pip, *requires, *BUILD_TOOLS)
    session.run(*pip, "--no-build-isolation", "--editable", ".[test,dev,docs]")


@nox.session
def tests(session: nox.Session) -> None:
    """The default tests on all cores, or what follows `--`: a file, options."""
    session.run("pytest", *(session.posargs or PARALLEL))


@nox.session
def lint(session: nox.Session) -> None:
    """Style and types of Python, style of C, the schema of workflows."""
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    session.run("clang-format", "--dry-run", "--Werror", *tracked(session, *C_FILES))
    schema = ("--builtin-schema", "vendor.github-workflows")
    session.run("check-jsonschema", *schema, *tracked(session, ".github/workflows"))


@nox.session
def slow(session: nox.Session) -> None:
    """The slow tests but exhaustive ones: compilers, sanitizers, other machines."""
    session.run(
        *("pytest", *PARALLEL, "-m", "slow and not exhaustive", "--durations=15"),
        "--ignore=tests/fuzz",
    )


@nox.session
def gpu(session: nox.Session) -> None:
    """On a CUDA device, in a build with `-C cmake.define.QUANTKIT_CUDA=ON`."""
    session.run("pytest", "-m", "gpu", "--durations=10", *session.posargs)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Each fuzzer for a minute; those of the readers need atheris."""
    session.run("pytest", *PARALLEL, "-m", "slow", "tests/fuzz")


@nox.session(venv_backend="venv", reuse_venv=True)
def warnings(session: nox.Session) -> None:
    """No compiler warning, and the tests of bytes with that build."""
    strict = ("build-dir=build/strict", "cmake.define.QUANTKIT_STRICT=ON")
    options = (f"--config-settings={option}" for option in strict)
    session.install(*options, ".[test]")
    session.run("pytest", "-q", *BYTES)


@nox.session
def backends(session: nox.Session) -> None:
    """The golden hashes with every backend that this machine has, forced."""
    usable = session.run("python", "-c", USABLE, silent=True)
    for backend in str(usable).split():
        environment = {"QUANTKIT_BACKEND": backend}
        session.run("pytest", "-q", "tests/test_golden.py", env=environment)


@nox.session
def cuda(session: nox.Session) -> None:
    """The CUDA library as PTX of one architecture; it loads without a driver.

    Left out are the other architectures, optimization and ptxas, which take minutes,
    and the tables of neighbours.
    """
    if shutil.which("nvcc") is None:
        session.warn("nvcc is missing: the CUDA library is not compiled")
        return
    if shutil.which("cmake") is None:
        session.run("python", "-m", "pip", "install", "--quiet", *BUILD_TOOLS)
    options = (
        *("-DCMAKE_CUDA_ARCHITECTURES=75-virtual", "-DCMAKE_CUDA_FLAGS=-Xcicc -O0"),
        "-DQUANTKIT_CUDA_WITHOUT_TABLES=ON",
    )
    folder = "build/cuda"
    session.run("cmake", "-S", "csrc/cuda", "-B", folder, *options, external=True)
    session.run("cmake", "--build", folder, "--parallel", external=True)
    session.run("python", "-c", LOADS, f"{folder}/libquantkit_cuda.so")


@nox.session
def docs(session: nox.Session) -> None:
    """The site of the documentation, into build/site, and the examples."""
    session.run("pytest", "-m", "docs")


@nox.session
def check(session: nox.Session) -> None:
    """All that must hold before a change lands: .ci/run, in a fresh environment."""
    session.run("bash", ".ci/run", external=True)
