"""The config that the tensors of a checkpoint of MLX have, once they are renamed.

MLX leaves config.json as it is, even where it has done to the weights what a setting
asks for, or has left out the layers that one counts.

Source: mlx-lm 0.32 (`sanitize` of each file in mlx_lm/models).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import UnsupportedModelError
from ..settings import shown

__all__ = ["config_of_original"]

LAYER = re.compile(r"(?:.*\.)?layers\.(\d+)\..*")
LAYERS, PREDICTORS = "num_hidden_layers", "num_nextn_predict_layers"
PER_LAYER = ("layer_types", "partial_rotary_factors", "rope_theta")
"""Lists of config.json that have an item for each of these layers, too."""
IN = "attention_in_multiplier"
DONE: Mapping[str, Mapping[str, Any]] = {
    "bailing_moe": {"norm_head": False},
    "falcon_h1": {
        "attention_out_multiplier": 1.0,
        "embedding_multiplier": 1.0,
        "lm_head_multiplier": 1.0,
        "mlp_multipliers": [1.0, 1.0],
        "ssm_in_multiplier": 1.0,
        "ssm_multipliers": [1.0] * 5,
        "ssm_out_multiplier": 1.0,
    },
}
"""Settings of what MLX has done, by `model_type`: the values that do nothing more.

Falcon H1's `key_multiplier` is not among them: MLX ignores it.
"""


def config_of_original(
    config: Mapping[str, Any], names: Iterable[str]
) -> dict[str, Any]:
    """A config that asks only for what is left to do, and counts the layers there are.

    Args:
        config: of a checkpoint that MLX wrote; not checked yet.
        names: of its tensors, as the original has them.

    Raises:
        UnsupportedModelError: MLX multiplied only some of the weights that a setting is
            for.
    """
    kind = config.get("model_type")
    if kind == "falcon_h1" and config.get(IN, 1.0) != 1:
        raise UnsupportedModelError(
            f"MLX wrote the checkpoint, and config.json has {IN}: {shown(config[IN])}, "
            "by which MLX multiplies queries and keys and not values; use the "
            "checkpoint that it was made from"
        )
    changes = dict(DONE.get(kind, {})) if isinstance(kind, str) else {}
    last, more = (config.get(key) for key in (LAYERS, PREDICTORS))
    if isinstance(last, int) and isinstance(more, int) and _n_layers(names) <= last:
        lists = {
            key: config[key] for key in PER_LAYER if isinstance(config.get(key), list)
        }
        changes |= {key: items[:last] for key, items in lists.items()}
        changes[PREDICTORS] = 0
    made = {**config, **changes}
    if isinstance(inner := config.get("text_config"), dict):
        made["text_config"] = {
            key: changes.get(key, value) for key, value in inner.items()
        }
    return made


def _n_layers(names: Iterable[str]) -> int:
    """The number of layers of a checkpoint, with those that predict further tokens."""
    numbers = {int(match[1]) for name in names if (match := LAYER.fullmatch(name))}
    return 1 + max(numbers, default=-1)
