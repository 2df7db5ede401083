"""The native functions touch no byte outside their arrays, and refuse wrong arrays.

Right arrays end, or begin, at a page that cannot be touched; so do the arrays that the
functions make.  Wrong arrays of every kind raise a ShapeError.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest

from quantkit import _native
from quantkit._native import Backend, arguments
from quantkit.errors import ShapeError

from .guarded import guarded, needs_guards
from .native_calls import CALLS, Call

BACKEND = _native.active_backend()


@pytest.fixture
def backend(variant: Backend) -> Backend:
    """Every variant of the forward pass."""
    return variant


def guarded_copy(array: np.ndarray, *, before: bool) -> np.ndarray:
    copy = guarded(array.shape, array.dtype, before=before)
    copy[...] = array
    return copy


@pytest.mark.parametrize("before", [False, True], ids=["end", "start"])
def test_nothing_outside_is_touched(
    backend: Backend, before: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every function, type and precision, with and without optional arrays."""
    needs_guards()
    monkeypatch.setattr(np, "empty", partial(guarded, before=before))
    for call in CALLS.values():
        arrays = {
            name: guarded_copy(array, before=before)
            for name, array in call.arrays.items()
        }
        monkeypatch.setattr(arguments, "_memory", arguments._Memory())
        call.run(**arrays, backend=backend)
        call.run(**arrays | dict.fromkeys(call.optional), backend=backend)


def test_guards_are_there() -> None:
    """A byte too far is fatal: in a child, which dies of it."""
    needs_guards()
    for before, offset in ((False, 8), (True, -1)):
        child = os.fork()
        if not child:
            signal.signal(signal.SIGSEGV, signal.SIG_DFL)
            array = guarded(8, np.uint8, before=before)
            ctypes.string_at(array.ctypes.data + offset, 1)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) < 0


def shifted(array: np.ndarray) -> np.ndarray:
    """The same numbers, not aligned."""
    copy = np.zeros(array.nbytes + 1, np.uint8)[1:].view(array.dtype)
    copy = copy.reshape(array.shape)
    copy[...] = array
    return copy


@pytest.mark.parametrize("name", ["quantize Q4_K", "rms norm", "add logits"])
def test_inputs_need_not_be_aligned(name: str) -> None:
    """Views of files are not; the result is the same."""
    call = CALLS[name]
    results = []
    for view in (np.copy, shifted):
        arrays = {
            n: a.copy() if n in call.outputs | call.loose else view(a)
            for n, a in call.arrays.items()
        }
        made = call.run(**arrays, backend=BACKEND)
        results.append([made, *(arrays[n] for n in sorted(call.outputs))])
    for one, other in zip(*results, strict=True):
        assert (one is None and other is None) or one.tobytes() == other.tobytes()


def wrong(name: str, call: Call) -> Iterator[tuple[str, Any]]:
    """What is not the array that a function expects, and why."""
    array = call.arrays[name]
    yield "list", array.tolist()
    yield "number", array.reshape(-1)[0]
    if name not in call.any_axes:
        yield "more axes", array[None]
        yield "fewer axes", array[0]
    yield "narrower type", np.zeros(array.shape, np.int8)
    yield "wider type", np.zeros(array.shape, np.complex128)
    if array.dtype.itemsize > 1:
        yield "other byte order", array.astype(array.dtype.newbyteorder())
    if name not in call.optional | {"importance"}:  # some types require importance
        yield "None", None
    if name in call.outputs:
        locked = array.copy()
        locked.setflags(write=False)
        yield "read-only", locked
    if array.dtype.itemsize > 1 and name in call.loose | call.outputs:
        yield "not aligned", shifted(array)
    if array.shape[-1] > 1:
        wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
        yield "columns apart", wide[..., ::2]
        yield "columns reversed", array[..., ::-1]
    if array.ndim > 1 and len(array) > 1:
        yield "rows reversed", array[::-1]
        if name not in call.loose:
            yield "rows apart", array.repeat(2, axis=0)[::2]


