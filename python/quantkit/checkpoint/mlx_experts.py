"""The matrices of experts as checkpoints store them, from the stacked ones of MLX."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from ..errors import CheckpointError
from ..types import QuantType
from .lazy import LazyTensor, reshaped, taken, transposed
from .lazy_rows import by_rows
from .mlx_types import Experts

__all__ = ["with_experts"]

STACK = re.compile(
    r"(?P<before>.*)\.(?:switch_mlp|switch_glu|experts)"
    r"\.(?P<part>gate_proj|up_proj|down_proj)\.(?P<kind>weight|bias)"
)
DENSE = ("gate_proj.weight", "up_proj.weight", "down_proj.weight")
LETTERS = {"gate_proj": "w1", "down_proj": "w2", "up_proj": "w3"}

Tensors = Mapping[str, LazyTensor]


def with_experts(tensors: Tensors, kind: Experts) -> dict[str, LazyTensor]:
    """All tensors, with those of experts as the original stores them.

    Args:
        tensors: MLX's: X.switch_mlp.gate_proj.weight [experts, rows, columns], or
            switch_glu or experts instead of switch_mlp; up_proj and down_proj; biases
            [experts, rows].
        kind: how the original stores them.

    Raises:
        CheckpointError: gate and up matrices do not fit together.
    """
    made: dict[str, LazyTensor] = {}
    if kind == "stacked":
        return dict(tensors)
    if kind == "granite":
        tensors = _with_shared(tensors)
    for name, tensor in tensors.items():
        match = STACK.fullmatch(name)
        if match is None:
            made[name] = tensor
        elif kind in ("each", "lettered"):
            made |= _each(match, tensor, is_lettered=kind == "lettered")
        elif match["part"] == "down_proj":
            made[_fused_name(match, kind)] = _oriented(tensor, kind)
        elif match["part"] == "gate_proj":
            up = _partner(tensors, name)
            both = by_rows(tensor, up, name, alternate=kind == "alternating")
            made[_fused_name(match, kind)] = _oriented(both, kind)
    return made


def _partner(tensors: Tensors, gate: str) -> LazyTensor:
    """The up matrices that belong to gate matrices.

    Raises:
        CheckpointError: they are missing.
    """
    up = tensors.get(gate.replace("gate_proj", "up_proj"))
    if up is None:
        raise CheckpointError(
            f"the checkpoint has {gate!r} without the up matrices that belong to it; "
            "download it again"
        )
    return up


def _with_shared(tensors: Tensors) -> Tensors:
    """Granite's dense feed-forward parts, which the original calls shared experts.

    X.mlp.gate_proj and up_proj become X.shared_mlp.input_linear.

    Raises:
        CheckpointError: gate and up matrices do not fit together.
    """
    made: dict[str, LazyTensor] = {}
    for name, tensor in tensors.items():
        before, found, part = name.partition(".mlp.")
        if not found or part not in DENSE:
            made[name] = tensor
        elif part == "down_proj.weight":
            made[f"{before}.shared_mlp.output_linear.weight"] = tensor
        elif part == "gate_proj.weight":
            up = _partner(tensors, name)
            pair = [reshaped(x, (1, *x.shape)) for x in (tensor, up)]
            both = by_rows(pair[0], pair[1], name)
            whole = reshaped(both, both.shape[1:])
            made[f"{before}.shared_mlp.input_linear.weight"] = whole
    return made


def _each(
    match: re.Match[str], stack: LazyTensor, *, is_lettered: bool
) -> dict[str, LazyTensor]:
    part = LETTERS[match["part"]] if is_lettered else match["part"]
    return {
        f"{match['before']}.experts.{number}.{part}.{match['kind']}": reshaped(
            taken(stack, np.array([number])), stack.shape[1:]
        )
        for number in range(stack.shape[0])
    }


def _fused_name(match: re.Match[str], kind: Experts) -> str:
    before, is_down = match["before"], match["part"] == "down_proj"
    if kind == "granite":
        return f"{before}.{'output' if is_down else 'input'}_linear.weight"
    place = before if before.endswith(".experts") else f"{before}.experts"
    end = "" if match["kind"] == "weight" else "_bias"
    return f"{place}.{'down_proj' if is_down else 'gate_up_proj'}{end}"


def _oriented(tensor: LazyTensor, kind: Experts) -> LazyTensor:
    """A matrix with the axes that the original has."""
    is_turned = kind == "transposed" or (
        kind == "alternating" and tensor.type is not QuantType.MXFP4
    )
    return transposed(tensor) if is_turned and len(tensor.shape) == 3 else tensor
