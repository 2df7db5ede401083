"""`quantize` and `dequantize` on devices: the processor's bytes, the user's arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import quantkit as qk
from quantkit import _device

from . import fake_torch
from .conftest import bits
from .device_arrays import Kind
from .device_arrays import kind as kind
from .host_library import host_library as host_library
from .strategies import row
from .strict_arrays import strict

TYPES = ["Q4_0", "Q4_K", "IQ2_XS", "F16", "BF16"]
"""One of each way to quantize; golden hashes have all of them."""

X = np.stack([row("heavy_tail", 512, seed) for seed in range(6)])
IMPORTANCE = np.geomspace(0.01, 10, 512).astype(np.float32)


@pytest.fixture
def host(host_library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host build is the CUDA library."""
    monkeypatch.setenv(_device.LIBRARY_VARIABLE, str(host_library))


@pytest.mark.parametrize("type", TYPES)
def test_arrays_on_a_device_stay_there(kind: Kind, type: str) -> None:
    """The bytes are those of the processor; the importance may be anywhere."""
    expected = qk.quantize(X, type, IMPORTANCE)
    given, locked = kind.there(X), IMPORTANCE.copy()
    locked.setflags(write=False)
    for importance in (locked, kind.there(IMPORTANCE)):
        q = qk.quantize(given, type, importance)
        assert isinstance(q.data, kind.array)
        assert q == expected
        assert expected == q
        assert np.array_equal(kind.here(q.data), expected.data)
    weights = qk.dequantize(q)
    assert isinstance(weights, kind.array)
    assert np.array_equal(bits(kind.here(weights)), bits(qk.dequantize(expected)))
    assert np.array_equal(kind.here(given), X)


def test_shapes_and_dtypes(kind: Kind) -> None:
    """As of arrays in main memory: any number of axes, other numbers, views."""
    x = X.astype(np.float16).reshape(2, 3, 512)
    expected = qk.quantize(x, "Q8_0")
    views = {
        "f16": kind.there(x),
        "f64": kind.there(x.astype(np.float64)),
        "apart": kind.there(np.repeat(x.astype(np.float32), 2, axis=2))[:, :, ::2],
        "device": kind.there(x.astype(np.float32)),
    }
    for name, given in views.items():
        q = qk.quantize(given, "Q8_0", device="cuda:0" if name == "device" else None)
        assert q == expected, name
        assert q.shape == x.shape
    assert tuple(qk.dequantize(q).shape) == x.shape
    empty = qk.quantize(kind.there(np.empty((0, 64), np.float32)), "Q8_0")
    assert (empty.shape, empty.n_bytes) == ((0, 64), 0)


def test_results_are_shown_without_their_items(kind: Kind) -> None:
    """Their dtype and shape."""
    q = qk.quantize(kind.there(X), "Q8_0")
    assert "uint8[6, 544]" in repr(q)
    assert q.n_bytes == 6 * 544
    assert q != qk.quantize(X + 1, "Q8_0")
    assert q != qk.quantize(X, "Q4_0")


def changed(array: np.ndarray, place: tuple[int, ...], value: float) -> np.ndarray:
    copy = array.copy()
    copy[place] = value
    return copy


@pytest.mark.parametrize("where", ["main memory", "the device"])
def test_what_cannot_be_quantized_is_named(kind: Kind, where: str) -> None:
    """As on the processor, in the same words."""
    nothing = np.zeros((6, 512), np.float32)
    cases: list[tuple[Any, ...]] = [
        (changed(X, (3, 7), np.nan), "Q4_K"),
        (changed(X, (5, 511), -np.inf), "Q4_0"),
        (X, "Q4_K", changed(IMPORTANCE, (9,), -1)),
        (X, "Q4_K", changed(IMPORTANCE, (0,), np.inf)),
        (X, "Q4_K", IMPORTANCE[1:]),
        (X, "IQ2_XS"),
        (changed(nothing, (4, 33), 1e9), "Q4_0"),
        (changed(nothing, (4, 33), 7e4), "F16"),
        (changed(nothing, (4, 33), 3.4e38), "BF16"),
        (X[:, :500], "Q4_0"),
        (X[0, 0], "Q4_0"),
        (X > 0, "Q4_0"),
        (X + 1j, "Q4_0"),
        (X, "I8"),
        (X, "Q4_9"),
    ]
    for weights, *rest in cases:
        with pytest.raises(qk.QuantkitError) as expected:
            qk.quantize(weights, *rest)
        given = np.asarray(weights)
        if where == "the device":
            given, device = kind.there(given), None
        else:
            device = "cuda"
        with pytest.raises(type(expected.value)) as found:
            qk.quantize(given, *rest, device=device)
        message = str(found.value).replace("torch.", "")
        assert message == str(expected.value)


