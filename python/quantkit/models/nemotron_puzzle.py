"""Nemotron Puzzle: layers of Nemotron-H differ in the number and width of experts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import CheckpointError
from ..forward.base import Config
from ..gguf.keys import Field, ValueType, array
from ..settings import COUNT, TEXT, shown
from .config import required
from .family import Named, Tensors
from .nemotron_h import NemotronHMoe

__all__ = ["NemotronHPuzzle"]

BLOCKS = "block_configs"
SIZE, USED, KIND = "moe_intermediate_size", "num_experts_per_tok", "block_type"


class NemotronHPuzzle(NemotronHMoe):
    """The architecture `nemotron_h_moe`, with a list of settings of each layer."""

    hf_classes = ("NemotronHPuzzleForCausalLM",)

    def complete(self, config: Config) -> dict[str, Any]:
        """The config, with missing keys set to the defaults of its class.

        Raises:
            CheckpointError: a layer's settings are none.
        """
        blocks = required(config, BLOCKS)
        for i, block in enumerate(blocks):
            for key, kind in ((KIND, TEXT), (SIZE, COUNT), (USED, COUNT)):
                value = block.get(key)
                if not kind.accepts(value) and (value is not None or key == KIND):
                    raise CheckpointError(
                        f"config.json: {BLOCKS}[{i}].{key} is {shown(value)}; expected "
                        f"{kind.description}"
                    )
        kinds = {"layers_block_type": [block[KIND] for block in blocks]}
        pattern = {"hybrid_override_pattern": None}
        return super().complete({**config, **kinds, **pattern})

    def extended(self, config: Config, stored: Tensors) -> Config:
        """The complete config; layers that predict further tokens are left out."""
        return config

    def mapped(self, config: Config, stored: Tensors) -> Iterator[Named]:
        """The GGUF tensors made from the checkpoint's tensors."""
        kept = {name: t for name, t in stored.items() if not name.startswith("mtp.")}
        yield from super().mapped(config, kept)

    def inner_sizes(self, config: Config) -> list[int]:
        """The width inside each layer's experts; 0: it has none."""
        return _of_blocks(config, SIZE)

    def expert_fields(self, config: Config) -> Mapping[str, Field]:
        """The metadata of the experts, in llama.cpp's order."""
        of_layers = {
            "expert_feed_forward_length": _of_blocks(config, SIZE),
            "expert_used_count": _of_blocks(config, USED),
        }
        fields = super().expert_fields({**config, SIZE: 0})
        own = {key: array(ValueType.INT32, n) for key, n in of_layers.items()}
        return {**own, **{k: v for k, v in fields.items() if k not in own}}


def _of_blocks(config: Config, key: str) -> list[int]:
    """A count of each layer; 0 where it has none."""
    return [int(block.get(key) or 0) for block in config[BLOCKS]]
