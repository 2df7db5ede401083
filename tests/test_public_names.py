"""What public signatures and results mention can be had from `quantkit`."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import sys
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any, get_origin

import numpy as np
import pytest

import quantkit as qk

INTERNAL = {
    "Recipe.mix",  # the rules of quantkit's own recipes
    "SourceTensor.opened_by",  # for sources that processes open
}
"""Public, but not for users."""

OFFERED = {
    name
    for module in pkgutil.walk_packages(qk.__path__, "quantkit.")
    if not module.name.endswith("_core")
    for name in getattr(importlib.import_module(module.name), "__all__", ())
}
"""All names that some module of quantkit offers to others."""


def annotations_of(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """What a public object mentions: where, and the annotation."""
    if inspect.isfunction(value):
        yield from ((name, each) for each in value.__annotations__.values())
    elif inspect.isclass(value):
        if is_dataclass(value):
            own = ((f"{name}.{f.name}", str(f.type)) for f in fields(value))
            yield from (each for each in own if "._" not in each[0])
        for key, member in vars(value).items():
            inner = getattr(member, "fget", None) or getattr(member, "__func__", member)
            if not key.startswith("_") and inspect.isfunction(inner):
                yield from annotations_of(f"{name}.{key}", inner)


def is_ours(name: str, module: str) -> bool:
    """Whether a name in an annotation of a module comes from quantkit."""
    value = vars(sys.modules[module]).get(name)
    if inspect.isclass(value):
        return value.__module__.startswith("quantkit")
    is_array = get_origin(value) is np.ndarray  # a short name of NumPy's
    return name in OFFERED and not is_array


@pytest.mark.parametrize("public", qk.__all__)
def test_what_a_name_mentions_is_public(public: str) -> None:
    """Parameters, results, attributes, and what their methods take and give."""
    value = getattr(qk, public)
    for where, annotation in annotations_of(public, value):
        if where not in INTERNAL:
            names = {n.id for n in ast.walk(ast.parse(annotation)) if hasattr(n, "id")}
            missing = {n for n in names if is_ours(n, value.__module__)}
            assert missing <= set(qk.__all__), where


def test_the_exceptions_are_needed() -> None:
    """Each of them is there, and mentions what is not public."""
    found = {
        where
        for public in qk.__all__
        for where, annotation in annotations_of(public, getattr(qk, public))
        for n in ast.walk(ast.parse(annotation))
        if hasattr(n, "id")
        and is_ours(n.id, getattr(qk, public).__module__)
        and n.id not in qk.__all__
    }
    assert found == INTERNAL
