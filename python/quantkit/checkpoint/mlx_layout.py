"""Checkpoints that MLX wrote: from its names and shapes to those of Hugging Face.

MLX stacks the matrices of experts, splits fused ones, moves the taps of convolutions to
another axis, and adds 1 to the weights of some norms; see mlx_types.py.

Source: mlx-lm 0.32 (`sanitize` of each file in mlx_lm/models).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import CheckpointError, UnsupportedModelError
from ..settings import shown
from ..types import QuantType
from .lazy import Bytes, Index, LazyTensor, reshaped, transposed
from .lazy_functions import as_floats, plus
from .lazy_rows import by_rows
from .mlx_experts import with_experts
from .mlx_types import RULES
from .stored import StoredTensor

__all__ = ["as_original", "is_of_mlx"]

STACKED = (".switch_mlp.", ".switch_glu.")
CONVOLUTION = re.compile(r".*(\b|_)(conv1d|conv\.conv)\.weight")
NORMS = re.compile(
    r".*(\.(input_layernorm|post_attention_layernorm|q_norm|k_norm)|model\.norm)"
    r"\.weight"
)
KEYS, VALUES = ".embed_q.weight", ".unembed_out.weight"

Tensors = Mapping[str, LazyTensor]


@dataclass(frozen=True, eq=False)
class _Named:
    """A tensor under the name that the original has."""

    name: str
    of: LazyTensor

    @property
    def shape(self) -> tuple[int, ...]:
        return self.of.shape

    @property
    def type(self) -> QuantType:
        return self.of.type

    def rows(self, start: int, stop: int) -> Bytes:
        return self.of.rows(start, stop)

    def pick(self, index: Index) -> Bytes:
        return self.of.pick(index)


def is_of_mlx(tensors: Tensors, method: object) -> bool:
    """Whether MLX wrote a checkpoint: it quantized it, or moved axes as only it does.

    Args:
        tensors: the checkpoint's tensors.
        method: the `quant_method` of its quantization config.
    """
    return method == "mlx" or any(
        any(part in name for part in STACKED) or _is_moved(name, tensor)
        for name, tensor in tensors.items()
    )


def as_original(
    config: Mapping[str, Any], tensors: Mapping[str, StoredTensor]
) -> Iterator[StoredTensor]:
    """The tensors of a checkpoint that MLX wrote, as the original has them.

    Raises:
        CheckpointError: tensors do not fit together.
        UnsupportedModelError: it is not known what MLX changes in this type of model.
    """
    kind = config.get("model_type")
    rules = RULES.get(kind) if isinstance(kind, str) else None
    if rules is None:
        raise UnsupportedModelError(
            f"MLX wrote the checkpoint, and config.json has model_type: {shown(kind)}; "
            "quantkit does not know what MLX changes in these models: use the "
            "checkpoint that it was made from"
        )
    made: Tensors = {_renamed(n, rules.early): tensor for n, tensor in tensors.items()}
    made = _with_taps_last(made, rules.norm_shift)
    made = with_experts(_with_latents(made), rules.experts)
    for name, tensor in made.items():
        yield _Named(_renamed(name, rules.renames), tensor)


def _renamed(name: str, renames: tuple[tuple[str, str], ...]) -> str:
    for old, new in renames:
        name = name.replace(old, new)
    return name


def _is_moved(name: str, tensor: LazyTensor) -> bool:
    """Whether a convolution is [channels, taps, 1]; else it is [channels, 1, taps]."""
    is_convolution = len(tensor.shape) == 3 and CONVOLUTION.fullmatch(name)
    return bool(is_convolution) and tensor.shape[1] > tensor.shape[2] == 1


def _with_taps_last(tensors: Tensors, norm_shift: float) -> Tensors:
    """Convolutions as [channels, 1, taps]; where MLX moved them, it changed norms."""
    has_any = any(CONVOLUTION.fullmatch(name) for name in tensors)
    if has_any and not any(_is_moved(name, tensor) for name, tensor in tensors.items()):
        return tensors
    made = {}
    for name, tensor in tensors.items():
        if _is_moved(name, tensor):
            n_channels, n_taps, _ = tensor.shape
            tensor = reshaped(tensor, (n_channels, 1, n_taps))
        elif norm_shift and NORMS.fullmatch(name) and len(tensor.shape) == 1:
            tensor = plus(as_floats(tensor), -norm_shift)
        made[name] = tensor
    return made


def _with_latents(tensors: Tensors) -> Tensors:
    """Latent attention with `kv_b_proj` [heads * (keys + values), latents].

    MLX has its keys [heads, latents, keys] and its values [heads, values, latents].

    Raises:
        CheckpointError: the two do not fit together.
    """
    made = {}
    for name, tensor in tensors.items():
        before = name.removesuffix(KEYS)
        if before == name:
            if not name.endswith(VALUES):
                made[name] = tensor
            continue
        values = tensors.get(before + VALUES)
        if values is None or len(tensor.shape) != 3:
            raise CheckpointError(
                f"the checkpoint has {name!r} {list(tensor.shape)}; expected a matrix "
                f"for each head, and {before + VALUES!r}: download it again"
            )
        keys = transposed(as_floats(tensor))
        both = by_rows(keys, as_floats(values), name)
        n_heads, n_rows, n_latents = both.shape
        made[f"{before}.kv_b_proj.weight"] = reshaped(
            both, (n_heads * n_rows, n_latents)
        )
    return made
