"""Heads of the gated delta rule, in the order of GGUF.

Several value heads share a query and key head.  Checkpoints of Qwen 3.5 have them side
by side: a0 a1 a2 b0 b1 b2.  Its GGUF readers repeat the query and key heads as a whole,
so value heads go round: a0 b0 a1 b1 a2 b2 (ggml-org/llama.cpp#19468).

Qwen 3 Next has a fused projection in which each key head is followed by what belongs
to it: its query, key, values and gates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import CheckpointError
from ..forward.base import Config
from .config import require_setting, required

__all__ = ["DeltaHeads", "check_delta_heads"]

Index = NDArray[np.intp]


@dataclass(frozen=True)
class DeltaHeads:
    """The heads of a delta layer.

    Attributes:
        n_keys, n_values: the number of key heads and value heads.
        key_size, value_size: the size of a head.
    """

    n_keys: int
    n_values: int
    key_size: int
    value_size: int

    @classmethod
    def of(cls, config: Config) -> DeltaHeads:
        """The heads that a config states.

        Raises:
            CheckpointError: value heads cannot share key heads evenly.
        """
        n_keys, n_values, key_size, value_size = (
            int(required(config, f"linear_{key}"))
            for key in (
                "num_key_heads",
                "num_value_heads",
                "key_head_dim",
                "value_head_dim",
            )
        )
        if n_values % n_keys:
            raise CheckpointError(
                f"config.json: linear_num_value_heads is {n_values}; expected a "
                f"multiple of linear_num_key_heads, which is {n_keys}"
            )
        return cls(n_keys, n_values, key_size, value_size)

    @property
    def key_columns(self) -> int:
        """The width of all keys."""
        return self.n_keys * self.key_size

    def check(self, source: str, part: str, shape: tuple[int, ...]) -> None:
        """Refuse a tensor of a delta layer that is not of these heads.

        Args:
            source: its name in the checkpoint.
            part: the end of the name, after "linear_attn.".
            shape: of the tensor.

        Raises:
            CheckpointError: it has another size.
        """
        values = self.n_values * self.value_size
        channels = 2 * self.key_columns + values
        module = part.partition(".")[0]
        sizes = {
            "in_proj_qkv": channels,
            "conv1d": channels,
            "in_proj_z": values,
            "in_proj_qkvz": channels + values,
            "in_proj_ba": 2 * self.n_values,
            "out_proj": values,
            **dict.fromkeys(("in_proj_a", "in_proj_b"), self.n_values),
            **dict.fromkeys(("A_log", "dt_bias"), self.n_values),
        }
        found = shape[-1 if module == "out_proj" else 0] if shape else 0
        if module in sizes and found != sizes[module]:
            raise CheckpointError(
                f"the checkpoint's {source!r} has the shape {list(shape)}; by the "
                f"heads in config.json (linear_num_key_heads {self.n_keys}, "
                f"linear_num_value_heads {self.n_values}) expected {sizes[module]} "
                f"{'columns' if module == 'out_proj' else 'rows'}; they are of "
                "different models"
            )

    def round_values(self, size: int) -> Index:
        """Where GGUF's values are in the checkpoint, `size` numbers for each head."""
        grouped = np.arange(self.n_values * size).reshape(self.n_keys, -1, size)
        index: Index = grouped.swapaxes(0, 1).ravel()
        return index

    def round_channels(self) -> Index:
        """The same for queries, keys and values together; only values move."""
        before = 2 * self.key_columns
        values = self.round_values(self.value_size)
        return np.concatenate([np.arange(before), before + values])

    def unfused(self) -> tuple[Index, Index]:
        """Where queries, keys and values, and gates, are in the fused projection."""
        own = self.n_values // self.n_keys * self.value_size
        parts = np.split(
            np.arange(2 * (self.key_columns + self.n_keys * own)).reshape(
                self.n_keys, -1
            ),
            np.cumsum([self.key_size, self.key_size, own]),
            axis=1,
        )
        *mixed, gates = (part.ravel() for part in parts)
        return np.concatenate(mixed), gates


def check_delta_heads(config: Config) -> None:
    """Refuse heads that GGUF readers do not support.

    Raises:
        CheckpointError: value heads cannot share key heads evenly.
        UnsupportedModelError: the sizes of keys and values differ.
    """
    heads = DeltaHeads.of(config)
    require_setting(config, "linear_value_head_dim", heads.key_size)