def test_weights_that_are_large_but_fit(kind: Kind) -> None:
    """They are looked at once more."""
    x = changed(X, (2, 5), 65000)
    assert qk.quantize(kind.there(x), "F16") == qk.quantize(x, "F16")
    assert qk.quantize(kind.there(x), "Q8_0") == qk.quantize(x, "Q8_0")


def test_arrays_are_not_moved(kind: Kind) -> None:
    """To another device, or to the processor."""
    there = kind.there(X)
    quantized = qk.quantize(there, "Q4_0")
    for device in ("cpu", "cuda:1"):
        message = f'is in the memory of cuda:0, and `device` is "{device}"'
        with pytest.raises(qk.OptionError, match=message):
            qk.quantize(there, "Q4_0", device=device)
        with pytest.raises(qk.OptionError, match=message):
            qk.dequantize(quantized, device=device)
    for call in (
        lambda: qk.quantize(there, "Q4_0", backend="scalar"),
        lambda: qk.quantize(X, "Q4_0", backend="scalar", device="cuda"),
        lambda: qk.dequantize(quantized, backend="scalar"),
    ):
        with pytest.raises(qk.OptionError, match="`backend` is 'scalar', an instruct"):
            call()


@pytest.mark.parametrize("type", TYPES)
def test_arrays_in_main_memory_pass_through_a_device(host: None, type: str) -> None:
    """And come back to main memory."""
    expected = qk.quantize(X, type, IMPORTANCE)
    q = qk.quantize(X.tolist(), type, IMPORTANCE, device="cuda")
    assert isinstance(q.data, np.ndarray)
    assert q == expected
    weights = qk.dequantize(q, device="cuda:0")
    assert np.array_equal(bits(weights), bits(qk.dequantize(expected)))


def test_devices_that_are_not_there(host: None, monkeypatch: Any) -> None:
    """Which there are."""
    with pytest.raises(qk.BackendError, match="there is no cuda:1; this machine has"):
        qk.quantize(X, "Q4_0", device="cuda:1")
    monkeypatch.setenv("QKC_HOST_DEVICES", "2")
    assert qk.quantize(X, "Q4_0", device="cuda:1") == qk.quantize(X, "Q4_0")


def test_tensors_of_another_device(host: None, monkeypatch: Any) -> None:
    """The work is done where the tensor is."""
    monkeypatch.setenv("QKC_HOST_DEVICES", "2")
    fake_torch.install(monkeypatch)
    q = qk.quantize(fake_torch.tensor(X, 1), "Q4_0", device="cuda:1")
    assert q == qk.quantize(X, "Q4_0")
    assert vars(q.data)["index"] == 1
    with pytest.raises(qk.OptionError, match="is in the memory of cuda:1"):
        qk.quantize(fake_torch.tensor(X, 1), "Q4_0", device="cuda")


def test_tensors_that_are_trained_or_in_main_memory(
    host: None, monkeypatch: Any
) -> None:
    """Gradients are not recorded; what is not on a device is for the processor."""
    fake_torch.install(monkeypatch)
    expected = qk.quantize(X, "Q4_0")
    assert qk.quantize(fake_torch.tensor(X, grad=True), "Q4_0") == expected
    for device in (None, "cpu", "cuda"):
        given = fake_torch.tensor(X.astype(np.float64), None)
        q = qk.quantize(given, "Q4_0", device=device)
        assert isinstance(q.data, np.ndarray)
        assert q == expected


class OnlyInterface:
    """An array of a library that acts like none of NumPy's, such as Numba's."""

    def __init__(self, array: Any) -> None:
        self._array = array
        self.__cuda_array_interface__ = array.__cuda_array_interface__


class OnlyDLPack:
    """The same with DLPack."""

    def __dlpack__(self, **_: Any) -> None:
        raise AssertionError("nobody can take it")

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 0


@pytest.mark.parametrize("given", [OnlyInterface(strict(X)), OnlyDLPack()])
def test_other_libraries_need_cupy(
    host: None, monkeypatch: pytest.MonkeyPatch, given: Any
) -> None:
    """Which says how to install it."""
    monkeypatch.setitem(__import__("sys").modules, "cupy", None)
    message = r"Only\w+ on a CUDA device needs CuPy: pip install 'quantkit\[cuda13\]'"
    with pytest.raises(qk.BackendError, match=message):
        qk.quantize(given, "Q4_0")


def test_without_the_library_arrays_on_a_device_say_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """Copied to main memory, the processor takes them."""
    monkeypatch.setenv(_device.LIBRARY_VARIABLE, str(tmp_path / "none"))
    message = r"`weights` is in the memory of a CUDA device: .* or copy the array to"
    with pytest.raises(qk.BackendError, match=message):
        qk.quantize(strict(X), "Q4_0")
    with pytest.raises(qk.BackendError, match=r"CUDA_LIBRARY is '.*none', which is no"):
        qk.quantize(X, "Q4_0", device="cuda")
