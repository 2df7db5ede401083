"""The tensors of Mamba and Mamba-2 layers, as GGUF has them."""

from __future__ import annotations

import math

from ..checkpoint.lazy import LazyTensor, reshaped
from ..checkpoint.lazy_functions import decay_rates
from .family import DECODER_LAYER, DECODER_TENSORS

__all__ = [
    "ARBITRARY_CONTEXT",
    "BARE",
    "SPACE_LAYER",
    "SPACE_TENSORS",
    "UNBOUNDED",
    "as_stored",
    "mamba2_names",
    "mamba_names",
]

UNBOUNDED = ([0.0, math.inf], [0.0, {"__float__": "Infinity"}])
"""A `time_step_limit` without effect, as JSON and as transformers 5 writes it."""

ARBITRARY_CONTEXT = 1 << 20
"""The context that llama.cpp's converter writes, since states have no limit."""

RATES, SKIP = "A_log", "D"
BARE = (f".{RATES}", f".{SKIP}")
"""Ends of the names of tensors whose GGUF names have no kind, such as `ssm_a`."""


SPACE_TENSORS = {
    **{k: v for k, v in DECODER_TENSORS.items() if k != "model.norm"},
    "model.final_layernorm": "output_norm",
}
SPACE_LAYER = {
    **{k: v for k, v in DECODER_LAYER.items() if k.startswith("self_attn.")},
    "input_layernorm": "attn_norm",
    "pre_ff_layernorm": "ffn_norm",
    "feed_forward.gate_proj": "ffn_gate",
    "feed_forward.up_proj": "ffn_up",
    "feed_forward.down_proj": "ffn_down",
}
"""The modules of Jamba, Bamba and Falcon-H1 beside Mamba's, and their GGUF names."""

SHARED = {
    "in_proj": "ssm_in",
    "conv1d": "ssm_conv1d",
    RATES: "ssm_a",
    SKIP: "ssm_d",
    "out_proj": "ssm_out",
}


def mamba_names(before: str) -> dict[str, str]:
    """GGUF's names of a Mamba layer's modules, which are inside `before`."""
    names = SHARED | {"x_proj": "ssm_x", "dt_proj": "ssm_dt"}
    return {f"{before}.{module}": name for module, name in names.items()}


def mamba2_names(before: str) -> dict[str, str]:
    """The same of a Mamba-2 layer."""
    names = SHARED | {"dt": "ssm_dt", "norm": "ssm_norm"}
    return {f"{before}.{module}": name for module, name in names.items()}


def as_stored(source: str, tensor: LazyTensor, groups: int | None) -> LazyTensor:
    """A tensor of a layer with the values and the shape that GGUF readers expect.

    The convolution's taps lose an axis, rates become -exp of the stored logarithms.

    Args:
        source: the name of the checkpoint tensor.
        tensor: the tensor.
        groups: of Mamba-2's norm; None: the layer is of Mamba, whose channels have no
            heads.

    Raises:
        CheckpointError: its weights do not form `groups` groups.
    """
    if source.endswith(f".{RATES}"):
        tensor = decay_rates(tensor)
    if source.endswith("conv1d.weight") and len(tensor.shape) == 3:
        return reshaped(tensor, (tensor.shape[0], tensor.shape[2]))
    if groups is None:
        return tensor
    if source.endswith(BARE):
        return reshaped(tensor, (tensor.shape[0], 1))
    if source.endswith(".norm.weight"):
        return reshaped(tensor, (groups, tensor.shape[0] // groups))
    return tensor
