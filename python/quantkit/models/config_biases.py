"""Config flags for biases, which must agree with the stored tensors."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..errors import CheckpointError
from ..forward.base import Config

__all__ = ["check_biases"]

ATTENTION = re.compile(
    r"\.(q_proj|k_proj|v_proj|qkv_proj|W_pack|wqkv|query_key_value)\.bias"
)
FEED_FORWARD = re.compile(r"\.mlp\.\w+\.bias")
EITHER = re.compile(f"{ATTENTION.pattern}|{FEED_FORWARD.pattern}")

# Config key -> the names of the biases that it is about.
FLAGS = {
    "attention_bias": ATTENTION,
    "qkv_bias": ATTENTION,
    "use_qkv_bias": ATTENTION,
    "mlp_bias": FEED_FORWARD,
    "use_bias": EITHER,
    "bias": EITHER,
}


def check_biases(config: Config, names: Iterable[str]) -> None:
    """Refuse a checkpoint whose biases are not those that the config tells.

    transformers follows the config, and llama.cpp the stored tensors.

    Args:
        config: as it is in config.json, without the defaults of its class.
        names: the checkpoint's tensors.

    Raises:
        CheckpointError: biases are stored but switched off, or the reverse.
    """
    biases = [name for name in names if name.endswith(".bias")]
    for key, pattern in FLAGS.items():
        stated = config.get(key)
        found = next(filter(pattern.search, biases), None)
        if stated is False and found:
            raise CheckpointError(
                f"config.json: {key} is False, but the checkpoint has {found!r}; "
                "transformers ignores the tensor, llama.cpp adds it: remove one of them"
            )
        if stated is True and not found:
            raise CheckpointError(
                f"config.json: {key} is True, but the checkpoint has no such biases; a "
                "shard is missing"
            )
