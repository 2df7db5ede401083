"""Tiny models with conformers or Q-Formers, described as they are published."""

from __future__ import annotations

from .cases import SIGLIP, TEXT, ProjectorCase
from .described_cases import SIGLIP_LAYER, described
from .shapes import Shapes, biased, inside, layers, norms, weights

__all__ = ["CONFORMERS"]

WIDTH, INNER, TAPS = 32, 48, 5
BATCH_NORM = ("weight", "bias", "running_mean", "running_var")


def batch_norm(name: str, width: int) -> Shapes:
    """The tensors of a batch norm."""
    return {
        **{f"{name}.{part}": (width,) for part in BATCH_NORM},
        f"{name}.num_batches_tracked": (),
    }


def q_former(width: int) -> Shapes:
    """The tensors of a layer of a Q-Former."""
    shapes: Shapes = {}
    for module in ("attention", "crossattention"):
        parts = ("attention.query", "attention.key", "attention.value", "output.dense")
        shapes |= biased({f"{module}.{part}": (width, width) for part in parts})
        shapes |= norms([f"{module}.output.LayerNorm"], width)
    return {
        **shapes,
        **biased({"intermediate_query.dense": (INNER, width)}),
        **biased({"output_query.dense": (width, INNER)}),
        **norms(["output_query.LayerNorm"], width),
    }


def q_former_projector(width: int, layer: str) -> Shapes:
    """The tensors of one of the projectors of Granite 4 Vision."""
    return {
        "image_positions": (1, 4, width),
        "query": (1, 1, width),
        **norms(("norm", "qformer.layernorm"), width),
        **biased({"out_linear": (64, width)}),
        **inside(layer, q_former(width)),
    }


LFM2_LAYER: Shapes = {
    **norms(("norm_feed_forward1", "norm_feed_forward2", "norm_self_att"), WIDTH),
    **norms(("norm_conv", "norm_out"), WIDTH),
    **biased(
        {
            "feed_forward1.linear1": (2 * WIDTH, WIDTH),
            "feed_forward1.linear2": (WIDTH, 2 * WIDTH),
            "feed_forward2.linear1": (2 * WIDTH, WIDTH),
            "feed_forward2.linear2": (WIDTH, 2 * WIDTH),
            "conv.pointwise_conv1": (2 * WIDTH, WIDTH, 1),
            "conv.depthwise_conv": (WIDTH, 1, TAPS),
            "conv.pointwise_conv2": (WIDTH, WIDTH, 1),
            **{
                f"self_attn.linear_{part}": (WIDTH, WIDTH)
                for part in ("q", "k", "v", "out")
            },
        }
    ),
    **weights({"self_attn.linear_pos": (WIDTH, WIDTH)}),
    **{f"self_attn.pos_bias_{part}": (2, 16) for part in "uv"},
    **batch_norm("conv.batch_norm", WIDTH),
}
LFM2: Shapes = {
    "lfm.embed_tokens.weight": (112, 64),
    **inside("conformer.", layers("layers.", 7, LFM2_LAYER)),
    **biased(
        {
            "conformer.pre_encode.conv.0": (8, 1, 3, 3),
            "conformer.pre_encode.conv.2": (8, 1, 3, 3),
            "conformer.pre_encode.conv.3": (8, 8, 1, 1),
            "conformer.pre_encode.conv.5": (8, 1, 3, 3),
            "conformer.pre_encode.conv.6": (8, 8, 1, 1),
            "conformer.pre_encode.out": (WIDTH, 16),
            "audio_adapter.model.1": (96, WIDTH),
            "audio_adapter.model.3": (64, 96),
        }
    ),
    **norms(["audio_adapter.model.0"], WIDTH),
    "audio_embedding.embedding.weight": (24, 64),
    "audio_embedding.embedding_norm.weight": (64,),
    "audio_embedding.to_logits.weight": (24, 64),
    "audio_loss_weights": (3,),
    "codebook_offsets": (3,),
    "depth_linear.weight": (96, 64),
    "depthformer.layers.0.operator.norm.weight": (32,),
}
GRANITE_LAYER: Shapes = {
    **norms(("ff1.pre_norm", "ff2.pre_norm", "attn.pre_norm"), WIDTH),
    **norms(("conv.norm", "post_norm"), WIDTH),
    **biased({f"ff{i}.up_proj": (3 * WIDTH, WIDTH) for i in (1, 2)}),
    **biased({f"ff{i}.down_proj": (WIDTH, 3 * WIDTH) for i in (1, 2)}),
    **weights({"attn.to_q": (WIDTH, WIDTH), "attn.to_kv": (2 * WIDTH, WIDTH)}),
    **biased({"attn.to_out": (WIDTH, WIDTH)}),
    "attn.rel_pos_emb.weight": (25, 16),
    "attn.attention_dists": (12, 12),
    **biased({"conv.up_conv": (4 * WIDTH, WIDTH, 1)}),
    **biased({"conv.down_conv": (WIDTH, 2 * WIDTH, 1)}),
    "conv.depth_conv.conv.weight": (2 * WIDTH, 1, TAPS),
    **batch_norm("conv.batch_norm", 2 * WIDTH),
}


