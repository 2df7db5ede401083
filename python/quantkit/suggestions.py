"""Suggest what a user may have meant by an unknown name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

__all__ = ["suggest"]

BITS = re.compile(r"(?:Q|INT|UINT|I|W|U|F|FP|FLOAT)?(\d+)(?:[-_ ]?BITS?)?")
"""How types are called elsewhere: a number of bits, perhaps with a kind of number."""

USUAL = {
    "1": ("IQ1_S", "IQ1_M"),
    "2": ("Q2_K", "IQ2_M"),
    "3": ("Q3_K_M", "Q3_K"),
    "4": ("Q4_K_M", "Q4_K", "Q4_0"),
    "5": ("Q5_K_M", "Q5_K", "Q5_0"),
    "6": ("Q6_K",),
    "8": ("Q8_0",),
    "16": ("F16", "BF16"),
    "32": ("F32",),
}
"""The usual types by bits per weight, both recipes and types of single tensors."""

OTHERS = {
    **dict.fromkeys(("NF4", "GPTQ", "AWQ", "BNB"), USUAL["4"]),
    **dict.fromkeys(("FP16", "FLOAT16", "HALF"), ("F16",)),
    **dict.fromkeys(("BFLOAT16", "BF"), ("BF16",)),
    **dict.fromkeys(("FLOAT", "SINGLE"), ("F32",)),
    "FP4": ("MXFP4_MOE", "MXFP4"),
}
"""Names of numbers and methods of other programs."""


def suggest(name: str, known: Iterable[str]) -> str:
    """The end of an error message: the known names nearest to `name`, or all names."""
    names = {each.upper(): each for each in known}
    wanted = name.strip().upper()
    usual = [names[each] for each in _usual(wanted) if each in names]
    longer = [names[each] for each in names if each.startswith(f"{wanted}_")]
    close = difflib.get_close_matches(wanted, names, n=1, cutoff=0.5)
    near = usual or longer or [names[each] for each in close]
    if near:
        return f"; did you mean {' or '.join(near)}?"
    return f"; known: {', '.join(names.values())}"


def _usual(wanted: str) -> tuple[str, ...]:
    """The usual types of so many bits."""
    if wanted in OTHERS:
        return OTHERS[wanted]
    bits = BITS.fullmatch(wanted)
    return USUAL.get(bits[1], ()) if bits else ()
