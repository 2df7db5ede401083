"""The CUDA library: where it is, and what it declares.

It is a file of its own in this package, because most machines have no use for it.  Its
headers lie beside it: what is between a header's cdef marks is what cffi declares.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from .. import _core
from .._version import __version__
from ..errors import BackendError
from ..visible import visible

__all__ = ["LIBRARY_VARIABLE", "Library", "library", "library_path"]

LIBRARY_VARIABLE = "QUANTKIT_CUDA_LIBRARY"
"""The path of the library, if it is not that in the package."""

API_VERSION = 1
"""Of the header for which this room is written."""

FILE = "quantkit_cuda.dll" if sys.platform == "win32" else "libquantkit_cuda.so"
HEADERS = (
    "quantkit_ops.h",
    "quantkit_cuda.h",
    "quantkit_cuda_ops.h",
    "quantkit_cuda_solver.h",
)
FOLDER = Path(_core.__file__).parent
"""Where what was compiled is installed: the package's, or not, if it is editable."""

VERSIONS = """
int qkc_api_version(void);
const char *qkc_version(void);
"""
"""What a library of any version has."""


@dataclass(frozen=True, eq=False)
class Library:
    """The loaded library.

    Attributes:
        path: its file.
        version: the version of quantkit that it was built with.
        ffi: makes its structs and reads its strings.
        lib: its functions and constants.
    """

    path: Path
    version: str
    ffi: Any
    lib: Any


def library_path() -> Path:
    """The file of the library, whether it is there or not."""
    return _path(os.environ.get(LIBRARY_VARIABLE))


def _path(given: str | None) -> Path:
    return Path(given).absolute() if given else FOLDER / FILE


def library() -> Library:
    """The CUDA library, loaded once.

    Raises:
        BackendError: it is not there, cannot be loaded, or is of another version.
    """
    return _loaded(os.environ.get(LIBRARY_VARIABLE))


@cache
def _loaded(given: str | None) -> Library:
    """The library; an error is not kept, so that its file may appear later."""
    path = _path(given)
    if not path.is_file():
        raise BackendError(_missing(path))
    version = _checked_version(path)
    ffi = _ffi()
    for header in HEADERS:
        _declare(ffi, path.with_name(header))
    lib = ffi.dlopen(str(path))
    for name in dir(lib):
        if not hasattr(lib, name):
            raise BackendError(
                f"the CUDA library '{path}' has no {name}, which its header declares; "
                "install quantkit and it together again"
            )
    return Library(path, version, ffi, lib)


def _missing(path: Path) -> str:
    if os.environ.get(LIBRARY_VARIABLE):
        return f"{LIBRARY_VARIABLE} is '{path}', which is no file"
    return (
        f"quantkit is installed without its CUDA library ({FILE}); in the folder of "
        "its source, `pip install . -C cmake.define.QUANTKIT_CUDA=ON` installs it, and "
        "needs nvcc (docs/cuda.md)"
    )


def _checked_version(path: Path) -> str:
    """The version of the library, which must be this one.

    Raises:
        BackendError: it is another, or the file is another library, or none.
    """
    ffi = _ffi()
    ffi.cdef(VERSIONS)
    try:
        lib = ffi.dlopen(str(path))
        api = int(lib.qkc_api_version())
        version = str(ffi.string(lib.qkc_version()).decode("utf-8", "replace"))
    except (OSError, AttributeError) as error:
        raise BackendError(
            f"'{path}' cannot be loaded as quantkit's CUDA library: "
            f"{visible(str(error))}"
        ) from None
    if (api, version) != (API_VERSION, __version__):
        raise BackendError(
            f"the CUDA library '{path}' is of quantkit {version} (API {api}); expected "
            f"{__version__} (API {API_VERSION}): install quantkit and it together again"
        )
    return version


def _declare(ffi: Any, header: Path) -> None:
    """Tell a cffi what a header declares.

    Raises:
        BackendError: the header is not there, or is something else.
    """
    from cffi import CDefError

    try:
        text = header.read_text(encoding="utf-8")
        ffi.cdef(text.split("/* cdef begin */")[1].split("/* cdef end */")[0])
    except (OSError, UnicodeDecodeError, IndexError, CDefError):
        raise BackendError(
            f"'{header}' is not a header of quantkit's CUDA library, which must lie "
            "beside it; install quantkit again"
        ) from None


def _ffi() -> Any:
    """A new cffi, which is imported only where there is a library to load."""
    from cffi import FFI

    return FFI()
