"""Nanbeige 4.2: Llama whose layers run several times."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from ..errors import FormatError
from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.facts import Facts
from ..forward.layout import Layout
from ..forward.repeated import repeated
from ..gguf.keys import Field, boolean, uint32
from ..settings import integer
from .config_kinds import MAX_LAYERS
from .llama import Llama

__all__ = ["Nanbeige"]

LOOPS, SKIPS = "num_loops", "skip_loop_final_norm"


class Nanbeige(Llama):
    """The architecture that llama.cpp calls `nanbeige`."""

    name = "nanbeige"
    hf_classes = ("NanbeigeForCausalLM",)
    defaults: ClassVar[dict[str, Any]] = {
        **Llama.defaults,
        "default_theta": None,
        LOOPS: 1,
        SKIPS: False,
    }
    assumed: ClassVar[dict[str, tuple[Any, ...]]] = {
        **Llama.assumed,
        "attention_bias": (False,),
        "mlp_bias": (False,),
    }
    fills_head_size = False
    layout: ClassVar[Layout] = Layout(frequencies="optional")

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        return {
            **super().hyperparameters(config, file_type),
            LOOPS: uint32(config.get(LOOPS) or 1),
            SKIPS: boolean(bool(config.get(SKIPS))),
        }

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        model = load_decoder(facts, claims, self.traits(facts, claims))
        n_loops = facts.count(LOOPS, 1, integer(1, MAX_LAYERS))
        if n_loops * len(model.layers) > MAX_LAYERS:
            raise FormatError(
                f"{facts.key(LOOPS)} is {n_loops}; {len(model.layers)} layers run at "
                f"most {MAX_LAYERS // len(model.layers)} times"
            )
        norm = None if facts.flag(SKIPS, False) else model.output_norm
        return replace(model, layers=repeated(model.layers, n_loops, norm))
