"""Bamba: Mamba-2 in most layers, and attention that rotates half of each head.

GGUF has it as a Granite 4 without scales.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..checkpoint.lazy import LazyTensor, taken
from ..errors import CheckpointError, UnsupportedModelError
from ..forward.base import Config
from ..gguf.keys import Field, boolean, uint32
from .config import head_size, n_layers, require_setting, required
from .family import SILU, Family, Named
from .granite_moe import ATTENTION, SPACE, GraniteHybrid
from .space_tensors import (
    SPACE_LAYER,
    SPACE_TENSORS,
    UNBOUNDED,
    as_stored,
    mamba2_names,
)

__all__ = ["Bamba"]

ROTATED = "attn_rotary_emb"
SHARE = 0.5
"""How much of a head rotates, if the config does not tell."""


class Bamba(GraniteHybrid):
    """The architecture that llama.cpp calls `granitehybrid`, without scales."""

    hf_classes = ("BambaForCausalLM",)
    defaults: ClassVar = {
        "rms_norm_eps": 1e-5,
        "max_position_embeddings": 262144,
        "num_key_value_heads": 8,
        "mamba_n_heads": 128,
        "mamba_n_groups": 1,
        "mamba_d_state": 256,
        "mamba_d_conv": 4,
        "mamba_expand": 2,
    }
    assumed: ClassVar = {**SILU, "time_step_limit": UNBOUNDED}
    rope_types = ("default",)
    rotates_partly = True
    outer: ClassVar = SPACE_TENSORS
    inner: ClassVar = {**SPACE_LAYER, **mamba2_names("mamba")}

    @classmethod
    def suits(cls, config: Config) -> bool:
        """Whether a config of the class is of this architecture."""
        return True

    def complete(self, config: Config) -> dict[str, Any]:
        """The config, with missing keys set, and with the kinds of layers."""
        whole = Family.complete(self, config)
        whole.pop("head_dim", None)
        if not whole.get("layer_types"):
            attends = _attending(whole)
            whole["layer_types"] = [
                ATTENTION[0] if layer in attends else SPACE[0]
                for layer in range(n_layers(whole))
            ]
        return whole

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            UnsupportedModelError: all layers have attention, or none has; or two keys
                for one setting have different values.
        """
        super().check_settings(config)
        rope = config.get("rope_parameters") or {}
        share = rope.get("partial_rotary_factor")
        if ROTATED in config and share is not None:
            rotated = int(head_size(config) * share)
            require_setting(config, ROTATED, None, rotated)
        if len({kind in ATTENTION for kind in config["layer_types"]}) != 2:
            raise UnsupportedModelError(
                "config.json: attn_layer_indices names all layers, or none; GGUF "
                "readers support only Bamba models with both kinds"
            )

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        fields = super().hyperparameters(config, file_type)
        fields["context_length"] = uint32(required(config, "max_position_embeddings"))
        fields["rope.dimension_count"] = uint32(_rotated(config))
        fields["rope.scaling.finetuned"] = boolean(True)
        return fields

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensor of a checkpoint tensor; rows that rotate are permuted."""
        if ".mamba." in source:
            tensor = as_stored(source, tensor, required(config, "mamba_n_groups"))
        module = source.rpartition(".")[0]
        if module.endswith((".q_proj", ".k_proj")):
            tensor = taken(tensor, _rotated_first(source, tensor, config))
        yield self.gguf_name(source, config), tensor


def _attending(config: Config) -> set[int]:
    """The layers with attention."""
    if config.get("attn_layer_indices"):
        return set(config["attn_layer_indices"])
    period, offset = (config.get(f"attn_layer_{key}") for key in ("period", "offset"))
    if period is None or offset is None:
        return set()
    return {layer for layer in range(n_layers(config)) if layer % period == offset}


def _rotated(config: Config) -> int:
    """How many components of a head rotate."""
    if config.get(ROTATED):
        return int(config[ROTATED])
    share = (config.get("rope_parameters") or {}).get("partial_rotary_factor")
    return int(head_size(config) * (SHARE if share is None else share))


def _rotated_first(source: str, tensor: LazyTensor, config: Config) -> NDArray[np.intp]:
    """The row order that puts components that rotate together side by side.

    Raises:
        CheckpointError: the rows do not form heads of which so much rotates.
    """
    size, n_rotated, n_rows = head_size(config), _rotated(config), tensor.shape[0]
    if n_rows % size or n_rotated > size or n_rotated % 2:
        raise CheckpointError(
            f"{source!r} has {n_rows} rows; expected heads of {size} by config.json, "
            f"of which {n_rotated} rotate"
        )
    rows = np.arange(n_rows, dtype=np.intp).reshape(-1, size)
    halves = rows[:, :n_rotated].reshape(len(rows), 2, -1).swapaxes(1, 2)
    rows[:, :n_rotated] = halves.reshape(len(rows), -1).copy()
    return rows.ravel()
