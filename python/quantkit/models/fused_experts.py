"""Experts whose gate and up matrices a checkpoint stores as one tensor, or should."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from ..checkpoint.lazy import LazyTensor, stacked, taken
from ..checkpoint.lazy_rows import by_rows
from ..errors import CheckpointError

__all__ = ["split_gate_up", "with_fused_experts"]

EXPERT = re.compile(
    r"(?P<before>.*\.experts)\.(?P<number>\d{1,9})"
    r"\.(?P<part>gate_proj|up_proj|down_proj)\.weight"
)


def split_gate_up(tensor: LazyTensor) -> dict[str, LazyTensor]:
    """The gate and up matrices of a tensor [experts, 2 * inner, width], by module."""
    if len(tensor.shape) != 3:
        raise CheckpointError(
            f"a tensor of experts has the shape {list(tensor.shape)}; expected three "
            "axes: experts, rows and columns"
        )
    inner = tensor.shape[1] // 2
    starts = {"gate_proj": 0, "up_proj": inner}
    return {
        part: taken(tensor, np.arange(start, start + inner), axis=1)
        for part, start in starts.items()
    }


def with_fused_experts(stored: Mapping[str, LazyTensor]) -> dict[str, LazyTensor]:
    """The tensors, with experts that have matrices of their own as stacked ones.

    X.experts.N.gate_proj.weight and up_proj become X.experts.gate_up_proj [experts,
    2 * inner, width], and down_proj X.experts.down_proj [experts, width, inner].

    Raises:
        CheckpointError: a matrix is missing, or has another shape or type.
    """
    made: dict[str, LazyTensor] = {}
    experts: dict[str, dict[str, dict[int, LazyTensor]]] = {}
    for name, tensor in stored.items():
        if match := EXPERT.fullmatch(name):
            parts = experts.setdefault(match["before"], {})
            parts.setdefault(match["part"], {})[int(match["number"])] = tensor
        else:
            made[name] = tensor
    for before, parts in experts.items():
        stacks = {part: _stack(before, part, of) for part, of in parts.items()}
        if len(stacks) < 3 or len({stack.shape[0] for stack in stacks.values()}) > 1:
            found = ", ".join(f"{len(of)} {part}" for part, of in parts.items())
            raise CheckpointError(
                f"the checkpoint has {found} of {before!r}; a shard is missing"
            )
        gates, ups = stacks["gate_proj"], stacks["up_proj"]
        made[f"{before}.gate_up_proj"] = by_rows(gates, ups, f"{before}.N.gate_proj")
        made[f"{before}.down_proj"] = stacks["down_proj"]
    return made


def _stack(before: str, part: str, matrices: dict[int, LazyTensor]) -> LazyTensor:
    """The matrices of all experts, in order.

    Raises:
        CheckpointError: one is missing, or unlike the others.
    """
    ordered = [matrices.get(number) for number in range(len(matrices))]
    kinds = {(m.shape, m.type) if m is not None else None for m in ordered}
    present = [m for m in ordered if m is not None]
    if len(kinds) > 1 or len(present) < len(ordered):
        raise CheckpointError(
            f"the matrices {before}.N.{part} of {len(matrices)} experts are not all "
            "there, or differ in shape or type; a shard is missing"
        )
    return stacked(present)
