"""The encoders of dots 3 note, of images and of sounds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import ClassVar

from ..checkpoint.lazy import LazyTensor, stacked
from ..errors import CheckpointError
from ..gguf.keys import Field, ValueType, array, boolean, float32, uint32
from ..models.config_kinds import MAX_EXPERTS
from ..types import QuantType
from .audio import Pair
from .dots3_audio import Dots3Audio
from .encoder import EPSILON, Encoder, Named, Settings, Tensors

__all__ = ["Dots3Note"]

TOWER = "vision_encoder"
EXPERT = re.compile(
    r"vision_encoder\.blocks\.(\d+)\.mlp\.experts\.(\d+)\.(fc\d)\.weight"
)
MATRICES = ("fc1", "fc2", "fc3")
ROUTED = {
    "mlp.gate_weight": "ffn_gate_inp",
    "mlp.router_bias": "exp_probs_b",
    "mlp.experts.fc1": "ffn_gate_exps",
    "mlp.experts.fc2": "ffn_down_exps",
    "mlp.experts.fc3": "ffn_up_exps",
}
DENSE = {"mlp.fc1": "ffn_gate", "mlp.fc2": "ffn_down", "mlp.fc3": "ffn_up"}
IN_F32 = ("ffn_gate_inp.weight", "exp_probs_b.weight")
N_EXPERTS = "pyramid_num_routed"
FIXED = {
    "adapter_type": "patch_merger",
    "pre_pixel_shuffle": True,
    "use_qk_norm": True,
    "use_bias": False,
    "temporal_patch_size": 1,
    "router_scoring_func": "sigmoid",
    "router_scale": 1.0,
}
"""Settings whose other values llama.cpp does not support."""
STATED = ("adapter_type", "pre_pixel_shuffle", "use_qk_norm")
"""Those that have another value if they are missing."""


class Dots3Vision(Encoder):
    """dots 3 note: experts in the later layers, the more the later."""

    projector = "dots3note_v"
    starts = (f"{TOWER}.",)
    layer = re.compile(r"vision_encoder\.blocks\.(\d+)\.(.+)")
    outer: ClassVar[Mapping[str, str]] = {
        f"{TOWER}.patch_embed.proj": "v.patch_embd",
        f"{TOWER}.patch_embed.norm": "v.pre_ln",
        f"{TOWER}.post_trunk_norm": "mm.post_norm",
        f"{TOWER}.adapter.ln_q": "mm.input_norm",
        f"{TOWER}.adapter.mlp.0": "mm.0",
        f"{TOWER}.adapter.mlp.2": "mm.2",
    }
    inner: ClassVar[Mapping[str, str]] = {
        "norm_1": "ln1",
        "attn.qkv": "attn_qkv",
        "attn.q_norm": "attn_q_norm",
        "attn.k_norm": "attn_k_norm",
        "attn.proj": "attn_out",
        "norm_2": "ln2",
        **DENSE,
        **ROUTED,
    }
    optional = (*DENSE.values(), *ROUTED.values())

    def check_settings(self, settings: Settings) -> None:
        """Refuse settings that GGUF readers do not support.

        Raises:
            CheckpointError: there is such a setting.
        """
        for key, value in FIXED.items():
            settings.vision.only(key, value)
        for key in STATED:
            if key not in settings.vision:
                raise CheckpointError(f"config.json: vision_config lacks {key!r}")

    def own_fields(self, settings: Settings) -> dict[str, Field]:
        """The metadata that only this kind has."""
        vision = settings.vision
        counts = self.expert_counts(settings)
        return {
            "use_silu": boolean(True),
            EPSILON: float32(vision.epsilon("rms_norm_eps")),
            "vision.spatial_merge_size": uint32(vision.size("spatial_merge_size")),
            **settings.images.pixel_bounds("min_pixels", "max_pixels"),
            "vision.expert_count_per_layer": array(ValueType.INT32, counts),
            "vision.expert_used_count": uint32(int(vision.factor("capacity_factor"))),
        }

    def image_size(self, settings: Settings) -> int:
        """The width of an image in pixels differs."""
        return 0

    def width(self, settings: Settings) -> int:
        """The size of hidden states; `hidden_size` is that of the projector."""
        return settings.vision.size("embed_dim")

    def expert_counts(self, settings: Settings) -> list[int]:
        """The number of experts of each layer, 0 if it has none.

        Raises:
            CheckpointError: these are not as many as layers.
        """
        counts = settings.vision.integers(N_EXPERTS, -1, MAX_EXPERTS)
        if len(counts) != self.n_layers(settings):
            raise CheckpointError(
                f"config.json: vision_config.{N_EXPERTS} has {len(counts)} numbers, "
                f"but the encoder has {self.n_layers(settings)} layers"
            )
        return [max(0, count) for count in counts]

    def converted(
        self, source: str, tensor: LazyTensor, settings: Settings
    ) -> Iterator[Named]:
        """The GGUF tensor of a checkpoint tensor."""
        is_bare = source.endswith((".gate_weight", ".router_bias"))
        name = f"{source}.weight" if is_bare else source
        yield self.gguf_name(name, settings), tensor

    def type_of(
        self, name: str, shape: tuple[int, ...], matrices: QuantType
    ) -> QuantType:
        """The type of a tensor; routers are F32, because their scores are near ties."""
        if name.endswith(IN_F32):
            return QuantType.F32
        return super().type_of(name, shape, matrices)

    def needed(self, settings: Settings) -> list[str]:
        """The GGUF names of the tensors that a model must have, with experts'."""
        parts = [
            f"v.blk.{number}.{part}"
            for number, count in enumerate(self.expert_counts(settings))
            for part in (ROUTED if count else DENSE).values()
        ]
        return [*super().needed(settings), *parts]


