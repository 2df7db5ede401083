"""The base class of model families: metadata, tensor names and forward pass.

A family is one class in this folder.  It defines how a Hugging Face config becomes GGUF
metadata, which checkpoint tensors form each GGUF tensor, and how hidden states are
computed from GGUF tensors.  It does not access files: tensors are passed in by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from ..checkpoint.lazy import LazyTensor, stacked
from ..checkpoint.lazy_functions import plus
from ..errors import CheckpointError, UnsupportedModelError
from ..forward.base import Config, Model
from ..forward.claims import Claims
from ..forward.facts import Facts
from ..forward.layout import Layout
from ..forward.rotary import DEFAULT_BASE
from ..gguf.keys import Field, FileType
from ..types import QuantType
from .config import EXPERTS, n_layers, require_setting, required, text_fields
from .config_biases import check_biases
from .config_relations import LAYER_TYPES
from .drafts import TARGET
from .other_parts import has_other_parts, is_other_part
from .rope_check import check_rotary
from .tied_head import HEAD, check_tied_head, with_head
from .unknown_tensors import unknown_tensor

__all__ = [
    "DECODER_LAYER",
    "DECODER_TENSORS",
    "EXPERT_MATRICES",
    "KEPT_F32",
    "NUMBERED_EXPERTS",
    "SHARED_EXPERTS",
    "SILU",
    "Family",
    "Named",
    "Tensors",
]

Tensors = Mapping[str, LazyTensor]
Named = tuple[str, LazyTensor]

SILU = {"hidden_act": ("silu", "swish")}
DECODER_TENSORS = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
}
DECODER_LAYER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
EXPERT_MATRICES = {
    "down_proj": "ffn_down_exps",
    "gate_proj": "ffn_gate_exps",
    "up_proj": "ffn_up_exps",
}
"""The matrices of experts, in the order of llama.cpp's converter."""
NUMBERED_EXPERTS = {
    "w1": "ffn_gate_exps",
    "w2": "ffn_down_exps",
    "w3": "ffn_up_exps",
}
"""The same, where they have Mixtral's names."""
SHARED_EXPERTS = {
    "mlp.shared_experts.gate_proj": "ffn_gate_shexp",
    "mlp.shared_experts.up_proj": "ffn_up_shexp",
    "mlp.shared_experts.down_proj": "ffn_down_shexp",
}
# Old checkpoints store these tensors, which can be computed from the config.
COMPUTED = (".rotary_emb.inv_freq", ".attention.bias", ".attention.masked_bias")
WRAPPED = (("language_model.", ""), ("text_model.", ""))
"""Renames of a text model inside a multimodal one, as in llama.cpp's converter."""
SIZE = "vocab_size"
EXPERT = re.compile(r"(?P<before>.*)\.(?P<number>\d+)\.(?P<part>\w+)")

KEPT_F32 = (
    "_norm.weight",
    "altup_correct_coef.weight",
    "altup_predict_coef.weight",
    "ffn_gate_inp.weight",
    "ffn_gate_inp_shexp.weight",
    "indexer.proj.weight",
    "position_embd.weight",
    "shortconv.conv.weight",
    "ssm_conv1d.weight",
    "ssm_conv1d_k.weight",
    "ssm_conv1d_q.weight",
    "ssm_conv1d_v.weight",
    "time_mix_decay_w1.weight",
    "time_mix_decay_w2.weight",
    "time_mix_first.weight",
    "time_mix_lerp_fused.weight",
    "time_mix_w1.weight",
    "time_mix_w2.weight",
    "token_types.weight",
)
"""Matrices written as F32, like vectors: readers require it, and they are small."""


