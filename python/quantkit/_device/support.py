"""The CUDA devices of this machine, and why they cannot be used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

from ..display import Displayed
from ..errors import BackendError
from ..visible import visible
from .loading import Library, library, library_path
from .naming import device_name, parse_device
from .statuses import check_status

__all__ = [
    "CudaSupport",
    "Device",
    "chosen_device",
    "cuda_support",
    "device_in_use",
    "devices",
    "usable_device",
]


@dataclass(frozen=True)
class Device(Displayed):
    """A CUDA device.

    Attributes:
        name: "cuda:0", "cuda:1" and so on, as for `device`.
        model: what the driver calls it, such as "NVIDIA H200".
        capability: its compute capability, such as "9.0".
        multiprocessors: how many it has.
        memory: bytes of its memory.
        usable: whether the CUDA library has code for it.
    """

    name: str
    model: str
    capability: str
    multiprocessors: int
    memory: int
    usable: bool


@dataclass(frozen=True)
class CudaSupport(Displayed):
    """Whether quantkit can use CUDA here.

    Attributes:
        library: the path of the CUDA library, whether it is there or not.
        version: the version of quantkit that it was built with; None: it was not
            loaded.
        devices: the devices.
        problem: why no device can be used; None: one can.
    """

    library: str
    version: str | None
    devices: tuple[Device, ...]
    problem: str | None


def devices() -> tuple[Device, ...]:
    """The CUDA devices of this machine; none without the CUDA library or a driver.

    `quantkit backends` says why there are none.
    """
    return cuda_support().devices


def cuda_support() -> CudaSupport:
    """Whether quantkit can use CUDA here, and why not."""
    path, version = str(library_path()), None
    found: tuple[Device, ...] = ()
    try:
        version = library().version
        found = tuple(map(_described, range(_count())))
        _refuse_unusable(found)
    except BackendError as error:
        return CudaSupport(path, version, found, str(error))
    return CudaSupport(path, version, found, None)


def chosen_device(device: object) -> int | None:
    """The number of the CUDA device that a user asks for; None: the CPU.

    Raises:
        OptionError: `device` is no name of a device.
        BackendError: the device cannot be used.
    """
    number = parse_device(device)
    if number is not None:
        usable_device(number)
    return number


def usable_device(number: int) -> Device:
    """The device with this number.

    Raises:
        BackendError: there is no library, no driver or no such device, or the library
            has no code for it.
    """
    count = _count()
    if number >= count:
        here = ", ".join(map(device_name, range(count)))
        raise BackendError(
            f"there is no {device_name(number)}; this machine has {here}"
        )
    device = _described(number)
    _refuse_unusable([device])
    return device


def _refuse_unusable(found: tuple[Device, ...] | list[Device]) -> None:
    """Raise if none of the devices can be used."""
    if not any(device.usable for device in found):
        them = ", ".join(f"{d.name} ({d.model}, {d.capability})" for d in found)
        raise BackendError(
            f"the CUDA library has no code for {them}; build it for this architecture"
        )


def _count() -> int:
    """How many devices there are, one at least.

    Raises:
        BackendError: there is no library, no driver or no device.
    """
    own = library()
    count = own.ffi.new("int *")
    check_status(own.lib.qkc_device_count(count), "qkc_device_count", "this machine")
    if not count[0]:
        raise BackendError(
            "this machine has no CUDA device; `nvidia-smi` lists those that the driver "
            "finds, and CUDA_VISIBLE_DEVICES may hide them"
        )
    return int(count[0])


def _described(number: int) -> Device:
    return _described_by(library(), number)


@cache
def _described_by(own: Library, number: int) -> Device:
    """Asked once, because the driver takes a millisecond or more to answer."""
    what = own.ffi.new("qkc_device *")
    status = own.lib.qkc_describe_device(number, what)
    check_status(status, "qkc_describe_device", device_name(number))
    return Device(
        name=device_name(number),
        model=visible(own.ffi.string(what.name).decode("utf-8", "replace")),
        capability=f"{what.major}.{what.minor}",
        multiprocessors=int(what.multiprocessors),
        memory=int(what.total_bytes),
        usable=bool(what.has_kernels),
    )


@contextmanager
def device_in_use(number: int | None) -> Iterator[None]:
    """Make a device the current one of this thread, and then the one before it again.

    Args:
        number: of the device; None: the current one stays.

    Raises:
        BackendError: there is no such device.
    """
    if number is None:
        yield
        return
    own = library()
    before = own.ffi.new("int *")
    check_status(own.lib.qkc_get_device(before), "qkc_get_device", "this thread")
    _set_device(number)  # also if it is: other libraries in this process set it, too
    try:
        yield
    finally:
        if before[0] != number:
            _set_device(before[0])


def _set_device(number: int) -> None:
    status = library().lib.qkc_set_device(number)
    check_status(status, "qkc_set_device", device_name(number))
