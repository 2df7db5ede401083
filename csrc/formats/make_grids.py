"""Writes grids.h: the codebooks of the IQ1, IQ2 and IQ3 types.

    python csrc/formats/make_grids.py   # needs the gguf package; commit the result

The codebooks are part of the formats.  They are taken from the `gguf` package of the
llama.cpp project (MIT), classes `gguf.quants.IQ2_XXS` and its like: `grid` holds the
values of each entry, `ksigns` the eight signs that seven bits stand for.
"""

from __future__ import annotations

from pathlib import Path

import gguf.quants
import numpy as np

TARGET = Path(__file__).with_name("grids.h")
TYPES = ("IQ1_S", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S")

HEAD = """\
/* SPDX-License-Identifier: MIT */
/* The codebooks of the IQ1, IQ2 and IQ3 types: each entry's values, unscaled.
 * Written by make_grids.py from the gguf package (llama.cpp, MIT); do not edit. */
/* clang-format off */
#ifndef QK_GRIDS_H
#define QK_GRIDS_H

#include <stdint.h>

"""


def table(name: str, ctype: str, rows: np.ndarray, comment: str) -> str:
    """One C array [entries][values] or [entries], many numbers a line."""
    lines = []
    line = ""
    for row in rows:
        text = ",".join(str(int(v)) for v in np.atleast_1d(row))
        text = f"{{{text}}}," if rows.ndim == 2 else f"{text},"
        if len(line) + len(text) > 100:
            lines.append(line)
            line = ""
        line += text
    lines.append(line)
    size = "".join(f"[{n}]" for n in rows.shape)
    body = "\n".join(lines)
    return f"/* {comment} */\nQK_TABLE {ctype} {name}{size} = {{\n{body}\n}};\n\n"


def grids() -> str:
    """The whole header."""
    parts = [HEAD]
    for name in TYPES:
        kind = getattr(gguf.quants, name)
        kind.init_grid()
        rows = kind.grid.reshape(kind.grid_shape).astype(int)
        ctype = "int8_t" if rows.min() < 0 else "uint8_t"
        also = ", also IQ1_M" if name == "IQ1_S" else ""
        parts.append(table(f"{name.lower()}_grid", ctype, rows, f"{name}{also}"))
    signs = np.frombuffer(gguf.quants.IQ2_XXS.ksigns, np.uint8)
    comment = (
        "Seven signs and an eighth that makes the number of ones even, lowest first"
    )
    parts.append(table("even_signs", "uint8_t", signs, comment))
    bits = np.arange(256)[:, None] >> np.arange(8) & 1
    comment = "Each bit of a byte in a byte of its own, as the highest bit"
    parts.append(table("spread_signs", "uint8_t", bits << 7, comment))
    return "".join(parts) + "#endif\n"


if __name__ == "__main__":
    TARGET.write_text(grids(), encoding="utf8")
