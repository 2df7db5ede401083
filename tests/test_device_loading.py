"""Finding the CUDA library: what is missing is named, and what to do about it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from quantkit import _device
from quantkit._device import loading
from quantkit._version import __version__
from quantkit.cells import Cells
from quantkit.cli.backend_tables import backends_dict, backends_tables
from quantkit.errors import BackendError, OptionError

from .host_library import HEADERS

CSRC = Path(__file__).parents[1] / "csrc"
HEADER = CSRC / "cuda" / "quantkit_cuda.h"

SOURCE = r"""
#include <string.h>
#include "quantkit_cuda.h"
#include "quantkit_cuda_ops.h"
#include "quantkit_cuda_solver.h"
int qkc_api_version(void) { return API; }
const char *qkc_version(void) { return VERSION; }
const char *qkc_error_name(int status) { return status ? "cudaErrorX" : "QKC_OK"; }
const char *qkc_error_text(int status) { return status ? "as the test has it" : ""; }
int qkc_device_count(int *count) { *count = COUNT; return COUNT_STATUS; }
int qkc_describe_device(int device, qkc_device *what)
{
    memset(what, 0, sizeof *what);
    strcpy(what->name, "A card\x1b[2J");
    what->major = 5;
    what->multiprocessors = device + 1;
    what->has_kernels = device != 0;
    what->total_bytes = (size_t)1 << 33;
    return 0;
}
"""
"""A library of a machine with `COUNT` devices, of which the first is too old."""


def made_library(folder: Path, **defined: object) -> Path:
    """Compile it, with its headers beside it."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not HEADER.exists():
        pytest.skip("needs a C compiler, and the C sources beside the tests")
    values = {"API": loading.API_VERSION, "COUNT": 2, "COUNT_STATUS": 0} | defined
    version = f'-DVERSION="{values.pop("version", __version__)}"'
    path = folder / "lib.so"
    for header in HEADERS:
        shutil.copy(header, folder)
    command = [compiler, "-shared", "-fPIC", f"-I{HEADER.parent}", "-x", "c", "-"]
    flags = [version, *(f"-D{name}={value}" for name, value in values.items())]
    source = SOURCE + others()
    subprocess.run([*command, *flags, "-o", path], input=source, text=True, check=True)
    return path


DECLARED = re.compile(r"^(\w+ [^;{}#()]*?\b(qkc_\w+)\([^;]*?\));", re.MULTILINE)


def others() -> str:
    """The other functions of the headers, which do nothing."""
    declared = DECLARED.findall("".join(header.read_text() for header in HEADERS))
    heads = [head for head, name in declared if not re.search(rf"\b{name}\(", SOURCE)]
    return "".join(f"{head} {{ return 0; }}\n" for head in heads)


@pytest.fixture(autouse=True)
def no_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An installation without the library, wherever the tests run."""
    monkeypatch.delenv(_device.LIBRARY_VARIABLE, raising=False)
    monkeypatch.setattr(loading, "FOLDER", tmp_path)
    monkeypatch.setattr(loading, "_loaded", cache(loading._loaded.__wrapped__))


def use(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    monkeypatch.setenv(_device.LIBRARY_VARIABLE, str(path))


def test_work_of_the_processor_loads_nothing_for_devices() -> None:
    """Neither cffi nor CuPy."""
    code = """
