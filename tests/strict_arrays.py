"""Arrays that behave as those of a GPU do, in host memory.

`StrictArray` does what `cupy.ndarray` does and refuses what it refuses: implicit
conversion to NumPy's arrays, mixing with them, functions that CuPy lacks.  So it shows,
without a GPU, that code written for NumPy's arrays runs on those of a device.  Source
of the rules: cupy/_core/core.pyx, _kernel.pyx and _routines_indexing.pyx of CuPy 14.
Some rules are stricter than CuPy's.  No lists and no NumPy arrays are indices, since
each is a copy to the device.  What CuPy does without a word, but not as NumPy does, is
an error: it wraps an index that is beyond the array, and of several numbers that are
written to one place any may stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import DTypeLike, NDArray

__all__ = [
    "FUNCTIONS",
    "METHODS",
    "UFUNCS",
    "StrictArray",
    "strict",
    "synchronisations",
    "unwrapped",
]

FUNCTIONS = {
    "arange": "start stop step dtype",
    "argsort": "a axis kind",
    "asarray": "a dtype order copy",
    "ascontiguousarray": "a dtype",
    "broadcast_arrays": "",
    "broadcast_to": "array shape",
    "clip": "a a_min a_max out",
    "concatenate": "tup axis out dtype casting",
    "cumsum": "a axis dtype out",
    "einsum": "",
    "empty_like": "prototype dtype order subok shape",
    "full_like": "a fill_value dtype order subok shape",
    "ones_like": "a dtype order subok shape",
    "pad": "array pad_width mode",
    "partition": "a kth axis",
    "put_along_axis": "arr indices values axis",
    "repeat": "a repeats axis",
    "searchsorted": "a v side sorter",
    "sort": "a axis kind",
    "split": "ary indices_or_sections axis",
    "stack": "tup axis out dtype casting",
    "take_along_axis": "a indices axis",
    "tri": "N M k dtype",
    "where": "condition x y",
    "zeros_like": "a dtype order subok shape",
}
"""The functions that the forward pass may call, and their parameters in CuPy.

Without parameters: it takes any number of arrays.  `test_strict_arrays.py` compares the
table with an installed CuPy.  `full` and `ones` are not among them, since NumPy 2 gives
CuPy's a `device`, which they do not have; `full_like` with a shape does the same.
"""

FROM_HOST = frozenset({"asarray", "ascontiguousarray"})
"""Those that take NumPy's arrays: they copy them to the device."""

UFUNCS = frozenset(
    {
        "absolute",
        "add",
        "bitwise_and",
        "bitwise_or",
        "bitwise_xor",
        "conjugate",
        "divide",
        "equal",
        "exp",
        "expm1",
        "floor",
        "floor_divide",
        "greater",
        "greater_equal",
        "invert",
        "less",
        "less_equal",
        "log",
        "logaddexp",
        "matmul",
        "maximum",
        "minimum",
        "multiply",
        "negative",
        "not_equal",
        "power",
        "remainder",
        "rint",
        "sign",
        "sqrt",
        "square",
        "subtract",
        "tanh",
    }
)
"""The universal functions that it may call; CuPy has them under the same names."""

METHODS = {
    "all": "axis out keepdims",
    "any": "axis out keepdims",
    "argmax": "axis out dtype keepdims",
    "astype": "dtype order casting subok copy",
    "copy": "order",
    "cumsum": "axis dtype out",
    "max": "axis out keepdims",
    "mean": "axis dtype out keepdims",
    "min": "axis out keepdims",
    "ravel": "order",
    "std": "axis dtype out ddof keepdims",
    "sum": "axis dtype out keepdims",
    "swapaxes": "axis1 axis2",
}
"""Its methods and their parameters, beside `reshape`, `transpose` and `view`."""

SCALARS = frozenset({int, float, bool, complex}) | {
    np.dtype(code).type for code in "?bhilqBHILQefdFD"
}
"""The exact types of numbers that mix with arrays; a subclass of int does not."""

_noticed: list[list[str]] = []


