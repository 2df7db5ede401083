"""Mamba, Falcon-Mamba and Mamba-2: recurrent layers without feed-forward parts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, ClassVar

from ..checkpoint.lazy import LazyTensor
from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.decoder import MixerLoader, load_decoder
from ..forward.facts import Facts
from ..forward.layout import Layout
from ..forward.mamba import load_mamba, load_mamba2
from ..forward.traits import Traits
from ..gguf.keys import Field, boolean, float32, uint32
from .config import FILE_TYPE, n_layers, require_setting, required
from .family import SILU, Family, Named
from .space_tensors import (
    ARBITRARY_CONTEXT,
    BARE,
    UNBOUNDED,
    as_stored,
    mamba2_names,
    mamba_names,
)

__all__ = ["FalconMamba", "Mamba", "Mamba2"]

EPSILON = ("layer_norm_epsilon", "rms_norm_eps")
WIDTH = ("hidden_size", "d_model", "dim")
UNUSED = ("feed_forward_length", "attention.head_count")
"""What readers want, though these models have nothing of the kind."""
RANK_OF = 16
"""The rank of steps is the width divided by this, if the config does not tell."""


class Mamba(Family):
    """The architecture that llama.cpp calls `mamba`."""

    name = "mamba"
    hf_classes: ClassVar[tuple[str, ...]] = ("MambaForCausalLM", "MambaLMHeadModel")
    defaults: ClassVar[Mapping[str, Any]] = {
        "layer_norm_epsilon": 1e-5,
        "tie_word_embeddings": True,
        "state_size": 16,
        "conv_kernel": 4,
        "expand": 2,
        "pad_vocab_size_multiple": 8,
        "default_theta": None,
    }
    assumed: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        **SILU,
        "expand": (2,),
        "rms_norm": (True,),
    }
    rope_types = ()
    drops_tied_head = True
    renames: ClassVar[tuple[tuple[str, str], ...]] = (
        ("backbone.embedding.", "backbone.embeddings."),
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
        **mamba_names("mixer"),
    }
    layout: ClassVar[Layout] = Layout()
    norms_controls: ClassVar[bool] = False
    """Whether steps, inputs and outputs of states are normalized."""

    def complete(self, config: Config) -> dict[str, Any]:
        """The config, with missing keys set to the defaults of its class."""
        whole = super().complete(config)
        step = required(whole, "pad_vocab_size_multiple")
        if whole.get("vocab_size") is not None:
            whole["vocab_size"] = -(-whole["vocab_size"] // step) * step
        return whole

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            UnsupportedModelError: the config has such a setting.
        """
        super().check_settings(config)
        width = required(config, *WIDTH)
        require_setting(config, "intermediate_size", 2 * width)

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        return {
            **self.sizes(config),
            "attention.layer_norm_rms_epsilon": float32(required(config, *EPSILON)),
            "ssm.dt_b_c_rms": boolean(self.norms_controls),
            FILE_TYPE: uint32(file_type),
        }

    def sizes(self, config: Config) -> dict[str, Field]:
        """The sizes in the metadata."""
        width = required(config, *WIDTH)
        rank = config.get("time_step_rank")
        sizes = {
            "context_length": ARBITRARY_CONTEXT,
            "embedding_length": width,
            "feed_forward_length": 0,
            "attention.head_count": 0,
            "block_count": n_layers(config),
            "ssm.conv_kernel": required(config, "conv_kernel"),
            "ssm.inner_size": required(config, "expand") * width,
            "ssm.state_size": required(config, "state_size"),
            "ssm.time_step_rank": -(-width // RANK_OF)
            if rank in (None, "auto")
            else rank,
        }
        return {key: uint32(value) for key, value in sizes.items()}

    def groups(self, config: Config) -> int | None:
        """The groups of Mamba-2's norm; None for Mamba, which has none."""
        return None

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensor of a checkpoint tensor."""
        if ".mixer." in source:
            tensor = as_stored(source, tensor, self.groups(config))
        yield self.gguf_name(source, config), tensor

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors."""
        for key in UNUSED:
            facts.count(key, 0)
        traits = Traits(epsilon=facts.rms_epsilon, layout=self.layout)
        return load_decoder(facts, claims, traits, self.mixer(facts), lambda *_: None)

    def mixer(self, facts: Facts) -> MixerLoader:
        """What loads the mixer of a layer."""
        is_normed = facts.flag("ssm.dt_b_c_rms", False)
        return partial(load_mamba, norms="unweighted" if is_normed else "none")


class FalconMamba(Mamba):
    """The same architecture, with normalized steps, inputs and outputs of states."""

    hf_classes = ("FalconMambaForCausalLM",)
    norms_controls = True


class Mamba2(Mamba):
    """The architecture that llama.cpp calls `mamba2`."""

    name = "mamba2"
    hf_classes = ("Mamba2ForCausalLM",)
    defaults: ClassVar = {
        **Mamba.defaults,
        "tie_word_embeddings": False,
        "state_size": 128,
        "head_dim": 64,
        "n_groups": 8,
        "pad_vocab_size_multiple": 16,
    }
    assumed: ClassVar = {
        **{k: v for k, v in Mamba.assumed.items() if k != "expand"},
        "time_step_limit": UNBOUNDED,
    }
    renames = (
        *Mamba.renames,
        ("model.backbone.", "backbone."),
        ("model.lm_head.", "lm_head."),
        (".dt_bias", ".dt.bias"),
    )
    inner: ClassVar = {
        "norm": "attn_norm",
        **mamba2_names("mixer"),
    }

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Raises:
            UnsupportedModelError: the config has such a setting.
        """
        Family.check_settings(self, config)
        inner = required(config, "expand") * required(config, *WIDTH)
        require_setting(config, "intermediate_size", inner)
        size = required(config, "head_dim")
        require_setting(config, "num_heads", inner // size)

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        inner = required(config, "expand") * required(config, *WIDTH)
        return {
            **self.sizes(config),
            "ssm.time_step_rank": uint32(inner // required(config, "head_dim")),
            "ssm.group_count": uint32(required(config, "n_groups")),
            "attention.layer_norm_rms_epsilon": float32(required(config, *EPSILON)),
            FILE_TYPE: uint32(file_type),
        }

    def groups(self, config: Config) -> int | None:
        """The groups of the norm."""
        return int(required(config, "n_groups"))

    def mixer(self, facts: Facts) -> MixerLoader:
        """What loads the mixer of a layer."""
        return load_mamba2