class Dots3Note(Pair):
    """dots 3 note."""

    hf_classes = ("Dots3NoteForConditionalGeneration", "Dots3NoteForCausalLM")
    projector = Dots3Vision.projector
    image_key = "vision_config"
    images: ClassVar[Dots3Vision] = Dots3Vision()
    sounds = Dots3Audio()

    def check_settings(self, settings: Settings) -> None:
        """Refuse a model of which only half is known, or with unsupported settings.

        Raises:
            CheckpointError: there is such a setting, or one of the two is missing.
        """
        if not settings.vision.values or not settings.audio.values:
            raise CheckpointError("config.json lacks vision_config or audio_config")
        super().check_settings(settings)

    def tensors(self, settings: Settings, stored: Tensors) -> Iterator[Named]:
        """GGUF names and tensors, in the order of llama.cpp's converter."""
        counts = self.images.expert_counts(settings)
        yield from super().tensors(settings, _with_stacks(counts, stored))


def _with_stacks(counts: list[int], stored: Tensors) -> dict[str, LazyTensor]:
    """The tensors, with the experts of each layer as one tensor for each matrix.

    These take the place of the last expert's last matrix.

    Raises:
        CheckpointError: a layer lacks experts, or has others than config.json says.
    """
    made: dict[str, LazyTensor] = {}
    waiting: dict[int, dict[tuple[str, int], LazyTensor]] = {}
    for name, tensor in stored.items():
        match = EXPERT.fullmatch(name)
        if match is None:
            made[name] = tensor
            continue
        layer, number, kind = int(match[1]), int(match[2]), match[3]
        own = waiting.setdefault(layer, {})
        own[kind, number] = tensor
        count = counts[layer] if layer < len(counts) else 0
        if len(own) == len(MATRICES) * count:
            made |= _stacks(layer, count, waiting.pop(layer))
    if waiting:
        layer = min(waiting)
        raise CheckpointError(
            f"layer {layer} of the encoder has {len(waiting[layer])} matrices of "
            f"experts, which are not those that vision_config.{N_EXPERTS} states"
        )
    return made


def _stacks(
    layer: int, count: int, own: Mapping[tuple[str, int], LazyTensor]
) -> dict[str, LazyTensor]:
    """The matrices of a layer's experts, stacked."""
    missing = {(kind, i) for kind in MATRICES for i in range(count)} - set(own)
    if missing:
        kind, number = min(missing)
        raise CheckpointError(
            f"the checkpoint lacks '{TOWER}.blocks.{layer}.mlp.experts.{number}."
            f"{kind}.weight'"
        )
    return {
        f"{TOWER}.blocks.{layer}.mlp.experts.{kind}.weight": stacked(
            [own[kind, number] for number in range(count)]
        )
        for kind in MATRICES
    }
