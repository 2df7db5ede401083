"""The CUDA library as functions over arrays in device memory.

A device array is any object with `__cuda_array_interface__`: CuPy's, PyTorch's.  Every
function checks what its arrays hold, as those of `_native` do.  Nothing is loaded
before a device is asked for.
"""

from .arguments import (
    BYTE,
    DOUBLE,
    FLOAT,
    HALF,
    INT32,
    TOKEN,
    TURN,
    CType,
    memory,
    optional,
    read,
    shape_of,
    strided,
    written,
)
from .calling import call, queue, synchronize, wait_for_producer
from .card import Card, Event
from .codes import Codes, matmul, pack_activations
from .cublas import Products
from .cupy_arrays import cupy_module, device_errors
from .environment import refuse_environment
from .interface import View, has_interface, view_of
from .loading import LIBRARY_VARIABLE, Library, library, library_path
from .naming import CPU, device_name, parse_device
from .opening import open_cards
from .operations import (
    activate,
    add_logits,
    attend,
    best_logits,
    compare_logits,
    index_scores,
    norm_rows,
    recur,
    rotate,
    selective_scan,
    short_convolution,
    soft_cap,
    swiglu_clamped,
    wkv7,
)
from .owners import Owner, owner_of
from .pipes import dequantize_host_rows, kept_pipes, quantize_host_rows
from .rows import dequantize_rows, quantize_rows
from .solving import solve_host_rows
from .statuses import check_status, check_type
from .summing import DeviceSums
from .support import (
    CudaSupport,
    Device,
    chosen_device,
    cuda_support,
    device_in_use,
    devices,
    usable_device,
)

__all__ = [
    "BYTE",
    "CPU",
    "DOUBLE",
    "FLOAT",
    "HALF",
    "INT32",
    "LIBRARY_VARIABLE",
    "TOKEN",
    "TURN",
    "CType",
    "Card",
    "Codes",
    "CudaSupport",
    "Device",
    "DeviceSums",
    "Event",
    "Library",
    "Owner",
    "Products",
    "View",
    "activate",
    "add_logits",
    "attend",
    "best_logits",
    "call",
    "check_status",
    "check_type",
    "chosen_device",
    "compare_logits",
    "cuda_support",
    "cupy_module",
    "dequantize_host_rows",
    "dequantize_rows",
    "device_errors",
    "device_in_use",
    "device_name",
    "devices",
    "has_interface",
    "index_scores",
    "kept_pipes",
    "library",
    "library_path",
    "matmul",
    "memory",
    "norm_rows",
    "open_cards",
    "optional",
    "owner_of",
    "pack_activations",
    "parse_device",
    "quantize_host_rows",
    "quantize_rows",
    "queue",
    "read",
    "recur",
    "refuse_environment",
    "rotate",
    "selective_scan",
    "shape_of",
    "short_convolution",
    "soft_cap",
    "solve_host_rows",
    "strided",
    "swiglu_clamped",
    "synchronize",
    "usable_device",
    "view_of",
    "wait_for_producer",
    "wkv7",
    "written",
]
