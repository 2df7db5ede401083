"""Describes the native module to cffi; CMake turns it into C with `cffi-gen-src`.

The declarations are the part of quantkit.h between its two cdef marks, so the C API is
written once.
"""

from pathlib import Path

from cffi import FFI

HEADER = Path(__file__).with_name("quantkit.h").read_text(encoding="utf8")

ffibuilder = FFI()
ffibuilder.cdef(HEADER.split("/* cdef begin */")[1].split("/* cdef end */")[0])
ffibuilder.set_source("quantkit._core", '#include "quantkit.h"')
