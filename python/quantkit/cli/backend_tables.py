"""Show the instruction sets of the C core, and the CUDA devices."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from .._device import cuda_support
from .._native import active_backend, backends
from ..cells import Cells
from ..quantities import bytes_as_text
from .console import Part

__all__ = ["backends_dict", "backends_tables"]


def backends_tables() -> list[Part]:
    """The built-in backends and which one is active; CUDA, or why it cannot be used."""
    return [_backends(), *_cuda()]


def _backends() -> Cells:
    """For quantizers the blocks processed at once, for the forward pass the variant."""
    active = active_backend()
    rows = []
    for backend in backends():
        able = f"lacks {', '.join(backend.lacks)}" if backend.lacks else "usable"
        lanes = "1 lane" if backend.lanes == 1 else f"{backend.lanes} lanes"
        rows.append(
            (
                backend.name,
                f"{backend.name}, {lanes}",
                backend.ops or "none",
                "active" if backend == active else able,
            )
        )
    return Cells(("backend", "quantizers", "forward pass", "here"), rows)


def _cuda() -> list[Part]:
    support = cuda_support()
    if not support.devices:
        return [f"CUDA: no; {support.problem}"]
    rows = [
        (
            *(device.name, device.model, device.capability),
            bytes_as_text(device.memory),
            "usable" if device.usable else "not in the CUDA library",
        )
        for device in support.devices
    ]
    head = ("device", "model", "capability", ">memory", "here")
    return [Cells(head, rows), f"CUDA library: {support.library} ({support.version})"]


def backends_dict() -> dict[str, Any]:
    """The same for JSON."""
    return {
        "active": active_backend().name,
        "backends": [asdict(backend) for backend in backends()],
        "cuda": asdict(cuda_support()),
    }
