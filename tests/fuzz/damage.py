"""Changes that make a valid model hostile: of JSON, metadata, tensors and texts."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantkit.gguf.keys import Field, ValueType, array, boolean, float32, string, uint32
from quantkit.types import QuantType

from .choices import Choices

__all__ = ["Tensor", "damaged_fields", "damaged_json", "damaged_tensors"]

Json = Any
Tensor = tuple[tuple[int, ...], QuantType, NDArray[np.uint8]]
MAX_CHANGES = 6

TEXTS = (
    *("", "x", "\x1b[31m", "[/b]", "<|x|>", "../../x", "a\0b", "x" * 5000, "0", "nan"),
    *("llama", "bpe", "linear", "yarn", "default", "F32", "BPE", "é", "\ud800"),
)
NUMBERS = (
    *(0, 1, -1, 2, 3, 5, 7, 8, 16, 33, 64, 255, 256, 1000, 0.5, -0.5, 1e-45, 1e308),
    *(2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**53, 2**63, 2**64, 10**30),
    *(float("nan"), float("inf"), float("-inf")),
)


def _nested(depth: int) -> Json:
    value: Json = 1
    for _ in range(depth):
        value = [value]
    return value


VALUES: tuple[Json, ...] = (
    *(None, True, False, [], {}, [[]], [None, None], {"x": {}}, [0] * 3, [1.5, "x"]),
    *(_nested(60), [1] * 300, {"": 0}, {"0": "x", "1": "y"}, [["a", 0.0], ["b", "c"]]),
    *NUMBERS,
    *TEXTS,
)


def damaged_json(value: Json, choices: Choices) -> Json:
    """A copy of a JSON value with up to `MAX_CHANGES` changes."""
    root = [copy.deepcopy(value)]
    for _ in range(MAX_CHANGES):
        if not choices.is_left:
            break
        parent, key = _place(root, choices)
        _change(parent, key, root, choices)
    return root[0]


def _place(root: list[Json], choices: Choices) -> tuple[Any, Any]:
    """A place in a JSON value: the list or object, and the index or key in it."""
    parent: Any = root
    key: Any = 0
    while isinstance(parent[key], list | dict) and parent[key] and choices.below(4):
        parent = parent[key]
        keys = list(parent) if isinstance(parent, dict) else range(len(parent))
        key = choices.pick(keys)
    return parent, key


def _change(parent: Any, key: Any, root: list[Json], choices: Choices) -> None:
    action = choices.below(6)
    if action == 0 and parent is not root:
        del parent[key]
    elif action == 1 and isinstance(parent, dict):
        parent[choices.pick(TEXTS)] = parent.pop(key)
    elif action == 2 and isinstance(parent, list) and parent is not root:
        parent.insert(key, copy.deepcopy(parent[key]))
    elif action == 3:
        other, at = _place(root, choices)
        parent[key] = copy.deepcopy(other[at])
    elif action == 4 and isinstance(parent[key], int | float):
        parent[key] = choices.pick(NUMBERS)
    else:
        parent[key] = copy.deepcopy(choices.pick(VALUES))


def _f32(*values: float) -> Field:
    return array(ValueType.FLOAT32, np.array(values, np.float32))


FIELDS: tuple[Field, ...] = (
    *(uint32(n) for n in (0, 1, 2, 3, 5, 16, 33, 255, 2**16, 2**31, 2**32 - 1)),
    *(float32(x) for x in (0.0, 1.0, -1.0, 1e-45, 3e38, float("nan"), float("inf"))),
    *(string(text) for text in TEXTS if text != "\ud800"),
    *(boolean(False), boolean(True)),
    *(Field(ValueType.INT32, n) for n in (-1, -(2**31))),
    *(Field(ValueType.UINT64, n) for n in (1, 2**63, 2**64 - 1)),
    *(_f32(), _f32(0.5), _f32(*[float("nan")] * 8), _f32(*[1.0] * 300)),
    array(ValueType.INT32, np.array([-1, 2**31 - 1], np.int32)),
    array(ValueType.INT32, np.full(300, 7, np.int32)),
    array(ValueType.UINT32, np.array([1, 2, 3], np.uint32)),
    array(ValueType.STRING, []),
    array(ValueType.STRING, ["a", "a", "", "a b", "\udcff"]),
    array(ValueType.BOOL, np.array([True, False, True])),
)


def damaged_fields(fields: dict[str, Field], choices: Choices) -> dict[str, Field]:
    """A copy of metadata with up to `MAX_CHANGES` changes."""
    changed = dict(fields)
    for _ in range(MAX_CHANGES):
        if not choices.is_left or not changed:
            break
        key = choices.pick(list(changed))
        action = choices.below(4)
        if action == 0:
            del changed[key]
        elif action == 1:
            changed[key] = changed[choices.pick(list(changed))]
        elif action == 2 and changed[key].type is ValueType.ARRAY:
            given = changed[key]
            n = choices.below(len(given.value) + 1)
            changed[key] = Field(given.type, list(given.value)[:n], given.item_type)
        else:
            changed[key] = choices.pick(FIELDS)
    return changed


def _shaped(shape: tuple[int, ...], type: QuantType = QuantType.F32) -> Tensor:
    """A tensor of zeros."""
    n_rows = int(np.prod(shape[:-1], dtype=np.int64))
    return shape, type, np.zeros((n_rows, type.row_bytes(shape[-1])), np.uint8)


RESHAPES: tuple[Callable[[tuple[int, ...]], tuple[int, ...]], ...] = (
    lambda shape: shape[::-1],
    lambda shape: (*shape[:-1], 1),
    lambda shape: (1, *shape[1:]),
    lambda shape: (*shape[:-1], shape[-1] * 2),
    lambda shape: (shape[0] + 1, *shape[1:]),
    lambda shape: (max(shape[0] - 1, 1), *shape[1:]),
    lambda shape: (*shape[:-1], max(shape[-1] // 2, 1)),
    lambda shape: (1, *shape),
    lambda shape: shape[1:] or (1,),
)
TYPES = (QuantType.F16, QuantType.BF16, QuantType.Q8_0, QuantType.I32, QuantType.F64)


def damaged_tensors(tensors: dict[str, Tensor], choices: Choices) -> dict[str, Tensor]:
    """A copy of tensors with up to `MAX_CHANGES` changes."""
    changed = dict(tensors)
    for _ in range(MAX_CHANGES):
        if not choices.is_left or not changed:
            break
        name = choices.pick(list(changed))
        shape, _, data = changed[name]
        action = choices.below(5)
        if action == 0:
            del changed[name]
        elif action == 1:
            changed[choices.pick(list(changed))] = changed[name]
        elif action == 2:
            type = choices.pick(TYPES)
            if shape[-1] % type.block_size == 0:
                changed[name] = _shaped(shape, type)
        elif action == 3:
            bad = choices.pick((0xFF, 0x7F, 0x80, 0))  # NaN, huge, -0 and 0
            changed[name] = (*changed[name][:2], np.full_like(data, bad))
        else:
            changed[name] = _shaped(choices.pick(RESHAPES)(shape))
    return changed
