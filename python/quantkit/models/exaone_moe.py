"""K-EXAONE: experts, and windows in three of four layers, which alone rotate."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.experts import EXPERT_SIZE, gating_of, load_experts
from ..forward.facts import Facts
from ..forward.layout import Layout
from ..forward.rotary import Rotary
from ..forward.sizes import Size
from ..forward.traits import Traits
from ..forward.windows import WINDOW, windowed_layers
from ..gguf.keys import Field, boolean, float32, string, uint32
from .config import n_layers, required
from .dense_layers import n_dense_layers
from .exaone4 import PERIOD, Exaone4
from .family import DECODER_LAYER, EXPERT_MATRICES, SHARED_EXPERTS, SILU, Named, Tensors
from .mtp import MTP, in_all_layers
from .next_predictors import PREDICTOR, n_blocks, n_predictors

__all__ = ["ExaoneMoe"]

SHARED_SIZE = "expert_shared_feed_forward_length"


class ExaoneMoe(Exaone4):
    """The architecture that llama.cpp calls `exaone-moe`."""

    name = "exaone-moe"
    hf_classes = ("ExaoneMoeForCausalLM", "ExaoneMoEForCausalLM")
    defaults: ClassVar[dict[str, Any]] = {
        **Exaone4.defaults,
        "moe_intermediate_size": 1024,
        "num_experts": 64,
        "num_experts_per_tok": 8,
        "num_shared_experts": 1,
        "norm_topk_prob": True,
        "routed_scaling_factor": 2.5,
        "n_group": 1,
        "topk_group": 1,
        "scoring_func": "sigmoid",
    }
    assumed: ClassVar = {
        **SILU,
        "scoring_func": ("sigmoid",),
        "topk_method": ("noaux_tc",),
    }
    rope_types = ("default", "dynamic", "llama3")
    renames: ClassVar = ((".e_score_correction_bias", ".e_score_correction.bias"),)
    inner: ClassVar = {
        **DECODER_LAYER,
        **SHARED_EXPERTS,
        **PREDICTOR,
        **MTP,
        "mlp.gate": "ffn_gate_inp",
        "mlp.e_score_correction": "exp_probs_b",
    }
    experts: ClassVar = EXPERT_MATRICES
    layout: ClassVar[Layout] = Layout(
        head="required", query_norms="required", frequencies="optional"
    )

    def complete(self, config: Config) -> dict[str, Any]:
        """The complete config, with the number of dense layers."""
        whole = super().complete(config)
        stated = whole.get("first_last_k_dense_replace")
        default = 1 if stated is None else stated
        return {**whole, "first_k_dense_replace": n_dense_layers(whole, default)}

    def n_blocks(self, config: Config) -> int:
        """The number of layers, with those that only predict further tokens."""
        return n_blocks(config)

    def mapped(self, config: Config, stored: Tensors) -> Iterator[Named]:
        """The GGUF tensors made from the checkpoint's tensors."""
        stored = in_all_layers(stored, n_layers(config), n_blocks(config))
        yield from super().mapped(config, stored)

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        size, n_shared = (
            required(config, key)
            for key in ("moe_intermediate_size", "num_shared_experts")
        )
        return {
            **super().hyperparameters(config, file_type),
            "block_count": uint32(n_blocks(config)),
            EXPERT_SIZE: uint32(size),
            "expert_shared_count": uint32(n_shared),
            SHARED_SIZE: uint32(size * n_shared),
            "expert_weights_scale": float32(required(config, "routed_scaling_factor")),
            "expert_weights_norm": boolean(required(config, "norm_topk_prob")),
            "leading_dense_block_count": uint32(config["first_k_dense_replace"]),
            "nextn_predict_layers": uint32(n_predictors(config)),
            "rope.scaling.type": string("none"),
        }

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        windowed = windowed_layers(facts, PERIOD)

        def shared_size(layer: int) -> Size:
            if facts.count(SHARED_SIZE, 0):
                return facts.size(SHARED_SIZE)
            return facts.layer_size(EXPERT_SIZE, layer)

        traits = Traits(
            epsilon=facts.rms_epsilon,
            layout=self.layout,
            rotary=Rotary.load(facts, claims, self.layout),
            rotates=windowed,
            window=facts.size(WINDOW),
            windowed=windowed,
            experts=load_experts(
                facts,
                gating=gating_of(facts),
                normed=facts.flag("expert_weights_norm", False),
                scale=facts.number("expert_weights_scale", 1.0) or 1.0,
                shared_size=shared_size,
                choice_bias="optional",
                first=facts.count("leading_dense_block_count", 0),
            ),
        )
        return load_decoder(facts, claims, traits)
