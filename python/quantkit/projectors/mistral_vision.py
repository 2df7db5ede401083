"""Pixtral's encoder in Mistral's own format."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..checkpoint.lazy import LazyTensor, reshaped, taken
from ..checkpoint.mistral_format import MISTRAL_CLASS
from ..errors import CheckpointError
from ..files.json_file import read_json
from ..gguf.keys import Field, boolean, float32, uint32
from .encoder import EPSILON, Encoder, Named, Settings
from .pixtral import BREAK, MERGE
from .section import Section
from .step_vl import MISTRAL_COLORS

__all__ = ["MistralVision"]

TABLE = "tok_embeddings.weight"
BREAK_KEY = "image_break_token_id"
ADAPTER = "vision_language_adapter"


class MistralVision(Encoder):
    """Pixtral, whose query and key rows have GGUF's order here."""

    hf_classes = (MISTRAL_CLASS,)
    projector = "pixtral"
    image_defaults = MISTRAL_COLORS
    starts = ("vision_encoder.", f"{ADAPTER}.", "patch_merger.", "pre_mm_", TABLE)
    layer = re.compile(r"vision_encoder\.transformer\.layers\.(\d+)\.(.+)")
    outer: ClassVar[Mapping[str, str]] = {
        "vision_encoder.patch_conv": "v.patch_embd",
        "vision_encoder.ln_pre": "v.pre_ln",
        f"{ADAPTER}.w_in": "mm.1",
        f"{ADAPTER}.w_out": "mm.2",
        "pre_mm_projector_norm": "mm.input_norm",
        "patch_merger.merging_layer": "mm.patch_merger",
        TABLE: "v.token_embd.img_break",
    }
    inner: ClassVar[Mapping[str, str]] = {
        "attention_norm": "ln1",
        "attention.wq": "attn_q",
        "attention.wk": "attn_k",
        "attention.wv": "attn_v",
        "attention.wo": "attn_out",
        "ffn_norm": "ln2",
        "feed_forward.w1": "ffn_gate",
        "feed_forward.w2": "ffn_down",
        "feed_forward.w3": "ffn_up",
    }
    optional = ("mm.input_norm", "mm.patch_merger")

    def sections(
        self, folder: Path, config: Mapping[str, Any]
    ) -> tuple[Section, Section]:
        """The settings of its images; it has no sounds."""
        vision, audio = super().sections(folder, config)
        return replace(vision, where="params.json: vision_encoder"), audio

    def own_fields(self, settings: Settings) -> dict[str, Field]:
        """The metadata that only this kind has."""
        vision = settings.vision
        fields: dict[str, Field] = {
            EPSILON: float32(settings.whole.epsilon("rms_norm_eps")),
            "rope.freq_base": float32(vision.factor("rope_theta")),
            "use_silu": boolean(True),
        }
        if vision.get("mm_projector_id") == "patch_merge":
            fields[f"vision.{MERGE}"] = uint32(vision.size(MERGE))
        return fields

    def converted(
        self, source: str, tensor: LazyTensor, settings: Settings
    ) -> Iterator[Named]:
        """The GGUF tensor of a checkpoint tensor; of the table of tokens, one row."""
        if source == TABLE:
            number = _break_token(settings)
            if number >= tensor.shape[0]:
                raise CheckpointError(
                    f"the token {BREAK} has the number {number}, but there are "
                    f"embeddings of {tensor.shape[0]} tokens"
                )
            row = taken(tensor, np.array([number]))
            tensor = reshaped(row, tensor.shape[1:])
        yield self.gguf_name(source, settings), tensor


def _break_token(settings: Settings) -> int:
    """The id of the token that ends a row of patches; -1 refers to tekken.json.

    Raises:
        CheckpointError: neither file has it.
    """
    vision = settings.vision
    if vision.get(BREAK_KEY) != -1:
        return vision.size(BREAK_KEY)
    tokens: Any = (read_json(settings.folder / "tekken.json") or {}).get(
        "special_tokens"
    )
    for token in tokens if isinstance(tokens, list) else ():
        if isinstance(token, dict) and token.get("token_str") == BREAK:
            rank = token.get("rank")
            if type(rank) is int and rank > 0:
                return rank
    raise CheckpointError(
        f"{settings.folder}: neither params.json nor tekken.json has the id of the "
        f"token {BREAK}, which ends each row of patches; download the complete folder"
    )
