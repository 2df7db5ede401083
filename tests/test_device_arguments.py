"""What arrays in device memory must be before the CUDA library gets them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from quantkit import _device
from quantkit._device import BYTE, FLOAT
from quantkit.errors import ShapeError

Interface = dict[str, Any]


class Given:
    """An array in device memory, of which only the interface is there."""

    def __init__(self, interface: object) -> None:
        self.__cuda_array_interface__ = interface


def interface(**changed: Any) -> Interface:
    """That of an f32 array [2, 3]."""
    whole = {
        "shape": (2, 3),
        "typestr": "<f4",
        "data": (4096, False),
        "strides": None,
        "version": 3,
    }
    return whole | changed


def address(pointer: object) -> int:
    """What the library would get."""
    return int(_device.arguments._ffi().cast("uintptr_t", pointer))


def test_an_array_that_fits() -> None:
    """Its address; strides may be given, and mean nothing along an axis of one."""
    for strides in (None, (12, 4)):
        array = Given(interface(strides=strides, stream=1))
        assert _device.shape_of("x", array, 2) == (2, 3)
        assert address(_device.read(FLOAT, "x", array, (2, 3))) == 4096
        assert address(_device.written(FLOAT, "x", array, (2, 3))) == 4096
    row = Given(interface(shape=(1, 3), strides=(8888, 4)))
    assert address(_device.read(FLOAT, "x", row, (1, 3))) == 4096
    assert address(_device.optional(FLOAT, "x", None, (1, 3))) == 0


def test_an_empty_array_has_no_address() -> None:
    """Libraries give 0."""
    empty = Given(interface(shape=(0, 3), data=(0, False)))
    assert address(_device.read(FLOAT, "x", empty, (0, 3))) == 0


def test_rows_that_are_apart() -> None:
    """In items; the last axis is contiguous."""
    array = Given(interface(strides=(32, 4)))
    memory, steps = _device.strided(FLOAT, "x", array, (2, 3), write=True)
    assert (address(memory), steps) == (4096, (8,))
    one = Given(interface(shape=(1, 3), strides=(4, 4)))
    assert _device.strided(FLOAT, "x", one, (1, 3))[1] == (3,)


WRONG: dict[str, Interface] = {
    "another type": interface(typestr="<f8"),
    "another byte order": interface(typestr=">f4"),
    "another shape": interface(shape=(3, 2)),
    "more axes": interface(shape=(1, 2, 3)),
    "not aligned": interface(data=(4098, False)),
    "columns apart": interface(strides=(24, 8)),
    "reversed": interface(strides=(-12, 4)),
}


@pytest.mark.parametrize("name", WRONG)
def test_arrays_that_do_not_fit(name: str) -> None:
    """What was found, and what was expected."""
    array = Given(WRONG[name])
    message = r"x of a device call is .*; expected float32 \[2, 3\]"
    functions: list[Callable[..., object]] = [_device.read, _device.strided]
    for function in functions:
        with pytest.raises(ShapeError, match=message):
            function(FLOAT, "x", array, (2, 3))


def test_rows_apart_are_not_contiguous() -> None:
    """Only `strided` takes them."""
    array = Given(interface(strides=(32, 4)))
    with pytest.raises(ShapeError, match=r"with strides \[32, 4\]; expected float32"):
        _device.read(FLOAT, "x", array, (2, 3))


def test_what_is_read_only_is_not_written() -> None:
    """It is read."""
    array = Given(interface(data=(4096, True)))
    _device.read(FLOAT, "x", array, (2, 3))
    with pytest.raises(ShapeError, match=r"float32 \[2, 3\], read-only; expected"):
        _device.written(FLOAT, "x", array, (2, 3))
    with pytest.raises(ShapeError, match="read-only"):
        _device.strided(FLOAT, "x", array, (2, 3), write=True)


HOSTILE: dict[str, Interface] = {
    "an old version": interface(version=1),
    "no version": {k: v for k, v in interface().items() if k != "version"},
    "a mask": interface(mask=object()),
    "a negative size": interface(shape=(-2, 3)),
    "sizes that are no numbers": interface(shape=("2", 3)),
    "a shape that is none": interface(shape=None),
    "no such type": interface(typestr="<q9"),
    "items without bytes": interface(typestr="<V0"),
    "no address": interface(data=None),
    "no memory": interface(data=(0, False)),
    "a negative address": interface(data=(-8, False)),
    "an address that is too large": interface(data=(1 << 70, False)),
    "too few strides": interface(strides=(4,)),
    "the stream 0": interface(stream=0),
    "a stream that is no number": interface(stream="1"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_interfaces_that_are_not_right(name: str) -> None:
    """Nothing of an object is believed."""
    with pytest.raises(ShapeError, match=r"__cuda_array_interface__ of x of a device"):
        _device.shape_of("x", Given(HOSTILE[name]))


class Refusing:
    """As a PyTorch tensor in main memory."""

    @property
    def __cuda_array_interface__(self) -> Interface:
        raise AttributeError("not on a device")


@pytest.mark.parametrize("value", [np.zeros((2, 3)), [1.0], None, Given(3), Refusing()])
def test_what_is_not_in_device_memory(value: object) -> None:
    """Its class is named."""
    assert not _device.has_interface(value)
    with pytest.raises(ShapeError, match=r"is of type \w+; expected an array in"):
        _device.read(BYTE, "x", value, (2, 3))
    with pytest.raises(ShapeError, match="expected an array in device memory"):
        _device.shape_of("x", value)


def test_a_wrong_number_of_axes() -> None:
    """How many are expected."""
    with pytest.raises(ShapeError, match="expected an array with 1 axes"):
        _device.shape_of("x", Given(interface()), 1)
    with pytest.raises(ShapeError, match="expected an array with some axes"):
        _device.shape_of("x", Given(interface(shape=())))
