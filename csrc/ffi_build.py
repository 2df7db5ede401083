"""Describes the native module to cffi; CMake turns it into C with `cffi-gen-src`.

The declarations are the parts of the headers between their two cdef marks, so the C API
is written once.
"""

from pathlib import Path

from cffi import FFI

HEADERS = ("quantkit_ops.h", "quantkit.h")


def declarations(name: str) -> str:
    """What a header declares."""
    text = Path(__file__).with_name(name).read_text(encoding="utf8")
    return text.split("/* cdef begin */")[1].split("/* cdef end */")[0]


ffibuilder = FFI()
for header in HEADERS:
    ffibuilder.cdef(declarations(header))
ffibuilder.set_source("quantkit._core", '#include "quantkit.h"')
