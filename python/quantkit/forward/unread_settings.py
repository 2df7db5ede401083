"""Metadata that llama.cpp reads and quantkit's forward pass does not.

Of every key that llama.cpp reads for a family, one of these is true: the family reads
it; quantkit refuses values that would change the result (`NEUTRAL`); or it cannot
change the logits of a text (`HARMLESS`).  `tests/test_unread_settings.py` compares the
tables with llama.cpp's source.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Any

from ..errors import UnsupportedModelError
from ..gguf.keys import ValueType
from ..settings import checked, integer, shown
from .facts import Facts
from .rotary import rotated_size

__all__ = [
    "HARMLESS",
    "HARMLESS_IN",
    "NEUTRAL",
    "refuse_foreign_tokens",
    "refuse_unread_settings",
]

NEUTRAL: dict[str, Callable[[Facts], Any]] = {
    "attention.causal": lambda facts: True,
    "attention.key_length_swa": lambda facts: facts.key_size,
    "attention.value_length_swa": lambda facts: facts.value_size,
    "attention.temperature_scale": lambda facts: 0,
    "decision.block_count": lambda facts: 0,
    "rope.dimension_count_swa": lambda facts: rotated_size(facts, facts.key_size),
    "rope.scaling.alpha": lambda facts: 0,
}
"""Key -> the value that changes nothing, by the other metadata."""

HARMLESS = {
    "attention.temperature_length": "without effect if `temperature_scale` is 0",
    "classifier.output_labels": "for the head of a classifier",
    "classifier.pooling_type": "for the head of a classifier",
    "context_length": "a limit; it matters only where a family reads it",
    "deepstack_mapping": "where images enter; texts have none",
    "embedding_length_out": "for the outputs of embedding models",
    "expert_count": "without effect in families without experts",
    "expert_group_count": "without effect in families without experts",
    "expert_group_used_count": "without effect in families without experts",
    "expert_used_count": "without effect in families without experts",
    "n_deepstack_layers": "where images enter; texts have none",
    "pooling_type": "for the outputs of embedding models",
    "rope.dimension_sections": "positions in images; in a text all are alike",
    "rope.scaling.finetuned": "information, except in Granite, which reads it",
    "rope.scaling.original_context_length": "for YaRN and LongRoPE, which read it",
    "vocab_size": "the number of tokens is that of the list of tokens",
}
"""Key -> why a family that does not read it may ignore it."""

NO_DENSE_PART = {"feed_forward_length": "all layers have experts, with their own key"}
NO_ROTATION = dict.fromkeys(
    (
        "rope.dimension_count",
        "rope.freq_base",
        "rope.scale_linear",
        "rope.scaling.attn_factor",
        "rope.scaling.factor",
        "rope.scaling.type",
    ),
    "the architecture does not rotate queries and keys",
)
ONE_BASE = {"rope.freq_base_swa": "readers load it and rotate by the other base"}
NO_ATTENTION = NO_ROTATION | dict.fromkeys(
    ("attention.head_count_kv", "attention.key_length", "attention.value_length"),
    "the architecture has no attention",
)
LATENT_HEADS = {
    "attention.head_count_kv": "latent attention has as many as query heads",
}
LATENT_VALUES = {
    **LATENT_HEADS,
    "attention.value_length": "the size of the latent vector has its own key",
}
UNROTATED_LATENT = {
    **NO_ROTATION,
    "attention.value_length": "the size of the latent vector has its own key",
}
OTHER_NORM = {
    name: {f"attention.{name}": "the architecture's norms are of the other kind"}
    for name in ("layer_norm_epsilon", "layer_norm_rms_epsilon")
}
HARMLESS_IN = {
    "arwkv7": NO_ATTENTION | OTHER_NORM["layer_norm_epsilon"],
    "bailingmoe": NO_DENSE_PART,
    "bailingmoe3": {
        "attention.value_length": "the size of the latent vector has its own key",
    },
    "bert": NO_ROTATION,
    "bloom": NO_ROTATION,
    "cohere2": ONE_BASE,
    "cohere2moe": ONE_BASE,
    "deepseek2": LATENT_VALUES,
    "deepseek2-ocr": {"rope.dimension_count": "heads rotate as a whole"},
    "deepseek32": LATENT_VALUES,
    "deepseek4": {
        "attention.head_count_kv": "all heads share one key",
        **NO_DENSE_PART,
    },
    "dots3note": LATENT_VALUES,
    "ernie4_5": dict.fromkeys(
        (
            "expert_feed_forward_length",
            "expert_shared_feed_forward_length",
            "interleave_moe_layer_step",
            "leading_dense_block_count",
        ),
        "for ernie4_5-moe, which is another architecture",
    ),
    "exaone-moe": {
        **ONE_BASE,
        "expert_shared_count": "the width of the shared expert has its own key",
    },
    "glm-dsa": LATENT_VALUES,
    "glm5-next": UNROTATED_LATENT,
    "gpt-oss": NO_DENSE_PART,
    "grok": {
        "router_logit_softcapping": "readers load it and cap no scores of experts"
    },
    "grovemoe": NO_DENSE_PART,
    "gemma-embedding": dict.fromkeys(
        ("dense_2_feat_in", "dense_2_feat_out", "dense_3_feat_in", "dense_3_feat_out"),
        "read with the tensors whose sizes they are",
    ),
    "gpt2": NO_ROTATION,
    "granite": {"expert_shared_feed_forward_length": "read if there are experts"},
    "hy_v4": LATENT_VALUES,
    "graniteswitch": {
        "expert_shared_feed_forward_length": "the model has no experts",
    },
    "hunyuan-moe": {
        "expert_feed_forward_length": "`feed_forward_length` is the width of experts",
    },
    "kimi-k3": UNROTATED_LATENT,
    "kimi-linear": UNROTATED_LATENT,
    "smallthinker": NO_DENSE_PART,
    "laguna": {"expert_shared_count": "the shared expert has its own width"},
    "minimax-m2": NO_DENSE_PART,
    "minicpm3": LATENT_HEADS,
    "mistral4": LATENT_VALUES,
    "jais": NO_ROTATION,
    "jamba": NO_ROTATION,
    "jina-bert-v2": NO_ROTATION,
    "mamba": NO_ATTENTION,
    "mamba2": NO_ATTENTION,
    "mpt": NO_ROTATION,
    "nemotron_h": NO_ROTATION
    | dict.fromkeys(
        (
            "expert_feed_forward_length",
            "expert_shared_count",
            "expert_shared_feed_forward_length",
            "expert_weights_norm",
            "expert_weights_scale",
            "moe_latent_size",
        ),
        "for nemotron_h_moe, which is another architecture",
    ),
    "nemotron_h_moe": NO_ROTATION
    | {"expert_shared_count": "the shared expert has its own width"},
    "plm": LATENT_HEADS,
    "qwen2moe": NO_DENSE_PART,
    "qwen4exp": {
        **NO_DENSE_PART,
        "ple.image_token_id": "stands for images; texts have none",
    },
    "rwkv6": NO_ATTENTION | OTHER_NORM["layer_norm_rms_epsilon"],
    "rwkv6qwen2": NO_ATTENTION
    | OTHER_NORM["layer_norm_epsilon"]
    | {"rescale_every_n_layers": "readers load it and halve no layers"},
    "rwkv7": NO_ATTENTION | OTHER_NORM["layer_norm_rms_epsilon"],
    "refact": NO_ROTATION,
    "starcoder": NO_ROTATION,
    "t5encoder": NO_ROTATION
    | dict.fromkeys(
        ("attention.head_count_kv", "attention.value_length"),
        "heads share no keys, and values have their size",
    ),
    "qwen35moe": NO_DENSE_PART,
    "qwen3moe": NO_DENSE_PART,
    "qwen3vlmoe": NO_DENSE_PART,
    "qwen3next": NO_DENSE_PART,
}
"""Architecture -> the same for this architecture only."""

TOKEN_IDS = ("tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id")


def refuse_unread_settings(facts: Facts, reads: Container[str] = ()) -> None:
    """Refuse metadata that would change the result and is not supported.

    Args:
        facts: the metadata.
        reads: the keys of `NEUTRAL` that the family reads.

    Raises:
        FormatError: a key that a neutral value follows from is missing.
        UnsupportedModelError: a key has a value that would change the result.
    """
    for key, neutral in NEUTRAL.items():
        field = facts.metadata.get(facts.key(key))
        if field is None or key in reads:
            continue
        expected = neutral(facts)
        if field.type is ValueType.ARRAY or field.value != expected:
            raise UnsupportedModelError(
                f"{facts.key(key)} is {shown(field.value)}; quantkit's forward pass "
                f"supports only {shown(expected)}"
            )


def refuse_foreign_tokens(facts: Facts) -> None:
    """Refuse ids of the tokens that begin and end texts that no token has.

    Raises:
        FormatError: an id is not in the vocabulary.
    """
    if facts.vocabulary is None:
        return
    ids = integer(0, facts.vocabulary - 1)
    for key in TOKEN_IDS:
        if (field := facts.metadata.get(key)) is not None:
            checked(field.value, ids, key)
