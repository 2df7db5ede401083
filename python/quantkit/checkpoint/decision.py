"""Folders of decision models: an encoder in a folder of its own, and a head's config.

Source: the layout of the published checkpoints (Laya, Julia).  The folder has no
config.json; encoder/config.json is of the encoder, and another file is of the head.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import CheckpointError
from ..files.json_file import read_json
from ..settings import SIZE, checked

__all__ = ["DECISION", "DECISION_CLASS", "DECISION_FILES", "read_decision_config"]

ENCODER = "encoder/config.json"
HEADS = ("julia_config.json", "rl_agent_config.json")
"""The config of the head; the first that exists."""
DECISION_FILES = (ENCODER, *HEADS)
DECISION = "decision"
"""Where the config has that of the head."""
DECISION_CLASS = "ModernBertDecisionModel"
WIDTH, INNER, LAYERS = "hidden_size", "intermediate_size", "num_hidden_layers"
INNER_FACTOR = 4
"""How much wider than hidden states the feed-forward parts of the head are."""


def read_decision_config(folder: Path) -> dict[str, Any] | None:
    """The config of a decision model, the head's layers after the encoder's; or None.

    Raises:
        CheckpointError: a size is missing.
        FormatError: a file is damaged.
    """
    heads = (read_json(folder / name) for name in HEADS)
    head = next((each for each in heads if each is not None), None)
    encoder = read_json(folder / ENCODER)
    if head is None or encoder is None:
        return None
    n_head = _size(head, "head_layers", "the config of the head")
    n_own, width, inner = (_size(encoder, k, ENCODER) for k in (LAYERS, WIDTH, INNER))
    kinds = encoder.get("layer_types")
    whole = {
        **encoder,
        "architectures": [DECISION_CLASS],
        LAYERS: n_own + n_head,
        INNER: [inner] * n_own + [INNER_FACTOR * width] * n_head,
        DECISION: head,
    }
    if isinstance(kinds, list):
        whole["layer_types"] = kinds + ["full_attention"] * n_head
    return whole


def _size(config: dict[str, Any], key: str, where: str) -> int:
    if config.get(key) is None:
        raise CheckpointError(f"{where} lacks {key!r}; download the complete folder")
    return int(checked(config[key], SIZE, f"{where}: {key}"))