@contextmanager
def synchronisations() -> Iterator[list[str]]:
    """What makes the host wait for the device meanwhile, one entry each time."""
    noticed: list[str] = []
    _noticed.append(noticed)
    try:
        yield noticed
    finally:
        _noticed.remove(noticed)


def _synchronise(why: str) -> None:
    for noticed in _noticed:
        noticed.append(why)


class StrictArray(NDArrayOperatorsMixin):
    """A NumPy array behind the interface of an array on a device.

    Attributes:
        memory: the array, which only tests may read.
    """

    __slots__ = ("memory",)
    __array_priority__ = 100

    def __init__(self, memory: NDArray[Any]) -> None:
        self.memory = memory

    def __array__(self, dtype: object = None, copy: object = None) -> NDArray[Any]:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. "
            "Please use `.get()` to construct a NumPy array explicitly."
        )

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """Version 3 of the interface, with the address in host memory."""
        whole = self.memory.flags.c_contiguous
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.memory.ctypes.data, False),
            "strides": None if whole else self.memory.strides,
            "stream": 1,
            "version": 3,
        }

    def __array_ufunc__(
        self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = None, **how: Any
    ) -> Any:
        """Numbers and arrays on the device, and only functions that CuPy has."""
        if ufunc.__name__ not in UFUNCS or method != "__call__" or how:
            found = f"{ufunc.__name__}.{method} with {sorted(how)}"
            raise TypeError(f"no function {found} on the device")
        for given in (*inputs, *(out or ())):
            if not isinstance(given, StrictArray) and type(given) not in SCALARS:
                raise TypeError(f"{type(given).__name__} cannot mix with StrictArray")
        if out is None:
            return wrapped(ufunc(*unwrapped(inputs)))
        ufunc(*unwrapped(inputs), out=unwrapped(out))
        return out[0]

    def __array_function__(
        self, function: Callable[..., Any], types: object, args: Any, how: Any
    ) -> Any:
        """Functions that CuPy has, with its parameters, on arrays of the device."""
        name = function.__name__
        if name not in FUNCTIONS or function is not getattr(np, name):
            raise TypeError(f"no function {name} on the device")
        _check_call(name, FUNCTIONS[name], args, how)
        if name not in FROM_HOST:
            _refuse_host_arrays(name, (args, how))
        if name == "put_along_axis":
            _refuse_repeated_along(*args, **how)
        return wrapped(function(*unwrapped(args), **unwrapped(how)))

    def __getitem__(self, index: Any) -> StrictArray:
        """A view, or with arrays of the device a copy."""
        _check_index(index)
        return wrapped(self.memory[unwrapped(index)])

    def __setitem__(self, index: Any, value: Any) -> None:
        """Write numbers or an array of the device."""
        if not isinstance(value, StrictArray) and type(value) not in SCALARS:
            raise TypeError(f"{type(value).__name__} cannot be written into an array")
        _check_index(index)
        _refuse_repeated(self.memory, index, value)
        self.memory[unwrapped(index)] = unwrapped(value)

    def __len__(self) -> int:
        return len(self.memory)

    def __iter__(self) -> Iterator[StrictArray]:
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        _synchronise("bool")
        return bool(self.memory)

    def __int__(self) -> int:
        _synchronise("int")
        return int(self.memory)

    def __index__(self) -> int:
        _synchronise("index")
        return self.memory.__index__()

    def __float__(self) -> float:
        _synchronise("float")
        return float(self.memory)

    def item(self) -> Any:
        """The only item, as Python's number."""
        _synchronise("item")
        return self.memory.item()

    def tolist(self) -> Any:
        """The items as Python's numbers."""
        _synchronise("tolist")
        return self.memory.tolist()

    def get(self) -> NDArray[Any]:
        """A copy in the host's memory."""
        _synchronise("get")
        return self.memory.copy()

    def reshape(self, *shape: Any) -> StrictArray:
        """As NumPy's."""
        return wrapped(self.memory.reshape(*shape))

    def transpose(self, *axes: Any) -> StrictArray:
        """As NumPy's."""
        return wrapped(self.memory.transpose(*axes))

    def view(self, dtype: DTypeLike) -> StrictArray:
        """As NumPy's."""
        return wrapped(self.memory.view(dtype))

    @property
    def T(self) -> StrictArray:
        """As NumPy's."""
        return wrapped(self.memory.T)

    @property
    def device(self) -> Device:
        """The only one that there is."""
        return Device()

    def __getattr__(self, name: str) -> Any:
        if name in ("shape", "dtype", "ndim", "size", "strides", "itemsize", "flags"):
            return getattr(self.memory, name)
        if name in METHODS:
            return _method(self.memory, name)
        raise AttributeError(f"arrays of the device have no {name!r}")

    def __repr__(self) -> str:
        return f"StrictArray({self.memory!r})"