def granite_speech(n_read: int) -> Shapes:
    """The tensors of Granite Speech, whose projector reads some layers' outputs."""
    width = n_read * WIDTH
    return {
        "language_model.model.embed_tokens.weight": (112, 64),
        **inside(
            "encoder.",
            {
                **layers("layers.", 2, GRANITE_LAYER),
                **biased({"input_linear": (WIDTH, 16), "out": (10, WIDTH)}),
                **biased({"out_mid": (WIDTH, 10)}),
            },
        ),
        **inside(
            "projector.",
            {
                "query": (1, 2, width),
                **norms(["qformer.layernorm"], width),
                **biased({"linear": (64, width)}),
                **layers("qformer.encoder.layer.", 2, q_former(width)),
            },
        ),
    }


GRANITE_ENCODER = {
    "hidden_dim": WIDTH,
    "num_layers": 2,
    "num_heads": 2,
    "input_dim": 16,
    "feedforward_mult": 3,
    "context_size": 12,
    "conv_kernel_size": TAPS,
    "max_pos_emb": 24,
}
GRANITE_PROJECTOR = {"num_attention_heads": 4, "num_hidden_layers": 2}
GRANITE = {
    "window_size": 6,
    "downsample_rate": 3,
    "encoder_config": GRANITE_ENCODER,
    "projector_config": GRANITE_PROJECTOR,
}
FOLDED = (".conv_norm.", ".conv_norm_var.")
CHANGED = {"conv_norm_var.": "conv_norm."}

RADIO_LAYER: Shapes = {
    **norms(("norm1", "norm2"), WIDTH),
    **biased({"attn.qkv": (3 * WIDTH, WIDTH), "attn.proj": (WIDTH, WIDTH)}),
    **biased({"mlp.fc1": (INNER, WIDTH), "mlp.fc2": (WIDTH, INNER)}),
}
PARAKEET_LAYER: Shapes = {
    **norms(("norm_feed_forward1", "norm_feed_forward2", "norm_self_att"), WIDTH),
    **norms(("norm_conv", "norm_out"), WIDTH),
    **weights({f"feed_forward{i}.linear1": (INNER, WIDTH) for i in (1, 2)}),
    **weights({f"feed_forward{i}.linear2": (WIDTH, INNER) for i in (1, 2)}),
    **weights({f"self_attn.{part}_proj": (WIDTH, WIDTH) for part in "qkvo"}),
    **weights({"self_attn.relative_k_proj": (WIDTH, WIDTH)}),
    "self_attn.bias_u": (2, 16),
    "self_attn.bias_v": (2, 16),
    **biased({"conv.pointwise_conv1": (2 * WIDTH, WIDTH, 1)}),
    **weights({"conv.depthwise_conv": (WIDTH, 1, TAPS)}),
    **weights({"conv.pointwise_conv2": (WIDTH, WIDTH, 1)}),
    **batch_norm("conv.norm", WIDTH),
}


def radio(n_layers: int, n_patches: int) -> Shapes:
    """The tensors of Nemotron Nano VL's encoder of images."""
    patches = "model.patch_generator."
    return {
        "language_model.model.embed_tokens.weight": (112, 64),
        **inside(
            "vision_model.radio_model.",
            {
                "input_conditioner.norm_mean": (3, 1, 1),
                f"{patches}cls_token.token": (2, WIDTH),
                f"{patches}embedder.weight": (WIDTH, 3 * 4 * 4),
                f"{patches}video_embedder.weight": (WIDTH, 2 * 3 * 4 * 4),
                f"{patches}pos_embed": (1, n_patches, WIDTH),
                **layers("model.blocks.", n_layers, RADIO_LAYER),
            },
        ),
        **weights({"mlp1.0": (4 * WIDTH,), "mlp1.1": (96, 4 * WIDTH)}),
        **weights({"mlp1.3": (64, 96)}),
    }


