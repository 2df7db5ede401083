"""The stub of the native module, which mypy believes, says what the module has."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

import quantkit
from quantkit._core import ffi, lib

STUB = Path(quantkit.__file__).with_name("_core.pyi")
CLASSES = {
    node.name: node.body
    for node in ast.parse(STUB.read_text(encoding="utf-8")).body
    if isinstance(node, ast.ClassDef)
}
CONSTANTS = {
    node.target.id: ast.unparse(node.annotation)
    for node in CLASSES["_Lib"]
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
}
FUNCTIONS = {
    node.name: node for node in CLASSES["_Lib"] if isinstance(node, ast.FunctionDef)
}


def python_type(ctype: Any) -> str:
    """What cffi takes and gives for a C type; the stub has Any for pointers."""
    if ctype.kind == "pointer":
        return "Any"
    if ctype.kind == "void":
        return "None"
    return "float" if ctype.cname in {"float", "double"} else "int"


def test_the_stub_has_every_name() -> None:
    """Functions and constants, and nothing more."""
    functions = {name for name in dir(lib) if callable(getattr(lib, name))}
    assert set(FUNCTIONS) == functions
    assert set(CONSTANTS) == set(dir(lib)) - functions
    assert set(CONSTANTS.values()) == {"int"}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_functions_types_are_those_of_c(name: str) -> None:
    """By position: as many parameters, each of the Python type of its C type."""
    function = ffi.typeof(getattr(lib, name))
    declared = FUNCTIONS[name]
    parameters = [*declared.args.posonlyargs, *declared.args.args][1:]
    types = [p.annotation and ast.unparse(p.annotation) for p in parameters]
    assert types == list(map(python_type, function.args))
    assert declared.returns
    assert ast.unparse(declared.returns) == python_type(function.result)


def test_what_the_stub_has_of_ffi_exists() -> None:
    """It lists what quantkit and its tests use, and nothing that cffi lacks."""
    functions = [n.name for n in CLASSES["_FFI"] if isinstance(n, ast.FunctionDef)]
    assert functions
    assert [name for name in functions if not callable(getattr(ffi, name, None))] == []
