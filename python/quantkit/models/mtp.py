"""Layers of a checkpoint that predict further tokens, under the names of Qwen: `mtp.*`.

GGUF has them after the model's layers, with `nextn_predict_layers` for their number.
"""

from __future__ import annotations

import re

from ..checkpoint.lazy import LazyTensor
from ..errors import CheckpointError
from ..forward.base import Config
from .family import Tensors
from .next_predictors import PREDICTOR

__all__ = ["MTP", "PREDICTORS", "in_all_layers", "in_layers", "n_predictors"]

PREDICTORS = "n_predictors"
"""The key of their number in a complete config; the checkpoint has none."""

STATED = "mtp_num_hidden_layers"
START = re.compile(r"(model\.)?(language_model\.)?mtp\.")
LAYER = re.compile(r"layers\.(?P<number>\d{1,9})\.(?P<rest>.+)")
MTP = {
    "mtp.fc": PREDICTOR["eh_proj"],
    "mtp.pre_fc_norm_embedding": PREDICTOR["enorm"],
    "mtp.pre_fc_norm_hidden": PREDICTOR["hnorm"],
    "mtp.norm": PREDICTOR["shared_head.norm"],
}
"""Modules outside of their layers, which belong to the first one -> GGUF name."""


def n_predictors(config: Config, stored: Tensors) -> int:
    """The number of layers that predict further tokens.

    A checkpoint without such tensors has none, whatever its config says: training tools
    leave them out.

    Raises:
        CheckpointError: the checkpoint has other layers than the config says.
    """
    rests = [name[m.end() :] for name in stored if (m := START.match(name))]
    numbers = {int(match["number"]) for rest in rests if (match := LAYER.match(rest))}
    if not rests:
        return 0
    expected = set(range(config.get(STATED) or len(numbers)))
    if numbers != expected or not numbers:
        raise CheckpointError(
            f"the checkpoint has tensors of {len(numbers)} layers that predict further "
            f"tokens (mtp.*), but config.json has {STATED}: {config.get(STATED)}; "
            "a shard is missing, or one of them is of another model"
        )
    return len(numbers)


def in_layers(stored: Tensors, n_layers: int, n_blocks: int) -> dict[str, LazyTensor]:
    """The tensors, those of predicting layers under the names of further layers.

    Args:
        stored: the checkpoint's tensors by name.
        n_layers: the number of layers without them.
        n_blocks: the number of layers with them.
    """
    if n_layers == n_blocks:
        return dict(stored)
    return {_renamed(name, n_layers): tensor for name, tensor in stored.items()}


def _renamed(name: str, n_layers: int) -> str:
    start = START.match(name)
    if start is None:
        return name
    rest = name[start.end() :]
    if match := LAYER.fullmatch(rest):
        return f"model.layers.{n_layers + int(match['number'])}.{match['rest']}"
    return f"model.layers.{n_layers}.mtp.{rest}"


def in_all_layers(
    stored: Tensors, n_layers: int, n_blocks: int, *, shared: bool = False
) -> dict[str, LazyTensor]:
    """The same for EXAONE, where each predicting layer has what is outside of them.

    Args:
        stored, n_layers, n_blocks: as for `in_layers`.
        shared: whether one stored layer is all of them.
    """
    new: dict[str, LazyTensor] = {}
    for name, tensor in stored.items():
        start = START.match(name)
        if start is None:
            new[name] = tensor
            continue
        rest, numbers = name[start.end() :], range(n_layers, n_blocks)
        if match := LAYER.fullmatch(rest):
            number, rest = n_layers + int(match["number"]), match["rest"]
            numbers = numbers if shared else range(number, number + 1)
        else:
            rest = f"mtp.{rest}"
        new |= {f"model.layers.{number}.{rest}": tensor for number in numbers}
    return new
