"""HRM-Text: two stacks of layers that run in turn, several times.

GGUF counts every run in `block_count`; the blocks of the low stack come first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from ..checkpoint.lazy import LazyTensor, taken
from ..errors import CheckpointError, FormatError
from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.cycles import TwoStates, in_cycles
from ..forward.decoder import load_decoder
from ..forward.facts import Facts
from ..forward.layers import Norm
from ..forward.layout import Layout
from ..forward.rotary import Rotary
from ..forward.stack import first_columns
from ..forward.traits import Traits
from ..gguf.keys import Field, boolean, float32, uint32
from ..settings import integer
from .config import head_size, required, text_fields
from .config_kinds import MAX_LAYERS
from .family import SILU, Family, Named
from .unknown_tensors import unknown_tensor

__all__ = ["HrmText"]

PER_STACK, HIGH, LOW = "hrm.layers_per_stack", "hrm.h_cycles", "hrm.l_cycles"
LOW_STATE = "hrm.z_l_init"
FUSED = {
    "attn.gqkv_proj": ("attn_gate", "attn_q", "attn_k", "attn_v"),
    "mlp.gate_up_proj": ("ffn_gate", "ffn_up"),
}


class HrmText(Family):
    """The architecture that llama.cpp calls `hrm_text`."""

    name = "hrm_text"
    hf_classes = ("HrmTextForCausalLM",)
    defaults: ClassVar[dict[str, Any]] = {
        "rms_norm_eps": 1e-6,
        "max_position_embeddings": 2048,
        "head_dim": 128,
        "H_cycles": 2,
        "L_cycles": 3,
        "prefix_lm": True,
        "initializer_range": 0.02,
    }
    assumed: ClassVar[dict[str, tuple[Any, ...]]] = {
        **SILU,
        "attention_bias": (False,),
        "mlp_bias": (False,),
    }
    outer: ClassVar = {
        "model.embed_tokens": "token_embd",
        "lm_head": "output",
        "model.z_L_init": LOW_STATE,
    }
    bare = ("z_L_init",)
    layer: ClassVar = re.compile(r"model\.([LH])_module\.layers\.(\d{1,9})\.(.+)")
    inner: ClassVar = {"attn.o_proj": "attn_output", "mlp.down_proj": "ffn_down"}
    layout: ClassVar[Layout] = Layout(query_bias="none", attention_gate="components")

    def complete(self, config: Config) -> dict[str, Any]:
        """The config, with missing keys set to the defaults of its class."""
        whole = super().complete(config)
        if whole.get("num_layers_per_stack") is None:
            whole["num_layers_per_stack"] = required(whole, "num_hidden_layers")
        if whole.get("embedding_scale") is None:
            whole["embedding_scale"] = 1.0 / required(whole, "initializer_range")
        return whole

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        n_layers, n_high, n_low = (
            required(config, key)
            for key in ("num_layers_per_stack", "H_cycles", "L_cycles")
        )
        return {
            **text_fields(config, file_type),
            "block_count": uint32(n_layers * n_high * (n_low + 1)),
            "rope.dimension_count": uint32(head_size(config)),
            "embedding_scale": float32(config["embedding_scale"]),
            PER_STACK: uint32(n_layers),
            HIGH: uint32(n_high),
            LOW: uint32(n_low),
            "hrm.prefix_lm": boolean(bool(config.get("prefix_lm"))),
        }

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensors of a checkpoint tensor; fused ones are split."""
        match = self.layer.fullmatch(source.removesuffix(".weight"))
        n_layers = required(config, "num_layers_per_stack")
        if match is not None and int(match[2]) >= n_layers:
            raise CheckpointError(
                f"the checkpoint has {source!r}, but by config.json a stack has "
                f"{n_layers} layers; they are of different models"
            )
        if match is None:
            yield self.gguf_name(source, config), tensor
            return
        number = int(match[2]) + (n_layers if match[1] == "H" else 0)
        names = FUSED.get(match[3]) or (self.inner.get(match[3]),)
        if names[0] is None:
            raise unknown_tensor(source, int(match[2]), n_layers, self.name)
        n_rows = tensor.shape[0]
        if n_rows % len(names):
            raise CheckpointError(
                f"{source!r} has {n_rows} rows; expected a multiple of {len(names)}"
            )
        size = n_rows // len(names)
        for i, name in enumerate(names):
            rows = np.arange(i * size, (i + 1) * size)
            part = tensor if len(names) == 1 else taken(tensor, rows)
            yield f"blk.{number}.{name}.weight", part

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        n_layers, n_high, n_low = (
            facts.count(key, None, integer(1, MAX_LAYERS))
            for key in (PER_STACK, HIGH, LOW)
        )
        n_runs = n_layers * n_high * (n_low + 1)
        if facts.n_blocks != n_runs:
            raise FormatError(
                f"{facts.key('block_count')} is {int(facts.n_blocks)}; expected the "
                f"number of runs of layers, {n_runs}"
            )
        count = {facts.key("block_count"): uint32(2 * n_layers)}
        stored = replace(facts, metadata={**facts.metadata, **count})
        traits = Traits(
            epsilon=facts.rms_epsilon,
            layout=self.layout,
            unweighted_norms=True,
            rotary=Rotary.load(facts, claims, self.layout),
            embedding_scale=facts.number("embedding_scale", 1.0) or 1.0,
        )
        high_state = first_columns(facts.width)
        model = load_decoder(stored, claims, traits, closing=high_state)
        norm = Norm(None, None, traits.epsilon, centered=False)
        low, high = range(n_layers), range(n_layers, 2 * n_layers)
        again = (None,) * (n_layers * (n_low - 1))
        n_first = n_layers * (n_low + 1)
        return replace(
            model,
            layers=in_cycles(model.layers, n_high, n_low, norm),
            blocks=(*low, *again, *high, *(None,) * (n_runs - n_first)),
            opening=TwoStates(claims.vector(LOW_STATE, facts.width)),
            output_norm=None,
        )
