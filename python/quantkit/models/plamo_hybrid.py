"""PLaMo 2 and 3: norms before and after each part, whose weights are near 0.

PLaMo 2 has recurrent layers and attention by turns, PLaMo 3 sliding windows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from ..checkpoint.lazy import LazyTensor, reshaped
from ..checkpoint.lazy_functions import decay_rates, plus
from ..forward.attention import load_attention
from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import load_decoder
from ..forward.facts import Facts
from ..forward.layer import Mixer, Sequential
from ..forward.layers import Norm
from ..forward.layout import Layout
from ..forward.plamo_space import load_plamo_space
from ..forward.rotary import DEFAULT_BASE, Rotary
from ..forward.traits import Traits
from ..forward.windows import PATTERN, WINDOW, windowed_layers
from ..gguf.keys import Field, ValueType, array, float32, uint32
from ..settings import COUNT, checked
from .config import FILE_TYPE, first, n_layers, required, text_fields
from .config_required import one_number
from .family import DECODER_TENSORS, Family, Named
from .plamo import LAYERS
from .rope_config import rope_parameters
from .space_tensors import BARE
from .windows import warn_of_windows

__all__ = ["Plamo2", "Plamo3"]

RMS = "attention.layer_norm_rms_epsilon"
SHIFTS = {
    ".pre_mixer_norm.weight": 1.0,
    ".post_mixer_norm.weight": 1 / 5,
    ".pre_mlp_norm.weight": 1.0,
    ".post_mlp_norm.weight": 1 / 5**1.5,
    ".norm.weight": 1.0,
}
"""The end of a norm's name -> what is added to its weights."""
WITHOUT_KIND = ("post_mixer_norm.weight", "post_mlp_norm.weight")
COMMON = {
    "pre_mixer_norm": "attn_norm",
    "post_mixer_norm.weight": "post_attention_norm",
    "pre_mlp_norm": "ffn_norm",
    "post_mlp_norm.weight": "post_ffw_norm",
    "mixer.qkv_proj": "attn_qkv",
    "mixer.o_proj": "attn_output",
    "mlp.gate_up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
LAYOUT = Layout(fused=True, query_bias="none", query_norms="required", gate="fused")
PERIOD = 8
"""Of layers with full attention in PLaMo 3, if the metadata do not tell."""
UNSCALED_FACTOR = 1


class _Plamo(Family):
    """What both versions share."""

    defaults: ClassVar[Mapping[str, Any]] = {
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": True,
    }
    assumed: ClassVar[Mapping[str, tuple[Any, ...]]] = {}
    outer: ClassVar = DECODER_TENSORS
    layer = LAYERS
    inner: ClassVar[Mapping[str, str]] = COMMON
    shifts: ClassVar[Mapping[str, float]] = SHIFTS

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensor of a checkpoint tensor, of norms with what is added."""
        for end, shift in self.shifts.items():
            if source.endswith(end):
                tensor = plus(tensor, shift)
                break
        yield self.gguf_name(source, config), tensor


class Plamo2(_Plamo):
    """The architecture that llama.cpp calls `plamo2`."""

    name = "plamo2"
    hf_classes = ("Plamo2ForCausalLM", "PLaMo2ForCausalLM")
    defaults: ClassVar = {
        **_Plamo.defaults,
        "hidden_size": 4096,
        "intermediate_size": 13312,
        "num_attention_heads": 32,
        "num_key_value_heads": 4,
        "hidden_size_per_head": 128,
        "max_position_embeddings": 2048,
        "mamba_step": 2,
        "mamba_d_state": 64,
        "mamba_d_conv": 4,
        "mamba_num_heads": 64,
    }
    assumed: ClassVar = {"mamba_enabled": (True,)}
    rope_types = ("default",)
    bare = (
        *(*BARE, *WITHOUT_KIND, ".dt_bias", ".q_weight", ".k_weight"),
        *(".dt_norm_weight", ".B_norm_weight", ".C_norm_weight"),
    )
    inner: ClassVar = {
        **COMMON,
        "mixer.q_weight": "attn_q_norm.weight",
        "mixer.k_weight": "attn_k_norm.weight",
        "mixer.in_proj": "ssm_in",
        "mixer.conv1d": "ssm_conv1d",
        "mixer.bcdt_proj": "ssm_x",
        "mixer.dt_proj": "ssm_dt",
        "mixer.dt_bias": "ssm_dt.bias",
        "mixer.dt_norm_weight": "ssm_dt_norm",
        "mixer.B_norm_weight": "ssm_b_norm",
        "mixer.C_norm_weight": "ssm_c_norm",
        "mixer.A_log": "ssm_a",
        "mixer.D": "ssm_d",
        "mixer.out_proj": "ssm_out",
    }
    layout: ClassVar = replace(LAYOUT, query_norm_span="heads")

    def complete(self, config: Config) -> dict[str, Any]:
        """The config, with missing keys set, and the usual key of the head size."""
        whole = super().complete(config)
        whole["head_dim"] = required(whole, "hidden_size_per_head")
        return whole

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent; tell of the window.

        Raises:
            UnsupportedModelError: the config has such a setting.
        """
        super().check_settings(config)
        warn_of_windows(
            {**config, "sliding_window": config.get("attention_window_size")}
        )

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        attends = _attending(config)
        size = required(config, "hidden_size_per_head")
        n_heads, n_kv_heads, space_heads = (
            required(config, f"{key}_heads")
            for key in ("num_attention", "num_key_value", "mamba_num")
        )
        sizes = {
            "context_length": required(config, "max_position_embeddings"),
            "embedding_length": required(config, "hidden_size"),
            "attention.key_length": size,
            "attention.value_length": size,
            "block_count": n_layers(config),
        }
        space = {
            "ssm.state_size": required(config, "mamba_d_state"),
            "ssm.conv_kernel": required(config, "mamba_d_conv"),
            "ssm.time_step_rank": space_heads,
            "ssm.inner_size": space_heads * size,
            "ssm.group_count": 0,
            "feed_forward_length": required(config, "intermediate_size"),
        }

        return {
            "vocab_size": uint32(required(config, "vocab_size")),
            "attention.head_count_kv": array(
                ValueType.INT32, [n_kv_heads * attended for attended in attends]
            ),
            # also of recurrent layers: readers compute the rotation from the first
            "attention.head_count": array(ValueType.INT32, [n_heads] * len(attends)),
            **{key: uint32(value) for key, value in sizes.items()},
            RMS: float32(required(config, "rms_norm_eps")),
            "rope.freq_base": float32(
                one_number(rope_parameters(config), "rope_theta")
            ),
            **{key: uint32(value) for key, value in space.items()},
            FILE_TYPE: uint32(file_type),
        }

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensor of a checkpoint tensor."""
        if source.endswith(".A_log"):
            tensor = decay_rates(tensor)
        if source.endswith(".conv1d.weight") and len(tensor.shape) == 3:
            tensor = reshaped(tensor, (tensor.shape[0], tensor.shape[2]))
        yield from super().converted(source, tensor, config)

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        facts.count("ssm.group_count", 0)
        kv_heads = facts.layer_values("attention.head_count_kv")

        def mixer(facts: Facts, claims: Claims, number: int, traits: Traits) -> Mixer:
            if kv_heads is not None and not kv_heads[number]:
                return load_plamo_space(facts, claims, number, traits)
            return load_attention(facts, claims, number, traits)

        traits = Traits(
            epsilon=facts.rms_epsilon,
            layout=self.layout,
            rotary=Rotary.load(facts, claims, self.layout),
        )
        return load_decoder(
            facts, claims, traits, mixer, wrap=_norms_after(facts, claims, traits)
        )


class Plamo3(_Plamo):
    """The architecture that llama.cpp calls `plamo3`."""

    name = "plamo3"
    hf_classes = ("Plamo3ForCausalLM", "PLaMo3ForCausalLM")
    defaults: ClassVar = {**_Plamo.defaults, "default_theta": None}
    rope_types = ("default", "yarn")
    bare = WITHOUT_KIND
    inner: ClassVar = {
        **COMMON,
        "mixer.q_norm": "attn_q_norm",
        "mixer.k_norm": "attn_k_norm",
    }
    shifts: ClassVar = {
        **SHIFTS,
        ".mixer.q_norm.weight": 1.0,
        ".mixer.k_norm.weight": 1.0,
    }
    layout: ClassVar = LAYOUT
    truncates_yarn = False

    def complete(self, config: Config) -> dict[str, Any]:
        """The config, with missing keys set, and YaRN's settings if it extends."""
        whole = super().complete(config)
        factor = whole.get("rope_scaling_factor") or UNSCALED_FACTOR
        if factor != UNSCALED_FACTOR and not whole.get("rope_parameters"):
            whole["rope_parameters"] = {
                "rope_type": "yarn",
                "factor": float(factor),
                "original_max_position_embeddings": required(
                    whole, "initial_context_length"
                ),
                "beta_fast": 32.0,
                "beta_slow": 1.0,
                "truncate": False,
            }
        return whole

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        fields = {
            **text_fields(config, file_type),
            "vocab_size": uint32(required(config, "vocab_size")),
        }
        window = first(config, "window_size", "sliding_window")
        if window is not None:
            fields[WINDOW] = uint32(window)
            period = required(config, "sliding_window_pattern")
            checked(period, COUNT, "sliding_window_pattern")
            fields[PATTERN] = uint32(period)
        return fields

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        traits = Traits(
            epsilon=facts.rms_epsilon,
            layout=self.layout,
            rotary=Rotary.load(facts, claims, self.layout),
        )
        if facts.count(WINDOW, 0):
            traits = replace(
                traits,
                window=facts.size(WINDOW),
                windowed=windowed_layers(facts, PERIOD),
                windowed_rotary=Rotary.local(facts, claims, DEFAULT_BASE),
            )
        wrap = _norms_after(facts, claims, traits)
        return load_decoder(facts, claims, traits, wrap=wrap)


def _attending(config: Config) -> list[bool]:
    """Which layers have attention: those in the middle of each `mamba_step` layers."""
    n, step = n_layers(config), required(config, "mamba_step")
    if n <= step // 2:
        return [layer == n - 1 for layer in range(n)]
    return [layer % step == step // 2 for layer in range(n)]


def _norms_after(
    facts: Facts, claims: Claims, traits: Traits
) -> Callable[[Sequential, int], Sequential]:
    """What gives a layer the norms after its parts, whose names have no kind."""

    def norm(name: str) -> Norm:
        weight = claims.vector(name, facts.width)
        return Norm(weight, None, traits.epsilon, centered=False)

    def with_norms(layer: Sequential, number: int) -> Sequential:
        return replace(
            layer,
            mixer_out_norm=norm(f"blk.{number}.post_attention_norm"),
            feed_forward_out_norm=norm(f"blk.{number}.post_ffw_norm"),
        )

    return with_norms
