"""The forward pass calls functions that CuPy has, and makes arrays beside others."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import quantkit.forward

from .strict_arrays import FUNCTIONS, UFUNCS

FOLDER = Path(quantkit.forward.__file__).parent

ON_HOST = {
    "attended.probabilities",
    "attention.alibi_slopes",
    "encoder._first_type",
    "lightning.load_lightning_attention",
    "ngram_embedding._numbers",
    "ngram_embedding.ngram_layer",
    "relative_attention.buckets",
    "rotary._computed",
    "rotary._frequencies",
    "rotary._yarn_share",
    "temperature._computed",
}
"""Functions that compute on the host: before a pass, for a `Table`, or to watch one."""

MADE_BESIDE = {"arange", "array", "asarray", "ascontiguousarray", "tri"}
"""Functions that make NumPy's arrays unless `like` tells where."""


def calls(tree: ast.AST, within: str = "") -> Iterator[tuple[str, str, ast.Call]]:
    """Calls of NumPy's functions: the function around each, its name, and the call."""
    for node in ast.iter_child_nodes(tree):
        inside = node.name if isinstance(node, ast.FunctionDef) else within
        match node:
            case ast.Call(ast.Attribute(ast.Name("np"), name)):
                yield within, getattr(getattr(np, name), "__name__", name), node
        yield from calls(node, inside)


def test_functions_and_where_arrays_are_made() -> None:
    """All calls that a pass makes; constructors of numbers and dtypes aside."""
    wrong, used = [], set()
    for path in sorted(FOLDER.glob("*.py")):
        for function, name, call in calls(ast.parse(path.read_text())):
            place = f"{path.stem}.{function}"
            if place in ON_HOST:
                used.add(place)
            elif isinstance(getattr(np, name, None), type):
                continue
            elif name not in FUNCTIONS.keys() | UFUNCS:
                wrong.append(f"{place}: CuPy may lack np.{name}")
            elif name in MADE_BESIDE and "like" not in {k.arg for k in call.keywords}:
                wrong.append(f"{place}: np.{name} makes an array of the host")
    assert wrong == []
    assert used == ON_HOST