class Family:
    """One model architecture of llama.cpp.

    Subclasses override what differs from the defaults, which fit a Llama-like decoder
    whose tensors are written unchanged.

    Attributes:
        name: `general.architecture`, such as "llama".
        hf_classes: the `architectures` entries of Hugging Face configs for this family.
        headless: those of them without an output head, whose tensors have names without
            "model.".
        model_types: the values of `model_type`, or of that of `text_config`, by which
            families with the same class are told apart; empty: any.
        defaults: the config class's values for keys that config.json lacks.
            `default_theta` is the rotary base; None if transformers has no such class,
            because llama.cpp then writes no base.  A `num_key_value_heads` of None
            means as many as attention heads.
        assumed: config key -> the values that GGUF readers assume, because GGUF has no
            key for the setting; others are refused.
        layer_types: the values that the config's `layer_types` may have.
        rope_types: the types of rope scaling that GGUF readers support; none if heads
            do not rotate.
        drops_tied_head: whether a stored head is left out if the config ties it.
        rotates_partly: whether they read how many components of a head rotate.
        reads_yarn_ends: whether they read where YaRN's ramp starts and ends.
        truncates_yarn: whether they round the ends of YaRN's ramp to whole pairs.
        renames: (old, new) replacements applied to the checkpoint's tensor names,
            after `WRAPPED`.
        skipped: suffixes of tensor names that are not written to GGUF.
        foreign: substrings of the names of vision and audio tensors, also not written.
        outer: checkpoint module -> GGUF name, outside the layers.
        layer: pattern of a layer's modules; its groups are the layer number and the
            rest of the name.
        inner: checkpoint module -> GGUF name, inside a layer.
        unnamed_weights: ends of the names of weights that are not called "weight" in
            the checkpoint, and are in GGUF.
        bare: ends of the names of tensors that are not called "weight" or "bias", in
            the checkpoint and in GGUF.
        experts: module of one expert's matrix -> GGUF name of the stacked matrices.
        layout: which tensors models have, for the forward pass.
        norm_shift: what is added to the weights of norms.
        file_type: `general.file_type` of files with MXFP4 tensors; None: it follows
            from the type of matrices.
        kept_f32: ends of the names of matrices that are written as F32.
        reads: keys of `forward.unread_settings.NEUTRAL` that the forward pass reads.
        unread: starts of the names of tensors that do not change the logits.
        pools: whether GGUF has the pooling that modules.json names.
        has_vocabulary: whether models have a tokenizer.
        drafts: whether models draft tokens for another model (the target), and have its
            vocabulary.
        refused_files: names of files that a checkpoint must not have, and why.
        predicts_text: whether models predict the next token; others give embeddings.
        not_run: why the forward pass does not run these models; empty: it does.
    """

    name: ClassVar[str]
    hf_classes: ClassVar[tuple[str, ...]]
    headless: ClassVar[tuple[str, ...]] = ()
    model_types: ClassVar[tuple[str, ...]] = ()
    defaults: ClassVar[Mapping[str, Any]] = {}
    assumed: ClassVar[Mapping[str, tuple[Any, ...]]] = SILU
    layer_types: ClassVar[tuple[str, ...]] = LAYER_TYPES
    rope_types: ClassVar[tuple[str, ...]] = ("default", "linear", "yarn", "dynamic")
    drops_tied_head: ClassVar[bool] = False
    rotates_partly: ClassVar[bool] = False
    reads_yarn_ends: ClassVar[bool] = False
    truncates_yarn: ClassVar[bool] = True
    renames: ClassVar[tuple[tuple[str, str], ...]] = ()
    skipped: ClassVar[tuple[str, ...]] = COMPUTED
    foreign: ClassVar[tuple[str, ...]] = ()
    outer: ClassVar[Mapping[str, str]] = DECODER_TENSORS
    layer: ClassVar[re.Pattern[str]] = re.compile(r"model\.layers\.(\d+)\.(.+)")
    inner: ClassVar[Mapping[str, str]] = DECODER_LAYER
    bare: ClassVar[tuple[str, ...]] = ()
    unnamed_weights: ClassVar[tuple[str, ...]] = ()
    experts: ClassVar[Mapping[str, str]] = {}
    layout: ClassVar[Layout] = Layout()
    norm_shift: ClassVar[float] = 0.0
    file_type: ClassVar[FileType | None] = None
    kept_f32: ClassVar[tuple[str, ...]] = KEPT_F32
    reads: ClassVar[tuple[str, ...]] = ()
    unread: ClassVar[tuple[str, ...]] = ()
    pools: ClassVar[bool] = False
    has_vocabulary: ClassVar[bool] = True
    drafts: ClassVar[bool] = False
    refused_files: ClassVar[Mapping[str, str]] = {}
    predicts_text: ClassVar[bool] = True
    not_run: ClassVar[str] = ""

    @classmethod
    def suits(cls, config: Config) -> bool:
        """Whether a config is of this family, if its class has several."""
        return True

    def complete(self, config: Config) -> dict[str, Any]:
        """The config, with missing keys set to the defaults of its class."""
        base = self.defaults.get("default_theta", DEFAULT_BASE)
        whole = {**self.defaults, **config, "default_theta": base}
        if whole.get("num_key_value_heads", 0) is None:
            whole["num_key_value_heads"] = required(whole, "num_attention_heads")
        return whole

    def extended(self, config: Config, stored: Tensors) -> Config:
        """The complete config, with what only the checkpoint's tensors tell.

        Args:
            config: a complete config.
            stored: the checkpoint's tensors by name.
        """
        return config

    def notice(self, config: Config) -> str | None:
        """What the user should know of a model that is converted; None: nothing.

        Args:
            config: a complete config.
        """
        return None

    def check_settings(self, config: Config) -> None:
        """Refuse settings that GGUF cannot represent for this architecture.

        Dynamic rope scaling is accepted: it only changes texts beyond the context.

        Args:
            config: a complete config.

        Raises:
            UnsupportedModelError: the config has such a setting.
        """
        for key, values in self.assumed.items():
            require_setting(config, key, *values)
        if self.rope_types:
            check_rotary(
                config,
                self.rope_types,
                partly=self.rotates_partly,
                truncates=self.truncates_yarn,
                reads_ends=self.reads_yarn_ends,
            )

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order.

        The caller adds the architecture's prefix to all keys, except those that start
        with "general.", "tokenizer.", "diffusion." or "xielu.".

        Args:
            config: a complete config.
            file_type: the value of `general.file_type`, which is included.
        """
        return text_fields(config, file_type)

    def generation_fields(self, generation: Config) -> dict[str, Field]:
        """Metadata from generation_config.json, which follows the hyperparameters.

        Args:
            generation: the file; empty if there is none.

        Raises:
            FormatError: a value is damaged.
        """
        return {}

    def vocabulary_config(self, config: Config) -> Config:
        """The config by which a target's tokenizer is read.

        Args:
            config: a complete config of a family that drafts.
        """
        target = {k: v for k, v in config[TARGET].items() if k != SIZE}
        return target | ({SIZE: config[SIZE]} if SIZE in config else {})

    def token_fields(self, config: Config) -> dict[str, Field]:
        """Metadata of the vocabulary that only the config tells, with whole keys."""
        return {}

    def early_fields(self, config: Config) -> dict[str, Field]:
        """Metadata that precedes all other keys, even `general.type`.

        llama.cpp's converter writes these keys while it converts the tensors.
        """
        return {}

    def computed_tensors(self, config: Config) -> Iterator[Named]:
        """GGUF tensors computed from the config; they are written first."""
        yield from ()

    def tensors(self, config: Config, stored: Tensors) -> Iterator[Named]:
        """GGUF names and tensors, in the order of llama.cpp's converter.

        If readers need a head and the checkpoint ties it, the embedding is written
        twice.

        Args:
            config: a complete config.
            stored: the checkpoint's tensors by name, in its order.

        Raises:
            CheckpointError: the checkpoint does not match the config.
            UnsupportedModelError: the family does not have a checkpoint tensor.
        """
        self.check(config, stored)
        if self.layout.head == "required":
            stored = with_head(config, stored, self.outer)
        yield from self.computed_tensors(config)
        yield from self.mapped(config, stored)

    def oriented(self, products: Tensors) -> Tensors:
        """Products of adapters, by weight, with axes in the order of the checkpoint.

        PEFT computes products as [outputs, inputs], also for layers of other classes.
        """
        return products

    def mapped(self, config: Config, stored: Tensors) -> Iterator[Named]:
        """The GGUF tensors made from the checkpoint's tensors.

        Raises:
            CheckpointError: an expert is missing.
            UnsupportedModelError: the family does not have a checkpoint tensor.
        """
        mixtures: dict[str, dict[str, LazyTensor]] = {}
        for source, tensor in stored.items():
            if source.endswith(self.skipped) or self._is_foreign(source, config):
                continue
            for old, new in (*WRAPPED, *self.renames):
                source = source.replace(old, new)
            if self._is_headless(config) and not source.startswith("model."):
                source = f"model.{source}"
            if source == HEAD and self.drops_tied_head and _is_tied(config):
                continue
            module, _, kind = source.rpartition(".")
            if (match := self._expert(module)) is None:
                yield from self.converted(source, tensor, config)
                continue
            n_experts = self.n_experts_in(match["before"], config)
            if int(match["number"]) >= n_experts:
                raise CheckpointError(
                    f"the checkpoint has {source!r}, but config.json says that a layer "
                    f"has {n_experts} experts; one of them is of another model"
                )
            parts = mixtures.setdefault(match["before"], {})
            parts[f"{match['number']}.{match['part']}"] = tensor
            if len(parts) == len(self.experts) * n_experts:
                del mixtures[match["before"]]
                yield from self._stacked(match["before"], parts, kind, config)
        for before, parts in mixtures.items():
            raise CheckpointError(
                f"the checkpoint has {len(parts)} tensors of {before!r}; expected "
                f"{len(self.experts)} of each of "
                f"{self.n_experts_in(before, config)} experts; a shard is missing"
            )

    def check(self, config: Config, stored: Tensors) -> None:
        """Refuse a checkpoint that lacks a required tensor, or contradicts its config.

        If the output head is tied and not stored, GGUF readers use the embedding.  A
        stored head is kept, as in llama.cpp.
        """
        own = [name for name in stored if not self._is_foreign(name, config)]
        check_biases(config, own)
        is_tied = _is_tied(config)
        if is_tied and self.drops_tied_head:
            check_tied_head(stored)
        has_head = any(name.endswith("lm_head.weight") for name in stored)
        needs_head = "lm_head" in self.outer and not self._is_headless(config)
        if not is_tied and needs_head and not has_head:
            raise CheckpointError(
                "the checkpoint has no 'lm_head.weight', and config.json does not have "
                "tie_word_embeddings: true; a shard or that line is missing"
            )

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensors made from one checkpoint tensor, usually one."""
        if self.norm_shift and source.endswith("norm.weight"):
            tensor = plus(tensor, self.norm_shift)
        yield self.gguf_name(source, config), tensor

    def matrix_type(
        self, tensor: LazyTensor, asked: QuantType | None
    ) -> QuantType | None:
        """The type of a matrix in the GGUF file; None: the one it is stored in.

        Args:
            tensor: as `tensors` gives it.
            asked: the type that the user asked for, likewise.
        """
        return asked

    def f32_ends(self, name: str, config: Config) -> tuple[str, ...]:
        """The `kept_f32` for the GGUF tensor `name`."""
        return self.kept_f32

    def n_experts(self, config: Config) -> int:
        """The number of experts in a layer."""
        return int(required(config, *EXPERTS["expert_count"]))

    def n_experts_in(self, before: str, config: Config) -> int:
        """The number of experts in the module `before`, if a layer has several."""
        return self.n_experts(config)

    def n_blocks(self, config: Config) -> int:
        """The number of layers, with those that only predict further tokens."""
        return n_layers(config)

    def gguf_name(self, source: str, config: Config) -> str:
        """The GGUF name of a checkpoint tensor.

        Raises:
            UnsupportedModelError: the family has no such tensor.
        """
        if source.endswith(self.unnamed_weights):
            source = f"{source}.weight"
        module, _, kind = source.rpartition(".")
        is_bare = source.endswith(self.bare)
        if is_bare:
            module = source
        name = self.outer.get(module)
        if match := self.layer.fullmatch(module):
            number, part = match.groups()
            if int(number) < self.n_blocks(config) and part in self.inner:
                name = f"blk.{number}.{self.inner[part]}"
        if name is None or not (is_bare or kind in ("weight", "bias")):
            layer = int(match[1]) if match else None
            raise unknown_tensor(source, layer, self.n_blocks(config), self.name)
        return name if is_bare else f"{name}.{kind}"

    def load(self, facts: Facts, claims: Claims) -> Model:
        """Build the model from GGUF metadata and tensors.

        Raises:
            FormatError: a key or a tensor is missing.
            UnsupportedModelError: quantkit cannot run this model.
        """
        raise UnsupportedModelError(
            f"quantkit converts and quantizes {self.name} models, and does not run "
            f"them: {self.not_run}"
        )

    def _is_headless(self, config: Config) -> bool:
        return bool(set(self.headless) & set(config.get("architectures") or ()))

    def _is_foreign(self, source: str, config: Config) -> bool:
        if has_other_parts(config) and is_other_part(source):
            return True
        return any(part in source for part in self.foreign)

    def _expert(self, module: str) -> re.Match[str] | None:
        """The parts of a module's name, if it is an expert's."""
        match = EXPERT.fullmatch(module) if self.experts else None
        if match is None or match["part"] not in self.experts:
            return None
        return match if match["before"].endswith("experts") else None

    def _stacked(
        self, before: str, parts: dict[str, LazyTensor], kind: str, config: Config
    ) -> Iterator[Named]:
        """The experts' matrices of one layer, stacked."""
        match = self.layer.match(before)
        if match is None:
            raise UnsupportedModelError(
                f"the checkpoint has {before!r}, which is not inside a layer"
            )
        for part, name in self.experts.items():
            numbers = range(self.n_experts_in(before, config))
            matrices = [parts[f"{number}.{part}"] for number in numbers]
            yield f"blk.{match[1]}.{name}.{kind}", stacked(matrices)


def _is_tied(config: Config) -> bool:
    """Whether the output head is the embedding."""
    return bool(config.get("tie_word_embeddings", False))
