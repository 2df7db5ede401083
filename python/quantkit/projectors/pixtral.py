"""Pixtral's encoder: in Pixtral, Mistral Small 3.1, Ministral 3 and Mistral 4."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np

from ..checkpoint.lazy import LazyTensor, reshaped, taken
from ..errors import CheckpointError, UnsupportedModelError
from ..files.json_file import read_json
from ..gguf.keys import Field, float32, uint32
from ..models.llama import interleaved_rows
from ..settings import shown
from .encoder import EPSILON, Encoder, Named, Settings

__all__ = ["LightOnOCR", "Pixtral"]

BREAK = "[IMG_BREAK]"
MERGE = "spatial_merge_size"


class Pixtral(Encoder):
    """Pixtral: rotates queries and keys, and ends each row of patches with a token."""

    hf_classes = (
        "LlavaForConditionalGeneration",
        "Mistral3ForConditionalGeneration",
    )
    projector = "pixtral"
    defaults: ClassVar[Mapping[str, Any]] = {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "image_size": 1024,
        "patch_size": 16,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-5,  # fixed in transformers' class
    }
    starts = ("vision_tower.", "multi_modal_projector.")
    layer = re.compile(r"vision_tower\.transformer\.layers\.(\d+)\.(.+)")
    outer: ClassVar[Mapping[str, str]] = {
        "vision_tower.patch_conv": "v.patch_embd",
        "vision_tower.ln_pre": "v.pre_ln",
        "multi_modal_projector.linear_1": "mm.1",
        "multi_modal_projector.linear_2": "mm.2",
        "multi_modal_projector.norm": "mm.input_norm",
        "multi_modal_projector.patch_merger.merging_layer": "mm.patch_merger",
    }
    inner: ClassVar[Mapping[str, str]] = {
        "attention_norm": "ln1",
        "attention.q_proj": "attn_q",
        "attention.k_proj": "attn_k",
        "attention.v_proj": "attn_v",
        "attention.o_proj": "attn_out",
        "ffn_norm": "ln2",
        "feed_forward.gate_proj": "ffn_gate",
        "feed_forward.up_proj": "ffn_up",
        "feed_forward.down_proj": "ffn_down",
    }
    optional = ("mm.input_norm", "mm.patch_merger")
    has_breaks: ClassVar[bool] = True
    """Whether a token ends each row of patches."""

    def check_settings(self, settings: Settings) -> None:
        """Refuse encoders of other kinds, such as LLaVA's.

        Raises:
            UnsupportedModelError: `vision_config` is that of another encoder.
        """
        kind = settings.vision.get("model_type")
        if kind != "pixtral":
            raise UnsupportedModelError(
                f"config.json: vision_config.model_type is {shown(kind)}; for this "
                "class llama.cpp's converter knows only the vision encoder 'pixtral'"
            )

    def own_fields(self, settings: Settings) -> dict[str, Field]:
        """The metadata that only this kind has.

        Raises:
            CheckpointError: the activation function is neither GELU nor SiLU.
        """
        fields = {
            EPSILON: float32(settings.vision.epsilon("layer_norm_eps")),
            **settings.vision.activation("silu", "gelu"),
        }
        if MERGE in settings.whole:
            fields[f"vision.{MERGE}"] = uint32(settings.whole.size(MERGE))
        return fields

    def tensors(
        self, settings: Settings, stored: Mapping[str, LazyTensor]
    ) -> Iterator[Named]:
        """GGUF names and tensors, in the order of llama.cpp's converter.

        Readers also need the embedding of the token that ends a row of patches, which
        its build 11434 does not write.
        """
        yield from super().tensors(settings, stored)
        if not self.has_breaks:
            return
        table = next(
            (t for n, t in stored.items() if n.endswith(".embed_tokens.weight")), None
        )
        number = break_token(settings)
        if table is None or number >= table.shape[0]:
            raise CheckpointError(
                f"the checkpoint has no embedding of the token {BREAK}; a shard is "
                "missing, or tokenizer.json is of another model"
            )
        row = taken(table, np.array([number]))
        yield "v.token_embd.img_break", reshaped(row, (table.shape[1],))

    def converted(
        self, source: str, tensor: LazyTensor, settings: Settings
    ) -> Iterator[Named]:
        """The GGUF tensor of a checkpoint tensor; query and key rows are permuted."""
        if source.endswith((".q_proj.weight", ".k_proj.weight")):
            n_heads = settings.vision.size("num_attention_heads")
            tensor = taken(tensor, interleaved_rows(source, tensor, n_heads))
        yield self.gguf_name(source, settings), tensor


class LightOnOCR(Pixtral):
    """LightOnOCR: Pixtral's encoder, without tokens at the ends of rows."""

    hf_classes = (
        "LightOnOCRForConditionalGeneration",
        "LightOnOcrForConditionalGeneration",
    )
    projector = "lightonocr"
    renames = (
        ("model.vision_encoder.", "vision_tower."),
        ("model.vision_projection.", "multi_modal_projector."),
    )
    has_breaks = False


def break_token(settings: Settings) -> int:
    """The id of the token that ends a row of patches.

    Raises:
        CheckpointError: no file of the tokenizer has it.
    """
    folder = settings.folder
    added = (read_json(folder / "tokenizer_config.json") or {}).get(
        "added_tokens_decoder"
    )
    if isinstance(added, dict):
        for number, token in added.items():
            if isinstance(token, dict) and token.get("content") == BREAK:
                return _index(number)
    tokens = (read_json(folder / "tokenizer.json") or {}).get("added_tokens")
    for token in tokens if isinstance(tokens, list) else ():
        if isinstance(token, dict) and token.get("content") == BREAK:
            return _index(token.get("id"))
    raise CheckpointError(
        f"{folder}: neither tokenizer_config.json nor tokenizer.json has the token "
        f"{BREAK}, which ends each row of patches; download the complete folder"
    )


def _index(value: Any) -> int:
    """A token id.

    Raises:
        CheckpointError: it is none.
    """
    if isinstance(value, str) and value.isascii() and value.isdecimal():
        value = int(value[:10])
    if type(value) is not int or value < 0:
        raise CheckpointError(
            f"the id of the token {BREAK} is {shown(value)}, not a number"
        )
    return value
