"""Test cases of model families, and the sizes that cases share.

A case is a class of transformers and the config it gets; the weights follow from the
tensors' names (checkpoints.py).  A class that transformers does not have is a case of
its twin there: `rename` makes its checkpoint, and `config_of` its config, from the
twin's.

Sizes are chosen so that a mistake shows: no two of width, heads, key heads, head size,
feed forward and vocabulary are alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from quantkit.gguf.keys import Field

from .checkpoints import TARGET, Arrays

__all__ = ["SIZES", "YARN", "Case", "Config", "as_version_4", "without"]

Config = Mapping[str, Any]


@dataclass(frozen=True)
class Case:
    """A tiny model.

    Attributes:
        name: of the case and its fixture.
        hf_class: of transformers, which computes the logits.
        config: what differs from the class's defaults.
        config_of: the checkpoint's config.json, from the one that transformers writes.
        prepare: the weights, from the random ones; transformers gets them as well.
        config_at: the file of that config.
        beside: further JSON files of the checkpoint, by their paths.
        rename: the checkpoint's tensors, from those that transformers writes.
        stored_as: safetensors' name of the type of a tensor that NumPy has as integers;
            None: its type is NumPy's.
        adapt: changes the twin's model, which is a torch module, before it runs.
        is_raw: llama.cpp's converter gets config.json as it is, since transformers 5
            takes away what it asks for.
        shapes: the tensors by name, of a class that transformers does not have and that
            has no twin there.  `config` is then all of its config, and the logits are
            those of llama.cpp's runtime.
        added: metadata that llama.cpp's converter leaves out.
        n_tokens: the length of the text.
        tolerance: how far logits may be apart, as a share of their range.
        predicts_text: whether it has logits; otherwise hidden states take their place.
        runs: whether quantkit runs it; otherwise nothing is computed.
        target: the config of the model that it drafts tokens for.
    """

    name: str
    hf_class: str
    config: Config
    config_of: Callable[[dict[str, Any]], dict[str, Any]] = field(default=dict)
    prepare: Callable[[Arrays], Arrays] = field(default=dict)
    config_at: str = "config.json"
    beside: Mapping[str, Any] = field(default_factory=dict)
    rename: Callable[[Arrays], Arrays] = field(default=dict)
    stored_as: Callable[[str], str | None] = field(default=lambda name: None)
    adapt: Callable[[Any], None] | None = None
    is_raw: bool = False
    shapes: Mapping[str, tuple[int, ...]] | None = None
    added: Mapping[str, Field] = field(default_factory=dict)
    n_tokens: int = 24
    tolerance: float = 1e-5
    predicts_text: bool = True
    runs: bool = True
    target: Config | None = None

    @property
    def files(self) -> dict[str, Any]:
        """The JSON files of the checkpoint beside its config, by their paths."""
        if self.target is None:
            return dict(self.beside)
        return {**self.beside, f"{TARGET}/config.json": self.target}


SIZES = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 112,
    "max_position_embeddings": 256,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
YARN = {
    "rope_type": "yarn",
    "rope_theta": 10000.0,
    "factor": 4.0,
    "original_max_position_embeddings": 64,
}


def without(*keys: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A config that leaves these to its class."""
    return lambda config: {k: v for k, v in config.items() if k not in keys}


def as_version_4(config: dict[str, Any]) -> dict[str, Any]:
    """A config as transformers 4 wrote it: rope settings at the top."""
    older = dict(config)
    rope = dict(older.pop("rope_parameters"))
    for key in ("rope_theta", "partial_rotary_factor"):
        if key in rope:
            older[key] = rope.pop(key)
    kind = rope.pop("rope_type")
    older["rope_scaling"] = None if kind == "default" else {"type": kind, **rope}
    return older
