"""compressed-tensors checkpoints, as llm-compressor writes them.

    packed  X.weight_packed int32 [rows, words], codes of 1 to 8 bits along the columns
            X.weight_scale [rows, groups], X.weight_shape
            X.weight_zero_point int32 [words, groups], packed along the rows
            X.weight_g_idx [columns], the group of each column
    plain   X.weight int8 or F8_E4M3, X.weight_scale, X.weight_zero_point int8
    MXFP4   X.weight_packed uint8, X.weight_scale uint8: see mxfp4.py
    NVFP4   X.weight_packed uint8, X.weight_scale F8_E4M3, X.weight_global_scale, by
            which scales are divided: see nvfp4.py

Zero points exist if the weights are not symmetric, `g_idx` if the groups are not in
order.  Codes and zero points of b bits are stored plus 2**(b - 1).

Source: compressed-tensors 0.20 (compressors/pack_quantized,
compressors/naive_quantized, quantization/lifecycle/forward_helpers.py).  In older
versions no code spans two words; the number of words distinguishes them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import (
    CheckpointError,
    FormatError,
    UnsupportedModelError,
    UnsupportedTypeError,
)
from ...patterns import compiled, searched
from ..stored import CheckpointTensor, DequantizedTensor, Rows
from .grouped import GroupedWeight
from .mxfp4 import mxfp4_tensor
from .nvfp4 import nvfp4_tensor
from .packing import WORD_BITS, fields, words_for
from .parts import Parts, expect_dtype, expect_matrix, expect_shape
from .scaled import scaled
from .settings import (
    block_setting,
    entries,
    number_setting,
    section,
    text_setting,
)

__all__ = ["compressed_tensors"]

Scheme = Mapping[str, Any]

FORMATS = (
    "dense",
    "float-quantized",
    "int-quantized",
    "mixed-precision",
    "mxfp4-pack-quantized",
    "mxfp8-quantized",
    "naive-quantized",
    "nvfp4-pack-quantized",
    "pack-quantized",
)
OFFLINE = ("weight_input", "weight_output")
"""Locations of rotations that are already applied to the stored weights."""


def compressed_tensors(config: Mapping[str, Any], parts: Parts) -> list[GroupedWeight]:
    """Assemble the weights; return those in the packed format.

    Raises:
        CheckpointError: a tensor is missing or does not fit.
        UnsupportedModelError: the checkpoint has another format.
    """
    _refuse_others(config)
    groups = _config_groups(config)
    parts.drop_scales_of_activations()
    grouped = []
    for base, _ in parts.ending(".weight_packed"):
        packed = parts.take(f"{base}.weight_packed", f"{base}.weight")
        if packed.dtype == "I32":
            grouped.append(_packed(base, packed, _scheme(groups, base), parts))
        else:
            parts.in_place[packed.name] = _four_bit_floats(base, packed, parts)
    for base, _ in parts.ending(".weight_scale"):
        if f"{base}.weight_scale" not in parts.used:
            _plain(base, _scheme(groups, base), parts)
    return grouped


def _refuse_others(config: Mapping[str, Any]) -> None:
    """Refuse formats and rotations that quantkit would read wrongly.

    Raises:
        UnsupportedModelError: the message names the format or rotation.
    """
    said = (config, section(config, "sparsity_config"), *_config_groups(config))
    found = {text_setting(part, "format", default="dense") for part in said}
    for name in sorted(found.difference(FORMATS)):
        raise UnsupportedModelError(
            f"the checkpoint has the compressed-tensors format {name!r}; quantkit "
            f"reads {', '.join(FORMATS)}: use the checkpoint that it was made from"
        )
    for group in _config_groups(section(config, "transform_config")):
        for rotation in entries(group, "apply", dict):
            if rotation.get("location") not in OFFLINE:
                raise UnsupportedModelError(
                    "the checkpoint rotates activations at run time "
                    f"({rotation.get('location')!r} in transform_config), which GGUF "
                    "does not support; use the checkpoint that it was made from"
                )


def _config_groups(config: Scheme) -> list[Scheme]:
    """The groups of layers with the same settings in a config."""
    groups = section(config, "config_groups")
    return [section(groups, name) for name in groups]


def _scheme(groups: list[Scheme], module: str) -> Scheme:
    """The settings of a module's weights; its name precedes its class.

    Raises:
        CheckpointError: the config has no settings for it.
    """
    targets = [(g, entries(g, "targets", str)) for g in groups]
    named = [g for g, names in targets if any(_names(t, module) for t in names)]
    other = [g for g, names in targets if len(groups) == 1 or "Linear" in names]
    weights: Scheme = section(next(iter(named + other), {}), "weights")
    if not weights:
        raise CheckpointError(
            f"config.json does not say how {module!r} is quantized: no entry of "
            "config_groups has it as a target; download config.json again"
        )
    return weights


def _names(target: str, module: str) -> bool:
    if target.startswith("re:"):
        pattern = compiled(target.removeprefix("re:"), error=FormatError)
        found = searched(pattern, module, FormatError)
        return found is not None and found.start() == 0
    return target == module


def _plain(base: str, scheme: Scheme, parts: Parts) -> None:
    """Assemble a weight with one byte per code."""
    name = f"{base}.weight"
    if f"{name}_shape" in parts.stored:
        parts.take(f"{name}_packed", name)
    weight, scale = parts.take(name, name), parts.take(f"{name}_scale", name)
    zero = parts.find(f"{name}_zero_point")
    expect_dtype(weight, "I8", "F8_E4M3")
    block = block_setting(scheme, "block_structure")
    parts.in_place[name] = scaled(weight, scale, block, zero)


def _four_bit_floats(
    base: str, packed: CheckpointTensor, parts: Parts
) -> DequantizedTensor:
    """MXFP4 or NVFP4, depending on the type of the scales."""
    name = f"{base}.weight"
    scale = parts.take(f"{name}_scale", name)
    if scale.dtype != "F8_E4M3":
        return mxfp4_tensor(name, packed, scale)
    if f"{name}_zero_point" in parts.stored:
        raise UnsupportedTypeError(
            f"tensor {packed.name!r} has 4-bit floats with zero points; quantkit reads "
            "symmetric ones: use the checkpoint that it was made from"
        )
    whole = parts.take(f"{name}_global_scale", name)
    inputs = parts.find(f"{base}.input_global_scale")
    return nvfp4_tensor(name, packed, scale, whole, divides=True, inputs=inputs)


def _packed(
    base: str, packed: CheckpointTensor, scheme: Scheme, parts: Parts
) -> GroupedWeight:
    name = f"{base}.weight"
    scale = parts.take(f"{name}_scale", name)
    sides = parts.take(f"{name}_shape", name)
    expect_dtype(sides, "I64", "I32")
    shape = tuple(map(int, sides.numbers.ravel()))
    bits = number_setting(scheme, "num_bits", default=0)
    if not 1 <= bits <= 8 or len(shape) != 2:
        raise UnsupportedModelError(
            f"tensor {packed.name!r} has {bits} bits and the shape {list(shape)}; "
            "quantkit reads packed matrices of 1 to 8 bits"
        )
    n_rows, n_cols = shape
    because = f"for the shape {list(shape)} of {name!r}"
    _, n_words = expect_matrix(packed)
    _, n_groups = expect_matrix(scale)
    expect_shape(packed, (n_rows, n_words), because)
    expect_shape(scale, (n_rows, n_groups), because)
    starts = _starts(packed, n_cols, n_words, bits)
    return GroupedWeight(
        name=name,
        shape=shape,
        bits=bits,
        group=_groups(name, n_cols, scale, parts),
        codes=lambda rows: fields(packed.numbers[rows], starts, bits),
        scales=scale.floats,
        zeros=_zeros(name, n_rows, scale, bits, parts),
        sources=(packed, scale),
    )


def _starts(
    packed: CheckpointTensor, n_fields: int, n_words: int, bits: int
) -> NDArray[np.intp]:
    """The bit at which each packed integer starts."""
    per_word = WORD_BITS // bits
    if n_words not in (words_for(n_fields, bits), -(-n_fields // per_word)):
        raise CheckpointError(
            f"tensor {packed.name!r} has shape {list(packed.shape)}; expected "
            f"{words_for(n_fields, bits)} words for {n_fields} codes of {bits} bits"
        )
    field = np.arange(n_fields)
    if n_words == words_for(n_fields, bits):
        return field * bits
    return field // per_word * WORD_BITS + field % per_word * bits


def _groups(
    name: str, n_cols: int, scale: CheckpointTensor, parts: Parts
) -> NDArray[np.integer[Any]]:
    """The group of each column: stored, or else in order."""
    n_groups = scale.shape[-1]
    g_idx = parts.find(f"{name}_g_idx")
    if g_idx is not None and (g_idx.numbers >= 0).all():  # -1: not filled in
        expect_shape(g_idx, (n_cols,), f"for the columns of {name!r}")
        if (g_idx.numbers >= n_groups).any():
            raise CheckpointError(
                f"tensor {g_idx.name!r} has a group that {scale.name!r} lacks; it "
                f"has {n_groups}; download the checkpoint again"
            )
        return np.array(g_idx.numbers[0])
    if n_cols % n_groups:
        raise CheckpointError(
            f"tensor {scale.name!r} has {n_groups} groups, which {n_cols} columns of "
            f"{name!r} do not fill; download the checkpoint again"
        )
    return np.repeat(np.arange(n_groups), n_cols // n_groups)


def _zeros(
    name: str, n_rows: int, scale: CheckpointTensor, bits: int, parts: Parts
) -> Callable[[Rows], NDArray[np.int16]] | int:
    """The zero points: the middle of the codes, or packed along the rows."""
    zero = parts.find(f"{name}_zero_point")
    middle: int = 2 ** (bits - 1)
    if zero is None:
        return middle
    if zero.dtype == "I8":  # older versions did not pack them
        expect_shape(zero, scale.shape, f"as {scale.name!r} has")
        return lambda rows: zero.numbers[rows].astype(np.int16) + np.int16(middle)
    expect_dtype(zero, "I32")
    n_words, _ = expect_matrix(zero)
    expect_shape(zero, (n_words, scale.shape[-1]), f"for {scale.name!r}")
    starts = _starts(zero, n_rows, n_words, bits)
    return lambda rows: fields(zero.numbers.T, starts[rows], bits).T