import sys, quantkit
quantkit.quantize([[0.0] * 32], "Q4_0")
print(*{"cffi", "cupy", "torch"}.intersection(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "\n"), done.stderr


def test_an_installation_without_it_says_how_to_build_it() -> None:
    """And `devices` finds none."""
    with pytest.raises(BackendError, match=r"without its CUDA library .*CUDA=ON"):
        _device.library()
    assert _device.devices() == ()
    support = _device.cuda_support()
    assert support.version is None
    assert "without its CUDA library" in str(support.problem)


def test_the_variable_must_name_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Neither a folder nor nothing."""
    for path in (tmp_path, tmp_path / "none.so"):
        use(monkeypatch, path)
        with pytest.raises(BackendError, match=r"QUANTKIT_CUDA_LIBRARY is '.*no file"):
            _device.library()


def test_a_file_that_is_no_library(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A text, and a library of something else."""
    (tmp_path / "text.so").write_text("no library")
    for path in (tmp_path / "text.so", Path(loading.__file__)):
        use(monkeypatch, path)
        with pytest.raises(BackendError, match=r"cannot be loaded as quantkit's CUDA"):
            _device.library()


def test_the_header_is_that_of_this_package() -> None:
    """Whoever changes it looks at what calls its functions."""
    if not HEADER.exists():
        pytest.skip("the C sources are not beside the tests")
    assert f"#define QKC_API_VERSION {loading.API_VERSION}\n" in HEADER.read_text()


@pytest.mark.parametrize("other", [{"API": 77}, {"version": "0.0.1"}])
def test_a_library_of_another_version(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, other: dict[str, object]
) -> None:
    """Of the header, or of quantkit: both are named."""
    use(monkeypatch, made_library(tmp_path, **other))
    with pytest.raises(BackendError, match=f"expected {__version__} .API 1.: install"):
        _device.library()


def test_the_header_must_lie_beside_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With its marks."""
    path = made_library(tmp_path)
    use(monkeypatch, path)
    header = tmp_path / HEADER.name
    marks = "/* cdef begin */ {} /* cdef end */"
    damages: list[Callable[[], object]] = [
        lambda: header.write_text("int f(void);"),
        lambda: header.write_text(marks.format("int f(")),
        lambda: header.write_bytes(b"\xff"),
        header.unlink,
    ]
    for damage in damages:
        damage()
        with pytest.raises(BackendError, match=r"is not a header of quantkit's"):
            _device.library()


def test_a_function_that_is_not_there_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As where the header is of a newer build than the library."""
    use(monkeypatch, made_library(tmp_path))
    header = tmp_path / HEADER.name
    more = "/* cdef begin */\nint qkc_new(void);"
    header.write_text(header.read_text().replace("/* cdef begin */", more))
    with pytest.raises(BackendError, match="has no qkc_new, which its header declares"):
        _device.library()


@pytest.mark.parametrize(
    ("status", "advice"),
    [(35, "; install .*a newer one"), (100, "; `nvidia-smi`"), (999, "$")],
)
def test_a_machine_without_a_driver(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, status: int, advice: str
) -> None:
    """The call, CUDA's words, and what to do where that is known."""
    use(monkeypatch, made_library(tmp_path, COUNT=0, COUNT_STATUS=status))
    message = f"qkc_device_count.*cudaErrorX: as the test has it{advice}"
    with pytest.raises(BackendError, match=message):
        _device.usable_device(0)
    assert _device.cuda_support().version == __version__


def test_a_machine_without_a_device(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With a driver, and no error."""
    use(monkeypatch, made_library(tmp_path, COUNT=0))
    with pytest.raises(BackendError, match="has no CUDA device; `nvidia-smi`"):
        _device.usable_device(0)


def test_devices_are_described(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One that is too old cannot be used; one that is not there is named."""
    use(monkeypatch, made_library(tmp_path))
    old, other = _device.devices()
    assert (old.name, old.usable, old.capability) == ("cuda:0", False, "5.0")
    assert (other.name, other.usable, other.memory) == ("cuda:1", True, 1 << 33)
    assert old.model == "A card\\x1b[2J"
    assert _device.cuda_support().problem is None
    assert _device.usable_device(1) == other
    with pytest.raises(BackendError, match=r"no code for cuda:0 .A card.*, 5.0."):
        _device.usable_device(0)
    with pytest.raises(BackendError, match=r"no cuda:2; this .* cuda:0, cuda:1"):
        _device.usable_device(2)


def test_the_command_shows_devices_or_why_there_are_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Below the backends of the processor, and in JSON."""
    assert "CUDA: no; quantkit is installed without" in str(backends_tables()[-1])
    use(monkeypatch, made_library(tmp_path))
    devices, library = backends_tables()[1:]
    assert isinstance(devices, Cells)
    assert devices.rows[1] == ("cuda:1", "A card\\x1b[2J", "5.0", "8.59 GB", "usable")
    assert devices.rows[0][-1] == "not in the CUDA library"
    assert str(tmp_path / "lib.so") in str(library)
    shown = backends_dict()["cuda"]
    assert (shown["version"], shown["problem"]) == (__version__, None)
    assert [each["name"] for each in shown["devices"]] == ["cuda:0", "cuda:1"]


@pytest.mark.parametrize(
    ("name", "number"), [("cpu", None), (" CUDA ", 0), ("cuda:0", 0), ("cuda:12", 12)]
)
def test_names_of_devices(name: str, number: int | None) -> None:
    """In any case."""
    assert _device.parse_device(name) == number
    if number is not None:
        assert _device.parse_device(_device.device_name(number)) == number


@pytest.mark.parametrize("wrong", ["", "gpu", "cuda:", "cuda:-1", "cuda:x", 0, None])
def test_wrong_names_of_devices(wrong: object) -> None:
    """What was given, and what is expected."""
    with pytest.raises(OptionError, match=r'`device` is .*; expected "cpu", "cuda"'):
        _device.parse_device(wrong)
