"""The arrays of tests without a GPU behave as CuPy's do."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from .strict_arrays import FUNCTIONS, METHODS, UFUNCS, StrictArray, strict
from .strict_arrays import synchronisations as counted

HOST = np.arange(6, dtype=np.float32).reshape(2, 3)


def along(places: NDArray[Any], x: Any) -> None:
    """Write numbers of x to these places of its rows."""
    np.put_along_axis(x, strict(places), x[:, : places.shape[1]], axis=1)


REFUSED: dict[str, Callable[[StrictArray], object]] = {
    "implicit conversion": np.array,
    "a NumPy array beside it": lambda x: x + HOST,
    "a NumPy array before it": lambda x: HOST + x,
    "a NumPy array in place": lambda x: x.__iadd__(HOST),
    "it into a NumPy array": lambda x: HOST.copy().__iadd__(x),
    "a number in a NumPy array": lambda x: x * np.array(2.0),
    "a subclass of int": lambda x: x * type("Size", (int,), {})(2),
    "a list of both": lambda x: np.concatenate([x, HOST]),
    "an argument of the host": lambda x: np.where(x > 0, HOST, x),
    "a function that is not listed": np.median,
    "a universal function that is not listed": np.sin,
    "a method of a universal function": np.add.reduce,
    "a place where not to compute": lambda x: np.tanh(x, where=x > 0),
    "a parameter that CuPy lacks": lambda x: np.clip(x, 0, 1, casting="no"),
    "a method's parameter that CuPy lacks": lambda x: x.sum(axis=0, initial=1.0),
    "a NumPy array as an index": lambda x: x[np.arange(2)],
    "a list as an index": lambda x: x[[0, 1]],
    "an index beyond the array": lambda x: x[strict(np.array([2]))],
    "writing twice to one place": lambda x: x.__setitem__(strict(np.zeros(2, int)), x),
    "writing twice along an axis": lambda x: along(np.zeros((2, 2), int), x),
    "writing a NumPy array": lambda x: x.__setitem__(0, HOST[0]),
    "an attribute that CuPy lacks": lambda x: x.ctypes,
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str) -> None:
    """It would be refused by CuPy, or copy to the device unseen."""
    with pytest.raises((TypeError, IndexError, AttributeError)):
        REFUSED[name](strict(HOST))


def got(x: Any) -> NDArray[Any]:
    """Its numbers."""
    assert isinstance(x, StrictArray)
    return x.get()


def test_results_are_numpys() -> None:
    """On memory that views share; numbers of the host may take part."""
    x = strict(HOST)
    view = x[:, 1:]
    view *= np.float32(2)
    view[0] = 7
    expected = HOST.copy()
    expected[:, 1:] *= 2
    expected[0, 1:] = 7
    assert np.array_equal(x.get(), expected)
    assert np.array_equal((1 - x.T).get(), 1 - expected.T)
    assert np.array_equal(np.tanh(x, out=strict(HOST)).get(), np.tanh(expected))
    parts = np.split(np.concatenate([x, x]), 2)
    assert [type(part) for part in parts] == [StrictArray] * 2
    assert x.sum().shape == ()
    assert (x.mean(axis=0).dtype, x.astype(np.intp).dtype) == (np.float32, np.intp)
    rows = np.argsort(-x[:, 0])
    assert np.array_equal(got(x[rows]), expected[got(rows)])


def test_arrays_are_made_beside_others() -> None:
    """By `like`; from the host's, with what copies them to the device."""
    x = strict(HOST)
    assert np.array_equal(got(np.arange(3, like=x)), np.arange(3))
    assert np.array_equal(got(np.asarray(HOST, like=x)), HOST)
    assert isinstance(np.zeros_like(x), StrictArray)
    threes = np.full_like(x, 3, dtype=np.float16, shape=(1, 2))
    assert np.array_equal(got(threes), np.full((1, 2), 3, np.float16))


def test_the_interface_has_the_address() -> None:
    """Of the memory that it shares; strides only of views."""
    x = strict(HOST)
    told, part = x.__cuda_array_interface__, x[:, 1:].__cuda_array_interface__
    assert told["data"] == (x.memory.ctypes.data, False)
    assert (told["shape"], told["typestr"], told["strides"]) == ((2, 3), "<f4", None)
    assert (part["data"][0], part["strides"]) == (told["data"][0] + 4, (12, 4))


def test_waiting_is_counted() -> None:
    """Each of these makes the host wait for the device; computing does not."""
    x = strict(HOST)
    with counted() as none:
        x[x[:, 0].astype(np.intp) // 3, 0] = np.float32(1)
    assert none == []
    with counted() as noticed:
        assert bool((x > 4).any())
        assert int(x[0, 0]) + float(x[0, 1]) + x[0, 2].item() == 4
        assert x.get().shape == x[x > -1].reshape(2, 3).shape
    kinds = ["bool", "int", "float", "item", "get", "an index that is a mask"]
    assert noticed == kinds


def parameters_of(function: Any) -> list[str]:
    """The names of a function's parameters; docstrings have those of methods."""
    try:
        return list(inspect.signature(function).parameters)
    except ValueError:
        line = function.__doc__.partition("(")[2].partition(") ->")[0]
        return [part.split("=")[0].split()[-1] for part in line.split(", ")][1:]


@pytest.mark.interop
@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_functions_of_cupy(name: str) -> None:
    """It has each of them, with these parameters."""
    cupy = pytest.importorskip("cupy", reason="needs CuPy")
    expected = FUNCTIONS[name].split()
    assert parameters_of(getattr(cupy, name))[: len(expected)] == expected


@pytest.mark.interop
@pytest.mark.parametrize("name", sorted(METHODS))
def test_methods_of_cupys_arrays(name: str) -> None:
    """The same for these."""
    cupy = pytest.importorskip("cupy", reason="needs CuPy")
    expected = METHODS[name].split()
    assert parameters_of(getattr(cupy.ndarray, name))[: len(expected)] == expected


@pytest.mark.interop
def test_universal_functions_of_cupy() -> None:
    """It has all of them, by NumPy's names."""
    cupy = pytest.importorskip("cupy", reason="needs CuPy")
    kinds = {type(cupy.add), type(cupy.matmul)}
    assert {
        name for name in UFUNCS if type(getattr(cupy, name, None)) in kinds
    } == UFUNCS
