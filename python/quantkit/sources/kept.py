"""Keep the codes of NVFP4 weights, with their factors as tensors beside them.

Families move whole rows and blocks of columns, so codes can follow.  A weight whose
values a family computes with, or that it puts into one matrix with a weight of another
factor, becomes floats instead.

Source: llama.cpp's converter (`_generate_nvfp4_tensors` in conversion/base.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from ..checkpoint.kept import KeepableTensor, KeptTensor
from ..checkpoint.lazy import LazyTensor, computed
from ..checkpoint.stored import StoredTensor
from ..errors import UnsupportedTypeError
from ..models.family import Named
from ..types import QuantType

__all__ = ["refuse_16_bit_inputs", "with_kept_codes"]

TRIVIAL = 1e-6
"""Factors that are nearer to 1 are not written."""
W4A16 = "W4A16_NVFP4"
FACTORS = {".scale": "factor", ".input_scale": "input_factor"}


def refuse_16_bit_inputs(quantization: Mapping[str, Any]) -> None:
    """Refuse weights whose activations must not be quantized.

    llama.cpp quantizes them on some hardware, unless metadata that quantkit does not
    write forbids it.

    Raises:
        UnsupportedTypeError: the checkpoint has such weights.
    """
    layers = quantization.get("quantized_layers")
    own = layers.values() if isinstance(layers, dict) else ()
    for part in (quantization, *own):
        if isinstance(part, dict) and part.get("quant_algo") == W4A16:
            raise UnsupportedTypeError(
                f"the codes of NVFP4 weights should be kept, but those of {W4A16} are "
                "for activations of 16 bits; convert the checkpoint without that option"
            )


def with_kept_codes(
    tensors: Mapping[str, StoredTensor],
    mapped: Callable[[Mapping[str, LazyTensor]], Iterable[Named]],
    *,
    experts_last: bool = False,
) -> list[Named]:
    """The GGUF tensors of a checkpoint, first those with kept codes.

    Args:
        tensors: the checkpoint's.
        mapped: makes GGUF tensors of them.
        experts_last: write stacked matrices after the other kept codes, as llama.cpp's
            converter does where it does not find the number of experts.

    Raises:
        UnsupportedTypeError: no weight's codes can be kept.
    """
    codes = {
        name: kept
        for name, tensor in tensors.items()
        if isinstance(tensor, KeepableTensor) and (kept := tensor.keep()) is not None
    }
    while codes:
        made = dict(mapped({**tensors, **codes}))
        unfit = {leaf.name for name in made for leaf in _unfit(name, made)}
        if not unfit:
            return list(_ordered(made, experts_last=experts_last))
        codes = {name: kept for name, kept in codes.items() if name not in unfit}
    raise UnsupportedTypeError(
        "the codes of NVFP4 weights should be kept, but the checkpoint has none that "
        "GGUF's blocks hold; convert it without that option"
    )


def _leaves(tensor: object) -> list[KeptTensor]:
    """The kept codes that a lazy tensor reads, in order."""
    if isinstance(tensor, KeptTensor):
        return [tensor]
    if isinstance(tensor, tuple):
        return [leaf for each in tensor for leaf in _leaves(each)]
    if not is_dataclass(tensor):
        return []
    inside = (getattr(tensor, field.name) for field in fields(tensor))
    return [leaf for each in inside for leaf in _leaves(each)]


def _unfit(name: str, made: Mapping[str, LazyTensor]) -> list[KeptTensor]:
    """The weights of a GGUF tensor that have to become floats."""
    tensor = made[name]
    leaves = _leaves(tensor)
    if not leaves:
        return []
    is_taken = any(name.replace(".weight", end) in made for end in FACTORS)
    if tensor.type is not QuantType.NVFP4 or is_taken:
        return leaves
    is_stack = len(tensor.shape) == 3 and len(leaves) in (1, tensor.shape[0])
    factors = {(leaf.factor, leaf.input_factor) for leaf in leaves}
    return [] if is_stack or len(factors) == 1 else leaves


def _ordered(made: Mapping[str, LazyTensor], *, experts_last: bool) -> Iterator[Named]:
    """Kept codes and their factors, then all others."""
    kept = {name: leaves for name, t in made.items() if (leaves := _leaves(t))}
    last = {name for name in kept if experts_last and len(made[name].shape) == 3}
    for names in ([n for n in kept if n not in last], [n for n in kept if n in last]):
        for name in names:
            yield name, made[name]
            yield from _beside(name, made[name], kept[name])
    yield from ((name, tensor) for name, tensor in made.items() if name not in kept)


def _beside(name: str, tensor: LazyTensor, leaves: list[KeptTensor]) -> Iterator[Named]:
    """The factors of a GGUF tensor: one, or one for each of stacked matrices."""
    for end, attribute in FACTORS.items():
        numbers = np.array([getattr(leaf, attribute) for leaf in leaves], np.float32)
        if len(tensor.shape) == 3 and len(numbers) == 1:
            numbers = np.repeat(numbers, tensor.shape[0])
        elif len(tensor.shape) < 3:
            numbers = numbers[:1]
        if np.abs(numbers - 1).max() >= TRIVIAL:
            yield name.replace(".weight", end), computed(numbers)
