"""What a model family is: its facts, its tensor names, and its forward pass.

A family is one class in this folder.  It says how a Hugging Face config becomes GGUF
metadata, which checkpoint tensors make up each GGUF tensor, and how hidden states are
computed from GGUF tensors.  It knows nothing of files: tensors come in by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from ..checkpoint.lazy import LazyTensor, stacked
from ..errors import CheckpointError, UnsupportedModelError
from ..forward.base import Config, Model, Weights
from ..forward.facts import Facts
from ..forward.rotary import DEFAULT_BASE
from ..gguf.keys import Field
from .config import EXPERTS, n_layers, required, text_fields

__all__ = ["DECODER_LAYER", "DECODER_TENSORS", "Family", "Named", "Tensors"]

Tensors = Mapping[str, LazyTensor]
Named = tuple[str, LazyTensor]

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
# Old checkpoints store what the config says already.
COMPUTED = (".rotary_emb.inv_freq", ".attention.bias", ".attention.masked_bias")
EXPERT = re.compile(r"(?P<before>.*)\.(?P<number>\d+)\.(?P<part>\w+)")


class Family:
    """One architecture: llama.cpp's name for it and everything that follows.

    A family overrides what is its own.  The defaults are those of a Llama-like decoder
    whose tensors go to GGUF as they are.

    Attributes:
        name: `general.architecture`, such as "llama".
        hf_classes: the `architectures` entries of Hugging Face configs that mean it.
        defaults: what the config class assumes where config.json says nothing; its
            `default_theta` is that of the rotation, and None if transformers has no
            such class: llama.cpp writes no base then.  A `num_key_value_heads` of None
            stands for as many as heads.
        renames: pairs of texts replaced in the checkpoint's tensor names first.
        skipped: endings of names of tensors that do not go to GGUF.
        foreign: parts of the names of tensors that are for images or sound.
        outer: checkpoint module -> GGUF name, outside the layers.
        layer: the pattern of a layer's modules: its number, then the rest.
        inner: checkpoint module -> GGUF name, inside a layer.
        experts: module of an expert's matrix -> GGUF name of all experts', stacked.
    """

    name: ClassVar[str]
    hf_classes: ClassVar[tuple[str, ...]]
    defaults: ClassVar[Mapping[str, Any]] = {}
    renames: ClassVar[tuple[tuple[str, str], ...]] = ()
    skipped: ClassVar[tuple[str, ...]] = COMPUTED
    foreign: ClassVar[tuple[str, ...]] = ()
    outer: ClassVar[Mapping[str, str]] = DECODER_TENSORS
    layer: ClassVar[re.Pattern[str]] = re.compile(r"model\.layers\.(\d+)\.(.+)")
    inner: ClassVar[Mapping[str, str]] = DECODER_LAYER
    experts: ClassVar[Mapping[str, str]] = {}

    def complete(self, config: Config) -> dict[str, Any]:
        """The config with the defaults of its class where it says nothing."""
        whole = {"default_theta": DEFAULT_BASE, **self.defaults, **config}
        if whole.get("num_key_value_heads", 0) is None:
            whole["num_key_value_heads"] = required(whole, "num_attention_heads")
        return whole

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """Metadata in the order llama.cpp writes it.

        Keys get the architecture's prefix, but for those that start with "general." or
        "tokenizer.".

        Args:
            config: a complete config.
            file_type: the value of `general.file_type`, which is among them.
        """
        return text_fields(config, file_type)

    def early_fields(self, config: Config) -> dict[str, Field]:
        """Metadata that comes before all other, even before `general.type`.

        llama.cpp's converter writes it while it makes the tensors.
        """
        return {}

    def computed_tensors(self, config: Config) -> Iterator[Named]:
        """GGUF tensors that no tensor of the checkpoint stands for; they come first."""
        yield from ()

    def tensors(self, config: Config, stored: Tensors) -> Iterator[Named]:
        """GGUF names and tensors, in the order llama.cpp's converter gives them.

        Args:
            config: a complete config.
            stored: the checkpoint's tensors by name, in its order.

        Raises:
            CheckpointError: the checkpoint does not fit the config.
            UnsupportedModelError: a checkpoint tensor that the family does not know.
        """
        self.check(config, stored)
        yield from self.computed_tensors(config)
        yield from self.mapped(config, stored)

    def mapped(self, config: Config, stored: Tensors) -> Iterator[Named]:
        """The GGUF tensors of those checkpoint tensors that there are.

        Raises:
            CheckpointError: an expert is missing.
            UnsupportedModelError: a checkpoint tensor that the family does not know.
        """
        mixtures: dict[str, dict[str, LazyTensor]] = {}
        for source, tensor in stored.items():
            if source.endswith(self.skipped) or self._is_foreign(source):
                continue
            for old, new in self.renames:
                source = source.replace(old, new)
            module, _, kind = source.rpartition(".")
            if (match := self._expert(module)) is None:
                yield from self.converted(source, tensor, config)
                continue
            parts = mixtures.setdefault(match["before"], {})
            parts[f"{match['number']}.{match['part']}"] = tensor
            if len(parts) == len(self.experts) * self.n_experts(config):
                del mixtures[match["before"]]
                yield from self._stacked(match["before"], parts, kind, config)
        for before, parts in mixtures.items():
            raise CheckpointError(
                f"the checkpoint has {len(parts)} tensors of {before!r}; expected "
                f"{len(self.experts)} of each of {self.n_experts(config)} experts; "
                "a shard is missing"
            )

    def check(self, config: Config, stored: Tensors) -> None:
        """Refuse a checkpoint that lacks what every model of the family has.

        Where the head is tied and not stored, GGUF readers take the embedding in its
        place; a stored one is kept, as llama.cpp keeps it.
        """
        is_tied = config.get("tie_word_embeddings", False)
        if not is_tied and "lm_head" in self.outer and "lm_head.weight" not in stored:
            raise CheckpointError(
                "the checkpoint has no 'lm_head.weight' and config.json does not say "
                "tie_word_embeddings: true; a shard is missing, or that line is"
            )

    def converted(
        self, source: str, tensor: LazyTensor, config: Config
    ) -> Iterator[Named]:
        """The GGUF tensors that one checkpoint tensor becomes: mostly one."""
        yield self.gguf_name(source, config), tensor

    def n_experts(self, config: Config) -> int:
        """Experts in a layer."""
        return int(required(config, *EXPERTS["expert_count"]))

    def gguf_name(self, source: str, config: Config) -> str:
        """The GGUF name of a checkpoint tensor.

        Raises:
            UnsupportedModelError: the family has no such tensor.
        """
        module, _, kind = source.rpartition(".")
        name = self.outer.get(module)
        if match := self.layer.fullmatch(module):
            number, part = match.groups()
            if int(number) < n_layers(config) and part in self.inner:
                name = f"blk.{number}.{self.inner[part]}"
        if name is None or kind not in ("weight", "bias"):
            raise UnsupportedModelError(
                f"the checkpoint holds {source!r}, which this model family does not "
                f"have (config.json: {n_layers(config)} layers); checkpoints with "
                "adapters inside are not supported: start from the original weights"
            )
        return f"{name}.{kind}"

    def load(self, facts: Facts, weights: Weights) -> Model:
        """The runnable model that GGUF metadata and tensors describe.

        Raises:
            FormatError: a key or a tensor is missing.
            UnsupportedModelError: quantkit cannot run this one.
        """
        raise UnsupportedModelError(
            f"quantkit converts and quantizes {self.name} models, but cannot run them"
        )

    def _is_foreign(self, source: str) -> bool:
        return any(part in source for part in self.foreign)

    def _expert(self, module: str) -> re.Match[str] | None:
        """What a module says of itself, if it is an expert's."""
        match = EXPERT.fullmatch(module) if self.experts else None
        if match is None or match["part"] not in self.experts:
            return None
        return match if match["before"].endswith("experts") else None

    def _stacked(
        self, before: str, parts: dict[str, LazyTensor], kind: str, config: Config
    ) -> Iterator[Named]:
        """The experts' matrices of one layer."""
        match = self.layer.match(before)
        if match is None:
            raise UnsupportedModelError(f"the checkpoint holds {before!r} in no layer")
        for part, name in self.experts.items():
            numbers = range(self.n_experts(config))
            matrices = [parts[f"{number}.{part}"] for number in numbers]
            yield f"blk.{match[1]}.{name}.{kind}", stacked(matrices)
