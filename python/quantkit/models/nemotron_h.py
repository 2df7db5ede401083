"""Nemotron-H: each layer is Mamba-2, attention, or a feed-forward part alone.

The feed-forward part has no gate, and a squared ReLU.  Experts may work on vectors
smaller than the hidden states.  GGUF has two architectures, without and with experts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from ..checkpoint.lazy import LazyTensor, taken
from ..errors import CheckpointError, UnsupportedModelError
from ..forward.attention import load_attention
from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.experts import load_experts
from ..forward.facts import Facts
from ..forward.feed_forward import load_feed_forward
from ..forward.layer import Mixer, Part
from ..forward.layout import Layout
from ..forward.mamba import load_mamba2
from ..forward.traits import Traits, nowhere
from ..gguf.keys import Field, ValueType, array, boolean, float32, uint32
from ..settings import shown
from .config import require_setting, required, text_fields
from .family import Family, Named, Tensors
from .llama import interleaved_rows
from .next_predictors import PREDICTOR
from .space_tensors import ARBITRARY_CONTEXT, BARE, as_stored, mamba2_names

__all__ = ["NemotronH", "NemotronHMoe"]

SPACE, ATTENTION, EXPERTS, DENSE = "mamba", "attention", "moe", "mlp"
PREDICTING = "attention and moe"
"""The kind of the layer that predicts further tokens; the forward pass leaves it."""
ATTENDING = (ATTENTION, PREDICTING)
LETTERS = {"M": SPACE, "*": ATTENTION, "E": EXPERTS, "-": DENSE}
WORDS = {"linear_attention": SPACE, "full_attention": ATTENTION}
KINDS = "layer_kinds"
"""The key of the list of a complete config."""

LISTS = ("layers_block_type", "hybrid_override_pattern")
"""The keys of config.json that list the layers."""

LEAST_STEP = 0.001
"""The published `time_step_min`.  Readers do not bound steps, which are far above."""

PREDICTORS = "mtp.layers."
IN_PREDICTORS = re.compile(r"mtp\.layers\.[01]\.(?P<part>.+)")
NORMS_OF_PREDICTORS = {
    "mtp.layers.1.norm.weight": "post_attention_layernorm.weight",
    "mtp.layers.1.final_layernorm.weight": "shared_head.norm.weight",
}
"""They are published as two layers: attention, and experts with the last norm."""

HEADS = {
    ".q_proj.weight": "num_attention_heads",
    ".k_proj.weight": "num_key_value_heads",
}
"""Matrices whose rows are reordered as in Llama, though heads do not rotate."""

LATENT = "moe_latent_size"
"""The key of the config and of GGUF."""

EXPERT_FIELDS = {
    "expert_feed_forward_length": ("moe_intermediate_size", uint32),
    "expert_shared_feed_forward_length": (
        "moe_shared_expert_intermediate_size",
        uint32,
    ),
    "expert_shared_count": ("n_shared_experts", uint32),
    "expert_weights_norm": ("norm_topk_prob", boolean),
    "expert_weights_scale": ("routed_scaling_factor", float32),
}


class NemotronH(Family):
    """The architecture that llama.cpp calls `nemotron_h`, without experts."""

    name = "nemotron_h"
    hf_classes: ClassVar[tuple[str, ...]] = ("NemotronHForCausalLM",)
    defaults: ClassVar[Mapping[str, Any]] = {
        "layer_norm_epsilon": 1e-5,
        "head_dim": 128,
        "num_key_value_heads": 8,
        "mamba_num_heads": 128,
        "mamba_head_dim": 64,
        "n_groups": 8,
        "ssm_state_size": 128,
        "conv_kernel": 4,
        "intermediate_size": 21504,
        "default_theta": None,
    }
    assumed: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "mlp_hidden_act": ("relu2",),
        "mamba_hidden_act": ("silu", "swish"),
    }
    rope_types = ()
    renames: ClassVar[tuple[tuple[str, str], ...]] = (
        ("model.", "backbone."),
        (".e_score_correction_bias", ".e_score_correction.bias"),
        (".dt_bias", ".dt.bias"),
    )
    outer: ClassVar = {
        "backbone.embeddings": "token_embd",
        "backbone.norm_f": "output_norm",
        "lm_head": "output",
    }
    layer: ClassVar = re.compile(r"backbone\.layers\.(\d+)\.(.+)")
    bare = BARE
    inner: ClassVar[Mapping[str, str]] = {
        "norm": "attn_norm",
        **mamba2_names("mixer"),
        "mixer.q_proj": "attn_q",
        "mixer.k_proj": "attn_k",
        "mixer.v_proj": "attn_v",
        "mixer.o_proj": "attn_output",
        "mixer.up_proj": "ffn_up",
        "mixer.down_proj": "ffn_down",
    }
    layout: ClassVar[Layout] = Layout(
        attention_bias="optional", gate="none", feed_forward_bias="optional"
    )
    fed: ClassVar[str] = DENSE
    """The kind of layers with a feed-forward part."""
    inner_size: ClassVar[str] = "intermediate_size"
    """The config key of their width."""
    of_experts: ClassVar[tuple[str, ...]] = (
        *("n_routed_experts", "num_experts_per_tok", "n_group", "topk_group"),
    )
    """Config keys of experts that the models do not have."""

    @classmethod
    def suits(cls, config: Config) -> bool:
        """Whether a config of the class is of this architecture.

        transformers 5 writes settings of experts also for models without any.
        """
        if any(config.get(key) is not None for key in LISTS):
            return EXPERTS not in _layer_kinds(config)
        return config.get("num_experts_per_tok") is None

    def complete(self, config: Config) -> dict[str, Any]:
        """The config, with missing keys set to the defaults of its class.

        Raises:
            CheckpointError: it has no list of the layers, or one that contradicts it.
        """
        whole = super().complete(config)
        kinds = _layer_kinds(whole)
        stated = whole.setdefault("num_hidden_layers", len(kinds))
        if stated != len(kinds):
            raise CheckpointError(
                f"config.json: num_hidden_layers is {stated}, but it lists "
                f"{len(kinds)} layers; download it again"
            )
        if whole.get("attention_head_dim") is not None:
            whole["head_dim"] = whole["attention_head_dim"]
        return whole | {KINDS: kinds}

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            UnsupportedModelError: the config has such a setting.
        """
        super().check_settings(config)
        for kind in config[KINDS]:
            if kind not in (SPACE, *ATTENDING, self.fed):
                raise UnsupportedModelError(
                    f"config.json has a layer of kind {shown(kind)}; for this "
                    f"architecture GGUF readers support only {SPACE}, {ATTENTION} and "
                    f"{self.fed}"
                )
        if (config.get("time_step_min") or 0) > LEAST_STEP:
            raise UnsupportedModelError(
                f"config.json has time_step_min: {config['time_step_min']}; GGUF "
                f"readers support only {LEAST_STEP} or less"
            )

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        kinds, width = config[KINDS], required(config, "hidden_size")
        n_heads = required(config, "num_attention_heads")
        n_kv_heads = required(config, "num_key_value_heads")
        inner = self.inner_sizes(config)
        unread = dict.fromkeys(("head_dim", *self.of_experts))
        fields = text_fields({**config, **unread}, file_type)
        fields["context_length"] = uint32(ARBITRARY_CONTEXT)
        fields["feed_forward_length"] = array(ValueType.INT32, inner)
        fields["attention.head_count_kv"] = array(
            ValueType.INT32, [n_kv_heads * (kind in ATTENDING) for kind in kinds]
        )
        counts = {
            "vocab_size": required(config, "vocab_size"),
            "rope.dimension_count": width // n_heads,
            "ssm.conv_kernel": required(config, "conv_kernel"),
            "ssm.state_size": required(config, "ssm_state_size"),
            "ssm.group_count": required(config, "n_groups"),
            "ssm.inner_size": required(config, "mamba_num_heads")
            * required(config, "mamba_head_dim"),
            "ssm.time_step_rank": required(config, "mamba_num_heads"),
        }
        fields |= {key: uint32(value) for key, value in counts.items()}
        fields["rope.scaling.finetuned"] = boolean(False)
        head = {"attention.key_length": 0, "attention.value_length": 0}
        return fields | dict.fromkeys(head, uint32(required(config, "head_dim")))

    def inner_sizes(self, config: Config) -> list[int]:
        """The width inside each layer's feed-forward part; 0: it has none."""
        size = required(config, self.inner_size)
        return [size * (kind in (self.fed, PREDICTING)) for kind in config[KINDS]]

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensor of a checkpoint tensor."""
        if ".mixer." in source:
            tensor = as_stored(source, tensor, required(config, "n_groups"))
        for end, key in HEADS.items():
            if source.endswith(end):
                heads = interleaved_rows(source, tensor, required(config, key))
                tensor = taken(tensor, heads)
        yield self.gguf_name(source, config), tensor

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        inner = _of_layers(facts, "feed_forward_length")
        kv_heads = _of_layers(facts, "attention.head_count_kv")

        def mixer(
            facts: Facts, claims: Claims, number: int, traits: Traits
        ) -> Mixer | None:
            if inner[number]:
                return None
            load = load_attention if kv_heads[number] else load_mamba2
            return load(facts, claims, number, traits)

        def feed_forward(
            facts: Facts, claims: Claims, number: int, traits: Traits
        ) -> Part | None:
            if not inner[number]:
                return None
            return self.load_feed_forward(facts, claims, number, traits)

        return load_decoder(facts, claims, self.traits(facts), mixer, feed_forward)

    def traits(self, facts: Facts) -> Traits:
        """The traits of the forward pass."""
        has_own = "attention.layer_norm_rms_epsilon" in facts
        return Traits(
            epsilon=facts.rms_epsilon if has_own else facts.epsilon,
            layout=self.layout,
            activation="relu_squared",
            rotates=nowhere,
        )

    def load_feed_forward(
        self, facts: Facts, claims: Claims, number: int, traits: Traits
    ) -> Part:
        """The feed-forward part of a layer that has one."""
        return load_feed_forward(facts, claims, number, traits)


class NemotronHMoe(NemotronH):
    """The architecture that llama.cpp calls `nemotron_h_moe`."""

    name = "nemotron_h_moe"
    hf_classes: ClassVar[tuple[str, ...]] = ("NemotronHForCausalLM",)
    inner: ClassVar = {
        **{k: v for k, v in NemotronH.inner.items() if not v.startswith("ffn_")},
        "mixer.gate": "ffn_gate_inp",
        "mixer.gate.e_score_correction": "exp_probs_b",
        "mixer.shared_experts.up_proj": "ffn_up_shexp",
        "mixer.shared_experts.down_proj": "ffn_down_shexp",
        "mixer.fc1_latent_proj": "ffn_latent_down",
        "mixer.fc2_latent_proj": "ffn_latent_up",
        "post_attention_layernorm": "post_attention_norm",
        **PREDICTOR,
    }
    defaults: ClassVar = {
        **NemotronH.defaults,
        "norm_topk_prob": True,
        "routed_scaling_factor": 1.0,
        "n_shared_experts": 1,
        "n_group": 1,
        "topk_group": 1,
    }
    experts: ClassVar = {"down_proj": "ffn_down_exps", "up_proj": "ffn_up_exps"}
    layout: ClassVar[Layout] = replace(NemotronH.layout, feed_forward_bias="none")
    fed = EXPERTS
    of_experts = ()
    inner_size = "moe_intermediate_size"

    @classmethod
    def suits(cls, config: Config) -> bool:
        """Whether a config of the class is of this architecture."""
        return not NemotronH.suits(config)

    def extended(self, config: Config, stored: Tensors) -> Config:
        """The complete config; layers that predict further tokens become one.

        Raises:
            UnsupportedModelError: there are others than llama.cpp knows.
        """
        if not any(name.startswith(PREDICTORS) for name in stored):
            return config
        require_setting(config, "num_nextn_predict_layers", 1)
        return {**config, KINDS: [*config[KINDS], PREDICTING]}

    def n_blocks(self, config: Config) -> int:
        """The number of layers, with one that only predicts further tokens."""
        return len(config[KINDS])

    def mapped(self, config: Config, stored: Tensors) -> Iterator[Named]:
        """The GGUF tensors made from the checkpoint's tensors."""
        last = f"backbone.layers.{self.n_blocks(config) - 1}."
        named = {_in_layer(name, last): tensor for name, tensor in stored.items()}
        yield from super().mapped(config, named)

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        fields = super().hyperparameters(config, file_type)
        fields["block_count"] = uint32(self.n_blocks(config))
        fields |= self.expert_fields(config)
        if config.get(LATENT) is not None:
            fields[LATENT] = uint32(config[LATENT])
        if PREDICTING in config[KINDS]:
            fields["nextn_predict_layers"] = uint32(1)
        return fields

    def expert_fields(self, config: Config) -> Mapping[str, Field]:
        """The metadata of the experts, in llama.cpp's order."""
        return {
            key: kind(required(config, name))
            for key, (name, kind) in EXPERT_FIELDS.items()
        }

    def load_feed_forward(
        self, facts: Facts, claims: Claims, number: int, traits: Traits
    ) -> Part:
        """The experts of a layer that has some."""
        experts = load_experts(
            facts,
            number,
            gating="sigmoid",
            normed=facts.flag("expert_weights_norm", False),
            scale=facts.number("expert_weights_scale", 1.0) or 1.0,
            shared_size=lambda layer: facts.size("expert_shared_feed_forward_length"),
            choice_bias="required",
            latent=facts.size(LATENT) if facts.count(LATENT, 0) else None,
        )
        return load_feed_forward(
            facts, claims, number, replace(traits, experts=experts)
        )


def _layer_kinds(config: Config) -> list[str]:
    """The kind of each layer, from a list of words or a string of letters.

    Raises:
        CheckpointError: there is none, or it has an unknown letter.
    """
    if (pattern := config.get("hybrid_override_pattern")) is not None:
        if unknown := set(pattern) - set(LETTERS):
            raise CheckpointError(
                f"config.json: hybrid_override_pattern has {shown(min(unknown))}; "
                f"expected letters of {shown(''.join(LETTERS))}"
            )
        return [LETTERS[letter] for letter in pattern]
    words = required(config, *LISTS)
    return [WORDS.get(word, word) for word in words]


def _in_layer(name: str, layer: str) -> str:
    """The name of a tensor; of one that predicts further tokens, inside `layer`."""
    if name in NORMS_OF_PREDICTORS:
        return layer + NORMS_OF_PREDICTORS[name]
    match = IN_PREDICTORS.fullmatch(name)
    return layer + match["part"] if match else name


def _of_layers(facts: Facts, key: str) -> list[int]:
    """A count of each layer."""
    values = facts.layer_values(key)
    if values is None:
        return [facts.count(key)] * int(facts.n_blocks)
    return values
