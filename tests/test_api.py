"""The public names, and the examples in their docstrings."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
from types import GenericAlias

import pytest

import quantkit

MODULES = [
    m.name
    for m in pkgutil.walk_packages(quantkit.__path__, "quantkit.")
    if not m.name.endswith("_core")
]


@pytest.mark.parametrize("name", MODULES)
def test_modules_state_what_they_export(name: str) -> None:
    """The names in `__all__` exist, and public functions and classes are documented."""
    module = importlib.import_module(name)
    for item in getattr(module, "__all__", []):
        value = getattr(module, item)
        is_alias = isinstance(value, GenericAlias)  # a class to Python 3.10
        is_code = inspect.isroutine(value) or inspect.isclass(value)
        assert is_alias or not is_code or value.__doc__, item


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples_run(name: str) -> None:
    """The examples show what really comes out."""
    runner = doctest.DocTestRunner()
    for test in doctest.DocTestFinder().find(importlib.import_module(name)):
        if test.examples:  # even without, a run looks at every file of the process
            runner.run(test)
    assert runner.failures == 0