def changed(array: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """The array with one more or one less along each axis."""
    for axis, size in enumerate(array.shape):
        for n in (0, size - 1, size + 1, 2 * size):
            if 0 <= n != size:
                shape = (*array.shape[:axis], n, *array.shape[axis + 1 :])
                yield f"{n} of {size} along axis {axis}", np.zeros(shape, array.dtype)


def is_refused(call: Call, argument: str, array: Any) -> bool:
    """Whether a call raises a ShapeError, and nothing else, for one other argument."""
    try:
        call.run(**call.arrays | {argument: array}, backend=BACKEND)
    except ShapeError:
        return True
    return False


@pytest.mark.parametrize("name", CALLS)
def test_wrong_arrays_are_refused(name: str) -> None:
    """One argument at a time; the others are right."""
    call = CALLS[name]
    taken = [
        f"{argument}: {why}"
        for argument in call.arrays
        for why, array in wrong(argument, call)
        if not is_refused(call, argument, array)
    ]
    assert taken == []


@pytest.mark.parametrize("name", CALLS)
def test_arrays_of_other_sizes_are_refused(name: str) -> None:
    """More or less along any axis of one argument does not fit the others."""
    call = CALLS[name]
    taken = [
        f"{argument}: {why}"
        for argument, array in call.arrays.items()
        for why, other in changed(array)
        if not fits(name, argument, array, other)
        and not is_refused(call, argument, other)
    ]
    assert taken == []


def fits(name: str, argument: str, array: np.ndarray, other: np.ndarray) -> bool:
    """Whether an array of another size is right too."""
    match name.split()[0], argument:
        case "rms" | "layer", "x":  # more rows of as many heads
            return other.shape[1:] == array.shape[1:]
        case "rotate", "x":  # more heads, or components that do not rotate
            return len(other) == len(array) and other.shape[2] >= 18
        case "rotate", "turns":  # fewer components rotate
            return len(other) == len(array) and other.shape[1] <= 10
        case "add", "logits":  # a tile of more tokens, or fewer
            return len(other) == len(array) and other.shape[1] > 0
        case "round", "x":  # more rows
            return other.shape[1:] == array.shape[1:]
        case "attention" | "recur" | "wkv", "v":  # values of another size
            return other.shape[:2] == array.shape[:2] and other.shape[2] > 0
        case "attention", "mask":  # one mask for all heads
            return len(other) in (1, 2) and other.shape[1:] == array.shape[1:]
        case "index", "k":  # other keys
            return len(other) > 0 and other.shape[1:] == array.shape[1:]
        case "convolve", "x" | "weight":  # more positions, or taps
            return other.shape[1:] == array.shape[1:]
        case "gram", "a":  # more inputs than are asked for
            return len(other) == len(array) and other.shape[1] >= array.shape[1]
        case "gram", "b":  # more inputs from the first column on, or fewer
            return len(other) == len(array) and other.shape[1] >= 3
        case "solve", "x":  # other right-hand sides
            return len(other) == len(array)
    return False


@pytest.mark.parametrize("name", ["activate", "clamped", "cap"])
def test_results_in_place_or_apart(name: str) -> None:
    """The result may be the input, but not a shifted part of its memory."""
    call = CALLS[name]
    memory = np.ones(2 * call.arrays["x"].size, np.float32)
    n, shape = call.arrays["x"].size, call.arrays["x"].shape
    x = memory[:n].reshape(shape)
    call.run(**call.arrays | {"x": x, "out": x}, backend=BACKEND)
    for start in (1, 8, n - 1):
        out = memory[start : start + n].reshape(shape)
        with pytest.raises(ShapeError, match="shares memory"):
            call.run(**call.arrays | {"x": x, "out": out}, backend=BACKEND)
    call.run(
        **call.arrays | {"x": x, "out": memory[n:].reshape(shape)}, backend=BACKEND
    )


def test_results_over_inputs_are_refused() -> None:
    """Quantized bytes over their weights, sums of two models in the same rows."""
    memory = np.ones((4, 256), np.float32)
    out = memory.view(np.uint8).reshape(-1)[: 4 * 144].reshape(4, 144)
    with pytest.raises(ShapeError, match="shares memory"):
        CALLS["quantize Q4_K"].run(x=memory, importance=None, out=out, backend=BACKEND)
    call = CALLS["compare logits"]
    with pytest.raises(ShapeError, match="shares memory"):
        call.run(**call.arrays | {"base": call.arrays["rows"]}, backend=BACKEND)


def test_no_columns_give_zeros(backend: Backend) -> None:
    """The product over no columns is 0, not what was in memory."""
    out = np.full((3, 5), 7, np.float32)
    call = CALLS["multiply Q4_K F32"]
    x, weights = np.empty((3, 0), np.float32), np.empty((5, 0), np.uint8)
    call.run(x=x, weights=weights, out=out, backend=backend)
    assert not out.any()


@pytest.mark.parametrize("shape", [(1 << 40, 0), (0, 1 << 40)])
def test_rows_of_nothing_take_no_time(shape: tuple[int, int]) -> None:
    """2^40 rows without columns, or no rows of 2^40 columns."""
    x, data = np.empty(shape, np.float32), np.empty((shape[0], 2 * shape[1]), np.uint8)
    CALLS["quantize F16"].run(x=x, importance=None, out=data, backend=BACKEND)
    CALLS["dequantize F16"].run(data=data, out=x, backend=BACKEND)
    assert _native.pack_activations(x, 0, BACKEND).data.size == 0


def test_tiles_start_inside_the_vocabulary() -> None:
    """A tile before the first token, or past the last number of a token."""
    call = CALLS["add logits"]
    arrays = call.arrays
    for start in (-1, 2**63 - 1, 2**63, 2**70):
        with pytest.raises(ShapeError, match="starts at token"):
            _native.add_logits(
                arrays["logits"], start, arrays["targets"], arrays["rows"], BACKEND
            )