PARAKEET: Shapes = {
    **inside(
        "sound_encoder.encoder.",
        {
            **layers("layers.", 2, PARAKEET_LAYER),
            "feature_extractor.featurizer.fb": (1, 16, 257),
            "feature_extractor.featurizer.window": (400,),
            **biased(
                {
                    "subsampling.layers.0": (8, 1, 3, 3),
                    "subsampling.layers.2": (8, 1, 3, 3),
                    "subsampling.layers.3": (8, 8, 1, 1),
                    "subsampling.layers.5": (8, 1, 3, 3),
                    "subsampling.layers.6": (8, 8, 1, 1),
                    "subsampling.linear": (WIDTH, 16),
                }
            ),
        },
    ),
    **weights(
        {
            "sound_projection.norm": (WIDTH,),
            "sound_projection.linear1": (96, WIDTH),
            "sound_projection.linear2": (64, 96),
        }
    ),
}
RADIO_SIZES = {
    "hidden_size": WIDTH,
    "intermediate_size": INNER,
    "num_attention_heads": 2,
    "patch_size": 4,
}

CONFORMERS: tuple[ProjectorCase, ...] = (
    described(
        "lfm2-audio",
        "Lfm2AudioForConditionalGeneration",
        {
            "text_config": None,
            "lfm": TEXT,
            "encoder": {
                "d_model": WIDTH,
                "n_heads": 2,
                "n_layers": 7,
                "feat_in": 16,
                "ff_expansion_factor": 2,
            },
        },
        LFM2,
        images={},
        nearest=FOLDED,
    ),
    described(
        "granite-speech",
        "GraniteSpeechForConditionalGeneration",
        GRANITE,
        granite_speech(1),
        images={},
        corrected=CHANGED,
        nearest=FOLDED,
    ),
    described(
        "granite-speech-plus",
        "GraniteSpeechPlusForConditionalGeneration",
        {
            **GRANITE,
            "encoder_config": {**GRANITE_ENCODER, "cat_hidden_layers": [1]},
            "projector_config": {
                **GRANITE_PROJECTOR,
                "encoder_hidden_size": 2 * WIDTH,
            },
        },
        granite_speech(2),
        images={},
        corrected=CHANGED,
        nearest=FOLDED,
    ),
    described(
        "granite-vision",
        "Granite4VisionForConditionalGeneration",
        {
            "text_config": {**TEXT, "num_hidden_layers": 4},
            "vision_config": {**SIGLIP, "num_hidden_layers": 4},
            "downsample_rate": "1/2",
            "deepstack_layer_map": [[2, 3], [-4, 0]],
            "spatial_target_layers": [1],
            "spatial_vision_layer": -2,
            "image_grid_pinpoints": [[16, 32], [32, 16]],
        },
        {
            "model.image_newline": (64,),
            "lm_head.weight": (112, 64),
            **inside(
                "model.vision_tower.vision_model.",
                {
                    **biased({"embeddings.patch_embedding": (WIDTH, 3, 4, 4)}),
                    "embeddings.position_embedding.weight": (16, WIDTH),
                    **layers("encoder.layers.", 4, SIGLIP_LAYER),
                    **norms(["post_layernorm"], WIDTH),
                    "head.probe": (1, 1, WIDTH),
                },
            ),
            **layers(
                "model.layerwise_projectors.",
                2,
                q_former_projector(WIDTH, "qformer.encoder.layer.0."),
            ),
            **layers(
                "model.spatial_projectors.",
                1,
                q_former_projector(WIDTH, "qformer.encoder.layer.0."),
            ),
        },
    ),
    described(
        "nemotron-vl",
        "NemotronH_Nano_VL_V2",
        {
            "force_image_size": 16,
            "vision_config": {**RADIO_SIZES, "num_hidden_layers": 4},
        },
        radio(4, 64),
        images={},
    ),
    described(
        "nemotron-omni",
        "NemotronH_Nano_VL_V2",
        {
            "downsample_ratio": 0.25,
            "force_image_size": 16,
            "vision_config": {
                **RADIO_SIZES,
                "architectures": ["RADIOModel"],
                "num_hidden_layers": 7,
            },
            "sound_config": {
                "hidden_size": WIDTH,
                "intermediate_size": INNER,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "num_mel_bins": 16,
                "subsampling_factor": 8,
                "conv_kernel_size": TAPS,
            },
        },
        {**radio(7, 16), **PARAKEET},
    ),
)
