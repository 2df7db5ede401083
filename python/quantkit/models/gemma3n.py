"""Gemma 3n: four streams (AltUp), LAuReL, per-layer embeddings, sparse activations.

The last layers use the keys and values of earlier ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from statistics import NormalDist
from typing import Any, ClassVar

import numpy as np

from ..checkpoint.lazy import LazyTensor, padded, stacked
from ..errors import CheckpointError
from ..forward.altup import (
    N_STREAMS,
    AltUpLayer,
    Merge,
    Spread,
    load_altup,
    load_laurel,
    sparse_gelu,
    stacked_maps,
)
from ..forward.attention import Attention
from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder, vocabulary_size
from ..forward.facts import Facts
from ..forward.feed_forward import Gated, load_dense
from ..forward.gemma_stream import GemmaOpening, InputColumns, SharedAttention
from ..forward.layer import Part, Sequential
from ..forward.layout import Layout
from ..forward.per_layer_inputs import (
    SIZE_KEY,
    load_layer_input,
    load_per_layer_inputs,
)
from ..forward.rotary import Rotary
from ..forward.shared_keys import SHARED_KEY, first_sharing, place_keys
from ..forward.traits import Traits
from ..forward.windows import PATTERN, WINDOW, windowed_layers
from ..gguf.keys import Field, ValueType, array, float32, uint32
from ..settings import Kind, checked
from .config import n_layers, required, text_fields
from .family import Named, Tensors
from .gemma import GELUS, LOGIT_CAP, Gemma, Gemma3
from .gemma4 import Gemma4
from .windows import layer_windows

__all__ = ["SPARSITY", "Gemma3n", "deviations_of"]

SPARSITY = "activation_sparsity_scale"
SPARSE = 1.6448533535003662
"""Standard deviations that a normal variable exceeds with a probability of 5 %."""
N_SPARSE, N_OWN_KEYS = 10, 20
"""How many first layers of published models are sparse, and have own keys."""
DEVIATIONS = Kind(
    "a finite number or -inf",
    lambda value: isinstance(value, float) and value < math.inf,
)
PERIOD = 5
MAPS = {
    "altup_projections": "altup_proj",
    "altup_unembed_projections": "altup_unembd_proj",
}
"""Module of a list of maps -> GGUF name of the maps, stacked."""


class Gemma3n(Gemma3):
    """The architecture that llama.cpp calls `gemma3n`."""

    name = "gemma3n"
    hf_classes = ("Gemma3nForCausalLM", "Gemma3nForConditionalGeneration")
    defaults: ClassVar = {
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "head_dim": 256,
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": True,
        "vocab_size": 262400,
        "sliding_window": 512,
        "sliding_window_pattern": PERIOD,
        "default_theta": 1e6,
        "rope_local_base_freq": 1e4,
        LOGIT_CAP: 30.0,
        "hidden_size_per_layer_input": 256,
        "num_kv_shared_layers": 15,
        "altup_num_inputs": N_STREAMS,
        "altup_active_idx": 0,
    }
    foreign = Gemma4.foreign
    norm_shift = 0.0
    assumed: ClassVar = {
        "hidden_activation": GELUS,
        "altup_num_inputs": (N_STREAMS,),
        "altup_active_idx": (0,),
        "altup_correct_scale": (True,),
        LOGIT_CAP: (30.0,),
    }
    outer: ClassVar = Gemma4.outer
    inner: ClassVar = {
        **Gemma4.inner,
        "altup.correction_coefs": "altup_correct_coef",
        "altup.correct_output_scale": "altup_correct_scale",
        "altup.prediction_coefs": "altup_predict_coef",
        "altup.modality_router": "altup_router",
        "altup.router_norm": "altup_router_norm",
        "laurel.linear_left": "laurel_l",
        "laurel.linear_right": "laurel_r",
        "laurel.post_laurel_norm": "laurel_post_norm",
    }
    layout: ClassVar[Layout] = Layout(
        output_norms="required", query_norms="required", query_bias="none"
    )
    unread = ()

    def complete(self, config: Config) -> dict[str, Any]:
        """The config, with missing keys set to the defaults of its class."""
        whole = super().complete(config)
        total = n_layers(whole)
        if isinstance(whole.get("intermediate_size"), int):
            whole["intermediate_size"] = [whole["intermediate_size"]] * total
        if whole.get("activation_sparsity_pattern") is None:
            n_sparse = N_SPARSE if total > N_SPARSE else 0
            sparse = [0.95] * n_sparse + [0.0] * (total - n_sparse)
            whole["activation_sparsity_pattern"] = sparse
        return whole

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            UnsupportedModelError: the config has such a setting.
        """
        Gemma.check_settings(self, config)

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        sparsity = [deviations_of(x) for x in config["activation_sparsity_pattern"]]
        return text_fields(config, file_type) | {
            LOGIT_CAP: float32(required(config, LOGIT_CAP)),
            WINDOW: uint32(required(config, "sliding_window")),
            "altup.active_idx": uint32(required(config, "altup_active_idx")),
            "altup.num_inputs": uint32(required(config, "altup_num_inputs")),
            SIZE_KEY: uint32(required(config, "hidden_size_per_layer_input")),
            SHARED_KEY: uint32(required(config, "num_kv_shared_layers")),
            SPARSITY: array(ValueType.FLOAT32, sparsity),
            PATTERN: array(ValueType.BOOL, layer_windows(config, PERIOD)),
        }

    def mapped(self, config: Config, stored: Tensors) -> Iterator[Named]:
        """The GGUF tensors made from the checkpoint's; maps of streams are stacked.

        Raises:
            CheckpointError: a map is missing.
        """
        maps: dict[str, list[LazyTensor]] = {}
        for name, tensor in super().mapped(config, stored):
            if name not in MAPS.values():
                yield name, tensor
                continue
            maps.setdefault(name, []).append(tensor)
            if len(maps[name]) == N_STREAMS - 1:
                yield f"{name}.weight", stacked(maps.pop(name))
        for name, found in maps.items():
            raise CheckpointError(
                f"the checkpoint has {len(found)} of the matrices for {name!r}; "
                f"expected {N_STREAMS - 1}: a shard is missing"
            )

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensor of a checkpoint tensor.

        Embeddings get rows of zeros for tokens that only images and sounds have.
        """
        match source.split("."):
            case ["model", part, "0" | "1" | "2", "weight"] if part in MAPS:
                yield MAPS[part], tensor
                return
        if source.endswith("correct_output_scale"):
            source = f"{source}.weight"
        if "embed_tokens" in source:
            tensor = padded(tensor, required(config, "vocab_size"))
        yield from super().converted(source, tensor, config)

    def traits(self, facts: Facts, claims: Claims) -> Traits:
        """The traits of the forward pass."""
        windowed = windowed_layers(facts, PERIOD)
        first = first_sharing(facts, max(facts.n_layers - N_OWN_KEYS, 0))
        return replace(
            Gemma.traits(self, facts, claims),
            attention_scale=1.0,
            values_normed=True,
            logit_cap=facts.number(LOGIT_CAP, 30.0) or None,
            window=facts.size(WINDOW),
            windowed=windowed,
            windowed_rotary=Rotary.local(facts, claims),
            shares_keys=lambda layer: layer >= first,
        )

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        traits, width = self.traits(facts, claims), facts.width
        n_tokens = vocabulary_size(facts, claims)
        inputs = load_per_layer_inputs(facts, claims, n_tokens, traits)
        before = N_STREAMS * width
        first = first_sharing(facts, max(facts.n_layers - N_OWN_KEYS, 0))
        places = place_keys(facts, traits, first, before + inputs.columns)

        def wrap(parts: Sequential, number: int) -> AltUpLayer:
            assert isinstance(parts.mixer, Attention)
            begin = before + number * inputs.size
            mixed_in = load_layer_input(facts, claims, number, traits)
            return AltUpLayer(
                parts=parts,
                attention=SharedAttention(
                    parts.mixer, places.taken.get(number), places.put.get(number)
                ),
                altup=load_altup(facts, claims, number, traits),
                laurel=load_laurel(facts, claims, number, traits),
                width=width,
                input=InputColumns(slice(begin, begin + inputs.size), mixed_in),
            )

        spread = Spread(stacked_maps(claims, "altup_proj", width))
        merge = Merge(stacked_maps(claims, "altup_unembd_proj", width), width)
        return load_decoder(
            facts,
            claims,
            traits,
            feed_forward=_load_feed_forward,
            opening=GemmaOpening(places.stop, inputs, spread),
            closing=merge,
            wrap=wrap,
        )


def deviations_of(sparsity: float) -> float:
    """The standard deviations that a normal variable stays below with a probability.

    The f32 number of PyTorch's `Normal.icdf`, which llama.cpp's converter writes.
    """
    doubled = np.float32(2) * np.float32(sparsity) - np.float32(1)
    if doubled <= -1:
        return -math.inf
    quantile = NormalDist().inv_cdf((float(doubled) + 1) / 2)
    return float(np.float32(quantile / 2**0.5) * np.float32(2**0.5))


def _load_feed_forward(
    facts: Facts, claims: Claims, number: int, traits: Traits
) -> Part:
    """The feed-forward part of a layer, whose activations may be sparse."""
    part = load_dense(facts, claims, number, traits)
    values = facts.layer_values(SPARSITY)
    deviations = SPARSE if number < N_SPARSE else -math.inf
    if values is not None:
        where = f"{facts.key(SPARSITY)}[{number}]"
        deviations = checked(values[number], DEVIATIONS, where)
    if deviations == -math.inf:
        return part
    assert isinstance(part, Gated)
    return replace(part, gating=partial(sparse_gelu, deviations=deviations))
