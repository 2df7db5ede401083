"""Tiny models that see and hear, described as they are published."""

from __future__ import annotations

from .cases import QWEN, ProjectorCase
from .described_cases import GATED, WHISPER_TOWER, described
from .other_cases import PIXELS
from .shapes import Shapes, biased, inside, layers, norms, weights

__all__ = ["PAIRS"]

WIDTH, INNER = 32, 48

MIMO_VISION: Shapes = {
    **weights({"patch_embed.proj": (WIDTH, 3, 2, 4, 4), "merger.ln_q": (WIDTH,)}),
    **biased({"merger.mlp.0": (128, 128), "merger.mlp.2": (64, 128)}),
    **layers(
        "blocks.",
        3,
        {
            **weights({"norm1": (WIDTH,), "norm2": (WIDTH,)}),
            **biased({"attn.qkv": (WIDTH + 2 * 16, WIDTH)}),
            **biased({"attn.proj": (WIDTH, WIDTH)}),
            **biased(GATED),
            "attn.sinks": (2,),
        },
    ),
}
LOCAL_LAYER: Shapes = {
    **biased({f"self_attn.{part}_proj": (24, 24) for part in "qkv"}),
    **weights({"self_attn.o_proj": (24, 24)}),
    **weights({"mlp.gate_proj": (40, 24), "mlp.up_proj": (40, 24)}),
    **weights({"mlp.down_proj": (24, 40)}),
    **weights({"input_layernorm": (24,), "post_attention_layernorm": (24,)}),
}
MIMO_TOKENIZER: Shapes = {
    **inside("encoder.", WHISPER_TOWER),
    **norms(("encoder.layer_norm", "encoder.down_sample_norm"), WIDTH),
    **weights({"encoder.down_sample_layer.0": (WIDTH, WIDTH, 2)}),
    **{
        f"encoder.quantizer.vq.layers.{number}._codebook.{part}": (size, *more)
        for number, size in enumerate((10, 10, 6))
        for part, more in (("embed", (WIDTH,)), ("cluster_size", ()))
    },
    "decoder.conv1.weight": (WIDTH, WIDTH, 3),
}
MIMO: Shapes = {
    "model.embed_tokens.weight": (112, 64),
    **inside("visual.", MIMO_VISION),
    **{f"speech_embeddings.{number}.weight": (11, 24) for number in range(3)},
    **layers("audio_encoder.input_local_transformer.layers.", 2, LOCAL_LAYER),
    "audio_encoder.input_local_transformer.norm.weight": (24,),
    "audio_encoder.projection.mlp.0.weight": (96, 72),
    "audio_encoder.projection.mlp.2.weight": (64, 96),
    **inside("audio_tokenizer/", MIMO_TOKENIZER),
}

PAIRS: tuple[ProjectorCase, ...] = (
    described(
        "mimo-v2.5",
        "MiMoV2ForCausalLM",
        {
            "vision_config": {
                **QWEN,
                "num_key_value_heads": 1,
                "spatial_merge_size": 2,
                "visual_token_window_size": 12,
                "vit_window_attn_types": [-1, 0, 1],
                "use_sink": True,
            },
            "audio_config": {
                "audio_channels": 3,
                "input_local_layers": 2,
                "group_size": 4,
            },
        },
        MIMO,
        images=PIXELS,
        files={
            "audio_tokenizer/config.json": {
                "d_model": WIDTH,
                "encoder_layers": 4,
                "encoder_attention_heads": 2,
                "encoder_ffn_dim": INNER,
                "n_mels": 16,
                "hybrid_attention": True,
                "swa_per_block": 3,
                "encoder_attn_window_size": [20, 0],
            }
        },
    ),
)
