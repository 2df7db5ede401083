"""ruGPT-3 XL: GPT-2 with separate queries, keys and values, and Llama's names.

The published model was trained with sparse attention in every other layer, for which
GGUF has no key: readers use full attention.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

from ..checkpoint.lazy import LazyTensor, joined
from ..errors import CheckpointError
from ..forward.base import Config
from ..gguf.keys import Field
from .config import text_fields
from .family import DECODER_LAYER, DECODER_TENSORS, Family, Named, Tensors
from .gpt2 import GPT2

__all__ = ["RuGPT3XL"]

PART = re.compile(r"(.*\.self_attn\.)([qkv])_proj\.(weight|bias)")
GELU = ("gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh")


class RuGPT3XL(GPT2):
    """The same architecture in GGUF as GPT-2."""

    hf_classes: ClassVar[tuple[str, ...]] = ("RuGPT3XLForCausalLM",)
    defaults: ClassVar = {
        "default_theta": None,
        "layer_norm_eps": 1e-5,
        "tie_word_embeddings": True,
    }
    renames: ClassVar[tuple[tuple[str, str], ...]] = ()
    skipped: ClassVar[tuple[str, ...]] = Family.skipped
    outer: ClassVar = {**DECODER_TENSORS, "model.embed_positions": "position_embd"}
    layer: ClassVar = Family.layer
    inner: ClassVar = {**DECODER_LAYER, "self_attn.qkv_proj": "attn_qkv"}
    assumed: ClassVar = {"hidden_act": GELU, "activation_function": GELU}
    conv1d: ClassVar[tuple[str, ...]] = ()

    def notice(self, config: Config) -> str | None:
        """What the user should know: that readers do not skip keys."""
        mode = config.get("sparse_mode")
        if mode in (None, "none"):
            return None
        return (
            f"config.json has sparse_mode {mode!r}; GGUF has no key for sparse "
            "attention, so readers use full attention in all layers, for which the "
            "model was not trained; expect a much worse perplexity in texts longer "
            "than the sparse layers see"
        )

    def hyperparameters(self, config: Config, file_type: int) -> dict[str, Field]:
        """The metadata of a config, in llama.cpp's order."""
        return text_fields(config, file_type)

    def mapped(self, config: Config, stored: Tensors) -> Iterator[Named]:
        """The GGUF tensors made from the checkpoint's tensors.

        Raises:
            CheckpointError: a layer lacks queries, keys or values.
        """
        yield from super().mapped(config, _fused(stored))


def _fused(stored: Tensors) -> dict[str, LazyTensor]:
    """The checkpoint's tensors, with queries, keys and values joined.

    The joined tensor takes the position of the last of them.
    """
    waiting: dict[tuple[str, str], dict[str, LazyTensor]] = {}
    fused: dict[str, LazyTensor] = {}
    for name, tensor in stored.items():
        match = PART.fullmatch(name)
        if match is None:
            fused[name] = tensor
            continue
        before, part, kind = match.groups()
        parts = waiting.setdefault((before, kind), {})
        parts[part] = tensor
        if len(parts) == 3:
            del waiting[before, kind]
            fused[f"{before}qkv_proj.{kind}"] = joined([parts[x] for x in "qkv"])
    for (before, kind), parts in waiting.items():
        raise CheckpointError(
            f"the checkpoint has {', '.join(f'{x}_proj' for x in sorted(parts))} of "
            f"'{before}*.{kind}'; expected q_proj, k_proj and v_proj; a shard is "
            "missing"
        )
    return fused
