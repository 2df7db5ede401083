"""What llama.cpp's source says of the tensors that it loads."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["heads_required"]

NAME = re.compile(r'\{ (LLM_ARCH_\w+),\s+"([^"]+)"')
CLASS = re.compile(r"case (LLM_ARCH_\w+):\s+return new (llama_model_\w+)\(")
PARENT = re.compile(r"struct (llama_model_\w+) : public (llama_model_\w+)")
LOADER = re.compile(r"void (llama_model_\w+)::load_arch_tensors.*?\n\}\n", re.DOTALL)
HEAD = re.compile(r'\n *output +=.*LLM_TENSOR_OUTPUT, +"weight"\), *\{.*\}, *(\w+)\)')
REQUIRED = ("0", "trunk_flags")
"""The flags of tensors that a model must have; the other is that of Step 3.5's."""


def heads_required(source: Path) -> dict[str, bool]:
    """Architecture -> whether its loader requires an output head, if it loads any.

    Args:
        source: the root of llama.cpp's source.
    """
    code = source / "src"
    names = dict(NAME.findall((code / "llama-arch.cpp").read_text()))
    classes = CLASS.findall((code / "llama-model.cpp").read_text())
    parents = dict(PARENT.findall((code / "models" / "models.h").read_text()))
    flags = {
        loader[1]: HEAD.findall(loader[0])
        for path in (code / "models").glob("*.cpp")
        for loader in LOADER.finditer(path.read_text())
    }
    found = {}
    for arch, cls in classes:
        while cls not in flags and cls in parents:
            cls = parents[cls]
        if own := flags.get(cls):
            found[names[arch]] = all(flag in REQUIRED for flag in own)
    return found