class Device:
    """As `cupy.cuda.Device`: its number."""

    id = 0


def strict(array: NDArray[Any]) -> Any:
    """A copy of a NumPy array on the device: a `StrictArray`.

    Types call all arrays NumPy's, so `Any` here.
    """
    return StrictArray(np.array(array))


def unwrapped(value: Any) -> Any:
    """The same with the memory of arrays in their place."""
    if isinstance(value, StrictArray):
        return value.memory
    if isinstance(value, dict):
        return {key: unwrapped(each) for key, each in value.items()}
    if isinstance(value, (tuple, list)):
        return type(value)(map(unwrapped, value))
    return value


def wrapped(value: Any) -> Any:
    """The same with arrays on the device; of no axes, too, where NumPy has numbers."""
    if isinstance(value, (tuple, list)):
        return type(value)(map(wrapped, value))
    return StrictArray(np.asarray(value))


def _check_index(index: Any) -> None:
    """Refuse what is no index; the number of places of a mask is waited for."""
    for part in index if isinstance(index, tuple) else (index,):
        is_int = isinstance(part, int) and not isinstance(part, bool)
        is_whole = part is None or part is Ellipsis
        if isinstance(part, StrictArray):
            if part.dtype == bool:
                _synchronise("an index that is a mask")
        elif not (is_int or is_whole or isinstance(part, slice)):
            raise IndexError(f"{type(part).__name__} is no index on the device")


def _refuse_repeated(memory: NDArray[Any], index: Any, value: Any) -> None:
    """Refuse to write several numbers to one place: the last one to come would stay."""
    parts = index if isinstance(index, tuple) else (index,)
    has_indices = any(isinstance(part, StrictArray) for part in parts)
    if not isinstance(value, StrictArray) or value.size < 2 or not has_indices:
        return
    numbers = np.arange(memory.size).reshape(memory.shape)[unwrapped(index)]
    if len(np.unique(numbers)) < numbers.size:
        raise IndexError("a place is written twice, in no order on the device")


def _refuse_repeated_along(
    arr: StrictArray, indices: StrictArray, values: Any, axis: int
) -> None:
    """As `_refuse_repeated`, for `put_along_axis`."""
    if isinstance(values, StrictArray) and values.size > 1:
        places = np.sort(indices.memory % arr.shape[axis], axis=axis)
        if (np.diff(places, axis=axis) == 0).any():
            raise IndexError("a place is written twice, in no order on the device")


def _method(memory: NDArray[Any], name: str) -> Callable[..., Any]:
    def call(*args: Any, **how: Any) -> Any:
        _check_call(name, METHODS[name], args, how)
        _refuse_host_arrays(name, (args, how))
        return wrapped(getattr(memory, name)(*unwrapped(args), **unwrapped(how)))

    return call


def _check_call(name: str, parameters: str, args: Any, how: Any) -> None:
    """Refuse arguments that CuPy's function of this name does not have."""
    known = parameters.split()
    if known and (len(args) > len(known) or not set(how) <= set(known)):
        raise TypeError(f"{name} on the device has the parameters {known}")


def _refuse_host_arrays(name: str, value: Any) -> None:
    if isinstance(value, np.ndarray):
        raise TypeError(f"{name} on the device cannot take an array of the host")
    if isinstance(value, dict):
        value = tuple(value.values())
    for each in value if isinstance(value, (tuple, list)) else ():
        _refuse_host_arrays(name, each)
