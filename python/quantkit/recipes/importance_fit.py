"""Say how far an importance matrix fits a model, and which tensors use it."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from .._native import uses_importance
from ..gguf.importance import Importance
from ..gguf.source import ModelSource
from .assign import Assignment
from .facts import layer_number
from .kept import kept_because

__all__ = ["is_used", "say_fit"]

_log = logging.getLogger(__name__)


def say_fit(importance: Importance | None, source: ModelSource) -> None:
    """Log a warning if importance does not fit all matrices in the model's layers.

    The embedding and the output head are not counted: most matrices lack them.
    """
    if importance is None:
        return
    arch = source.metadata.get("general.architecture")
    matrices = [
        tensor.name
        for tensor in source.tensors.values()
        if layer_number(tensor.name) >= 0
        and kept_because(str(arch and arch.value), tensor.name, tensor.shape) is None
    ]
    lacking = [name for name in matrices if name not in importance]
    strange = [name for name in importance if name not in source.tensors]
    said = []
    if lacking:
        said.append(
            f"importance is of {len(matrices) - len(lacking)} of the {len(matrices)} "
            f"matrices in layers; the others, such as {lacking[0]!r}, are quantized "
            "without it"
        )
    if strange:
        tensors = "tensor" if len(strange) == 1 else "tensors"
        said.append(
            f"importance is of {len(strange)} {tensors} that the model does not have, "
            f"such as {strange[0]!r}"
        )
    if said:
        _log.warning("%s; it may belong to another model", "; ".join(said))


def is_used(
    importance: Importance | None,
    source: ModelSource,
    assigned: Mapping[str, Assignment],
) -> bool:
    """Whether any tensor is quantized with importance; if none is, a warning says so.

    Some types, such as Q8_0, do not use it.
    """
    if importance is None:
        return False
    for name, assignment in assigned.items():
        is_changed = assignment.type is not source.tensors[name].type
        if is_changed and name in importance and uses_importance(assignment.type):
            return True
    _log.warning(
        "`importance` has no effect: no tensor that has importance gets a type that "
        "uses it"
    )
    return False
