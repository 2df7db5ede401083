"""Muse Glimmer, a vision-language model, of which only the text model is written."""

from __future__ import annotations

from .case import SIZES, Case

__all__ = ["MUSES"]

TEXT = {
    **SIZES,
    "num_hidden_layers": 5,
    "head_dim": 24,
    "sliding_window": 8,
    "qk_scale_factor": 2.5,
    "output_multiplier": 0.75,
    "final_logit_softcapping": 6.0,
}
VISION = {
    "patch_size": 2,
    "pos_emb_height": 4,
    "pos_emb_width": 4,
    "num_attention_heads": 2,
    "num_hidden_layers": 1,
    "hidden_size": 16,
    "intermediate_size": 16,
}
OUTER = {"vision_config": VISION, "out_hidden_size": 64, "projector_hidden_size": 16}

MUSES = (
    Case(
        "muse-glimmer",
        "MuseGlimmerForConditionalGeneration",
        {"text_config": TEXT, **OUTER},
    ),
    Case(
        "muse-glimmer-layers",
        "MuseGlimmerForConditionalGeneration",
        {
            "text_config": {
                **TEXT,
                "num_hidden_layers": 2,
                "layer_types": ["full_attention", "sliding_attention"],
                "layer_rope_theta": [0, 500000.0],
                "rope_parameters": {"rope_type": "default", "rope_theta": 500000.0},
            },
            **OUTER,
        },
    ),
)
