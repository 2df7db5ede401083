"""Decision models: ModernBERT with layers that score the options of a question."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, ClassVar

from ..checkpoint.decision import DECISION, DECISION_CLASS
from ..checkpoint.lazy import LazyTensor
from ..errors import CheckpointError
from ..forward.base import Config
from ..gguf.keys import Field, float32, string, uint32
from ..settings import LIST, OBJECT, SIZE, checked, number
from .config import n_layers
from .family import Named
from .modern_bert import ModernBert

__all__ = ["ModernBertDecision"]

QUESTIONS = ("choice", "score", "noul")
"""The kinds of questions, in the order of their temperatures."""
MAX_HEAD = 256
"""The most tokens that the head reads if its config does not say."""
TEMPERATURE = number(above=0)


class ModernBertDecision(ModernBert):
    """The architecture `modern-bert` with a head that llama.cpp calls `laya`."""

    hf_classes: ClassVar[tuple[str, ...]] = (DECISION_CLASS,)
    not_run = "they score the options of a question, and give no embedding of a text"
    pools = False
    foreign = ("act_head.",)
    skipped: ClassVar = ("temperature",)
    outer: ClassVar = {
        **ModernBert.outer,
        "type_emb": "token_types",
        "scorer.0": "cls.norm",
        "scorer.1": "cls",
        "scorer.3": "cls.output",
    }
    head_layer: ClassVar = re.compile(r"head\.layers\.(\d+)\.(.+)")
    inner: ClassVar = {
        **ModernBert.inner,
        "norm1": "attn_norm",
        "self_attn.in_proj": "attn_qkv",
        "self_attn.out_proj": "attn_output",
        "norm2": "ffn_norm",
        "linear1": "ffn_up",
        "linear2": "ffn_down",
    }

    def check_settings(self, config: Config) -> None:
        """Refuse settings of the encoder that GGUF cannot represent."""
        n_own = n_layers(config) - (self._n_head(config) if DECISION in config else 0)
        own = {**config, "num_hidden_layers": n_own}
        if isinstance(config.get("layer_types"), list):
            own["layer_types"] = config["layer_types"][:n_own]
        super().check_settings(own)

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order.

        Raises:
            FormatError: a value of the head's config is of another kind.
        """
        head = self._head(config)
        most = checked(head.get("head_max_len", MAX_HEAD), SIZE, "head_max_len")
        fields = {
            "decision.type": string("laya"),
            "decision.block_count": uint32(self._n_head(config)),
            "decision.max_head_tokens": uint32(most),
        }
        plain = checked(head.get("temperature", []), LIST, "temperature")
        by_options = checked(
            head.get("temperature_by_options", {}), OBJECT, "temperature_by_options"
        )
        stated = [
            *zip(QUESTIONS, plain, strict=False),
            *((_bucket(name), value) for name, value in by_options.items()),
        ]
        for name, value in stated:
            known = checked(value, TEMPERATURE, f"temperature of {name}")
            fields[f"decision.temperature.{name}"] = float32(known)
        return super().hyperparameters(config, file_type) | fields

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensor; the head's layers follow those of the encoder."""
        if match := self.head_layer.fullmatch(source):
            number = int(match[1]) + n_layers(config) - self._n_head(config)
            part = match[2].replace("in_proj_", "in_proj.")
            source = f"layers.{number}.{part}"
        yield from super().converted(source.removeprefix("encoder."), tensor, config)

    def _n_head(self, config: Config) -> int:
        """The number of the head's layers."""
        return int(checked(self._head(config)["head_layers"], SIZE, "head_layers"))

    def _head(self, config: Config) -> dict[str, Any]:
        """The config of the head.

        Raises:
            CheckpointError: there is none.
        """
        head: Any = config.get(DECISION)
        if head is None:
            raise CheckpointError(
                f"a {DECISION_CLASS} needs encoder/config.json and the config of its "
                "head, rl_agent_config.json or julia_config.json; download the "
                "complete folder"
            )
        return dict(head)


def _bucket(name: str) -> str:
    """A kind of question and a number of options as a key's end: choice.3_5."""
    return name.replace(":", ".").replace("-", "_").rstrip("+")
