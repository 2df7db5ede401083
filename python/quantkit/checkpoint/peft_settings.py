"""The settings of a PEFT adapter: which change its effect, and how.

Source: PEFT 0.21 (config.py, tuners/lora).  Each key of its LoraConfig is either read
here, or refused unless it has no effect (`REFUSED`), or harmless (`HARMLESS`).
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import CheckpointError, FormatError, UnsupportedModelError
from ..patterns import compiled, searched
from ..settings import (
    COUNT,
    FLAG,
    NULL,
    REAL,
    SIZE,
    TEXT,
    Kind,
    checked,
    either,
    list_of,
    shown,
    table_of,
)

__all__ = ["HARMLESS", "READ", "REFUSED", "PeftSettings"]

READ: Mapping[str, Kind] = {
    "alora_invocation_tokens": either(NULL, list_of(COUNT)),
    "alpha_pattern": either(NULL, table_of(REAL)),
    "fan_in_fan_out": either(NULL, FLAG),
    "init_lora_weights": either(NULL, FLAG, TEXT),
    "invocation_string": either(NULL, TEXT),
    "lora_alpha": REAL,
    "peft_type": either(NULL, TEXT),
    "r": SIZE,
    "rank_pattern": either(NULL, table_of(SIZE)),
    "use_rslora": either(NULL, FLAG),
}
"""Key -> what it may be.  `fan_in_fan_out` is checked only: PEFT sets it by the class
of each layer, and so does the family of the base model."""

REFUSED: Mapping[str, str] = {
    "arrow_config": "a router chooses between several adapters",
    "kasa_config": "the adapter also changes the base model's own weights",
    "layer_replication": "the adapter repeats layers of the base model",
    "lora_bias": "the adapter has biases of its own",
    "monteclora_config": "the adapter has random samples of its weights",
    "target_parameters": "the adapter changes parameters inside of modules",
    "trainable_token_indices": "the adapter replaces rows of the embedding",
    "use_bdlora": "the factors are block-diagonal",
    "use_dora": "the adapter rescales whole weights (DoRA)",
    "use_qalora": "the inputs of the adapter are pooled (QALoRA)",
}
"""Key -> what it means, unless its value is one of `INACTIVE`."""
INACTIVE: tuple[Any, ...] = (None, False, "none", [], {})

HARMLESS = frozenset(
    {
        "auto_mapping",
        "base_model_name_or_path",
        "bias",
        "corda_config",
        "ensure_weight_tying",
        "eva_config",
        "exclude_modules",
        "inference_mode",
        "layers_pattern",
        "layers_to_transform",
        "loftq_config",
        "lora_dropout",
        "lora_ga_config",
        "megatron_config",
        "megatron_core",
        "modules_to_save",
        "peft_version",
        "qalora_group_size",
        "revision",
        "runtime_config",
        "target_modules",
        "task_type",
        "velora_config",
    }
)
"""Keys about training, or about which modules there are: the tensors say that, too."""

CHANGES_BASE = ("corda", "loftq", "lora_ga", "olora", "pissa")
"""Initializations that subtract the adapter's first values from the base model."""
ADVICE = "merge the adapter into the model, and convert the model"

_log = logging.getLogger(__name__)


class PeftSettings:
    """Checked settings of a LoRA adapter.

    Args:
        settings: the contents of adapter_config.json.
        path: the file, for messages.

    Raises:
        FormatError: a value has a wrong type or range.
        UnsupportedModelError: GGUF adapters cannot represent a setting.
    """

    def __init__(self, settings: Mapping[str, Any], path: Path) -> None:
        self._path = path
        self._settings = settings
        for key in settings.keys() & READ.keys():
            checked(settings[key], READ[key], f"{path}: {key}")
        for key, meaning in REFUSED.items():
            if settings.get(key) not in INACTIVE:
                self._refuse(key, meaning)
        self._check_kind()
        for key in sorted(settings.keys() - READ.keys() - REFUSED.keys() - HARMLESS):
            if settings[key] not in INACTIVE:
                _log.warning(
                    "%s: quantkit does not know the setting %s and leaves it out, as "
                    "PEFT does with unknown settings",
                    *(path, shown(key)),
                )
        self._ranks = self._patterns("rank_pattern")
        self._alphas = self._patterns("alpha_pattern")

    @property
    def invocation_tokens(self) -> list[int]:
        """The token ids after which an activated LoRA (aLoRA) starts to act.

        Raises:
            UnsupportedModelError: only their text is known.
        """
        tokens: list[int] = self._settings.get("alora_invocation_tokens") or []
        if self._settings.get("invocation_string") and not tokens:
            raise UnsupportedModelError(
                f"{self._path} has an invocation_string but no "
                "alora_invocation_tokens; add the ids of its tokens there"
            )
        return tokens

    def alpha(self, module: str, rank: int) -> float:
        """The product of a module's scale and rank; PEFT multiplies b x a by the scale.

        Args:
            module: its name in the base model.
            rank: the rank of its tensors.

        Raises:
            CheckpointError: the file lacks `lora_alpha`, or states another rank.
        """
        if "lora_alpha" not in self._settings:
            raise CheckpointError(f"{self._path} lacks 'lora_alpha'")
        stated = _of_module(self._ranks, module, self._settings.get("r", rank))
        if stated != rank:
            raise CheckpointError(
                f"{self._path} gives {module!r} the rank {stated}, but its tensors "
                f"have {rank}; the files are from different adapters"
            )
        alpha = float(_of_module(self._alphas, module, self._settings["lora_alpha"]))
        is_stabilized = self._settings.get("use_rslora")
        return alpha * math.sqrt(rank) if is_stabilized else alpha

    def _check_kind(self) -> None:
        kind = self._settings.get("peft_type") or "LORA"
        if kind.upper() != "LORA":
            self._refuse("peft_type", "GGUF has adapters of the type LORA only")
        start = self._settings.get("init_lora_weights")
        if isinstance(start, str) and start.lower().startswith(CHANGES_BASE):
            raise UnsupportedModelError(
                f"{self._path} has init_lora_weights: {shown(start)}, so the adapter "
                "belongs to a changed base model; save it with "
                "path_initial_model_for_weight_conversion, or set init_lora_weights: "
                "true there if the base model was saved after the change"
            )

    def _patterns(self, key: str) -> list[tuple[re.Pattern[str], Any]]:
        """The patterns of module names, as PEFT completes them, with their values."""
        given = self._settings.get(key) or {}
        return [
            (compiled(rf"^(.*\.)?({pattern})$", 0, FormatError), value)
            for pattern, value in given.items()
        ]

    def _refuse(self, key: str, meaning: str) -> None:
        raise UnsupportedModelError(
            f"{self._path} has {key}: {shown(self._settings[key])}: {meaning}; GGUF "
            f"adapters only add a product of two factors to weights: {ADVICE}"
        )


def _of_module(
    patterns: list[tuple[re.Pattern[str], Any]], module: str, default: Any
) -> Any:
    """The value of the first pattern that matches a module, or the default."""
    found = (value for pattern, value in patterns if searched(pattern, module))
    return next(found, default)
