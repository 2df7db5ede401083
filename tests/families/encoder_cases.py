"""Cases of encoders, whose hidden states take the place of logits."""

from __future__ import annotations

from typing import Any

import numpy as np

from quantkit.gguf.keys import float32

from .case import SIZES, Case, without
from .checkpoints import Arrays, weights
from .jina_bert import JINA_BERTS
from .nomic_cases import NOMIC_MOES

__all__ = ["ENCODERS"]

BERT = {
    **without("num_key_value_heads")(SIZES),
    "type_vocab_size": 3,
    "layer_norm_eps": 1e-6,
}
TWIN_OF_NEO = {
    **SIZES,
    "num_key_value_heads": 4,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
}
LABELS = {"id2label": {0: "no", 1: "perhaps", 2: "yes"}}
DISTILBERT = {
    "dim": 64,
    "hidden_dim": 96,
    "n_layers": 3,
    "n_heads": 4,
    "vocab_size": 112,
    "max_position_embeddings": 80,
}
NEO_NAMES = {
    "embed_tokens.": "encoder.",
    "layers.": "transformer_encoder.",
    "self_attn.q_proj.": "qkv.",
    "self_attn.o_proj.": "wo.",
    "mlp.gate_proj.": "ffn.w12.",
    "mlp.down_proj.": "ffn.w3.",
    "input_layernorm.": "attention_norm.",
    "post_attention_layernorm.": "ffn_norm.",
}
NOMIC_NAMES = {
    "embeddings.LayerNorm.": "emb_ln.",
    "self_attn.o_proj.": "attn.out_proj.",
    "mlp.up_proj.": "mlp.fc11.",
    "mlp.gate_proj.": "mlp.fc12.",
    "mlp.down_proj.": "mlp.fc2.",
    "post_attention_layernorm.": "norm1.",
    "post_mlp_layernorm.": "norm2.",
    "self_attn.q_proj.": "attn.Wqkv.",
}


def with_head(prefix: str) -> Any:
    """The tensors of a classifier around the encoder."""

    def rename(arrays: Arrays) -> Arrays:
        head = {
            "classifier.weight": np.ones((3, 64), np.float32),
            "classifier.bias": np.ones(3, np.float32),
        }
        return head | {f"{prefix}{name}": array for name, array in arrays.items()}

    return rename


def classifies(name: str, **changes: Any) -> Any:
    """The config of a classifier of three labels."""
    labels = {"id2label": {"0": "no", "1": "perhaps", "2": "yes"}}
    return lambda config: {**config, "architectures": [name], **labels, **changes}


def old_names(arrays: Arrays) -> Arrays:
    """Norms as early checkpoints call them, and tensors that are left out."""
    ends = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    renamed = {"embeddings.position_ids": np.ones((1, 80), np.float32)}
    for name, array in arrays.items():
        for end, old in ends.items():
            name = name.replace(end, old)
        renamed[f"bert.{name}"] = array
    return renamed | {"cls.predictions.bias": np.ones(112, np.float32)}


def of_nomic(config: dict[str, Any]) -> dict[str, Any]:
    """The config as the published models have it."""
    return {
        "architectures": ["NomicBertModel"],
        "model_type": "nomic_bert",
        "n_embd": config["hidden_size"],
        "n_head": config["num_attention_heads"],
        "n_layer": config["num_hidden_layers"],
        "n_inner": config["intermediate_size"],
        "n_positions": 8192,
        "max_trained_positions": 2048,
        "layer_norm_epsilon": config["layer_norm_eps"],
        "activation_function": "swiglu",
        "causal": False,
        "qkv_proj_bias": False,
        "mlp_fc1_bias": False,
        "mlp_fc2_bias": False,
        "prenorm": False,
        "rotary_emb_base": config["rope_parameters"]["rope_theta"],
        "rotary_emb_fraction": 1.0,
        "rotary_emb_interleaved": False,
        "rotary_emb_scale_base": None,
        "type_vocab_size": config["type_vocab_size"],
        "vocab_size": config["vocab_size"],
    }


def nomic_names(arrays: Arrays) -> Arrays:
    """The tensors as the published models store them."""
    renamed = {}
    for name, array in arrays.items():
        if ".k_proj." in name or ".v_proj." in name:
            continue
        if ".q_proj." in name:
            parts = [arrays[name.replace(".q_", f".{part}_")] for part in "qkv"]
            array = np.concatenate(parts)
        for old, new in NOMIC_NAMES.items():
            name = name.replace(old, new)
        renamed[name] = array
    return renamed


def of_neo(name: str, **changes: Any) -> Any:
    """The config as the published models have it."""
    return lambda config: {
        "architectures": [name],
        "model_type": "neobert",
        "hidden_act": "SwiGLU",
        "hidden_size": config["hidden_size"],
        "intermediate_size": 3 * config["intermediate_size"] // 2,
        "max_length": config["max_position_embeddings"],
        "norm_eps": config["rms_norm_eps"],
        "num_attention_heads": config["num_attention_heads"],
        "num_hidden_layers": config["num_hidden_layers"],
        "vocab_size": config["vocab_size"],
        **changes,
    }


def pairwise(matrix: Any) -> Any:
    """The rows of queries or keys in the order in which pairs of neighbours rotate."""
    heads = matrix.reshape(4, 2, -1, matrix.shape[-1])
    return np.ascontiguousarray(heads.swapaxes(1, 2)).reshape(matrix.shape)


def neo_names(arrays: Arrays) -> Arrays:
    """The tensors as the published models store them."""
    renamed = {}
    for name, array in arrays.items():
        if ".k_proj." in name or ".v_proj." in name or ".up_proj." in name:
            continue
        if ".q_proj." in name:
            q, k, v = (arrays[name.replace(".q_", f".{part}_")] for part in "qkv")
            array = np.concatenate([pairwise(q), pairwise(k), v])
        if ".gate_proj." in name:
            array = np.concatenate([array, arrays[name.replace(".gate_", ".up_")]])
        for old, new in NEO_NAMES.items():
            name = name.replace(old, new)
        name = "layer_norm.weight" if name == "norm.weight" else name
        renamed[f"model.{name}"] = array
    return renamed


def neo_classifier(arrays: Arrays) -> Arrays:
    """The same with the head of a classifier."""
    return neo_names(arrays) | weights(
        {
            "dense.weight": (64, 64),
            "dense.bias": (64,),
            "classifier.weight": (3, 64),
            "classifier.bias": (3,),
        }
    )


def with_decoder(arrays: Arrays) -> Arrays:
    """The same with the head that predicts masked tokens."""
    head = weights({"decoder.weight": (112, 64), "decoder.bias": (112,)})
    return neo_names(arrays) | head


def encoder(name: str, hf_class: str, config: dict[str, Any], **more: Any) -> Case:
    """A case without logits."""
    return Case(name, hf_class, config, predicts_text=False, **more)


DECISION_HEAD = {
    "head_layers": 2,
    "head_max_len": 192,
    "temperature": [1.5, 0.75, 2.0],
    "temperature_by_options": {"choice:3-5": 1.25, "choice:11+": 0.5},
}


def with_decision_head(arrays: Arrays) -> Arrays:
    """The encoder's tensors inside a decision model's."""
    layer = {
        "norm1": (64,),
        "self_attn.in_proj_": (192, 64),
        "self_attn.out_proj": (64, 64),
        "norm2": (64,),
        "linear1": (256, 64),
        "linear2": (64, 256),
    }
    modules = {
        f"head.layers.{number}.{name}": shape
        for number in range(2)
        for name, shape in layer.items()
    }
    modules |= {"scorer.0": (64,), "scorer.1": (64, 64), "scorer.3": (1, 64)}
    shapes: dict[str, tuple[int, ...]] = {"type_emb.weight": (3, 64)}
    for name, shape in modules.items():
        start = name if name.endswith("_") else f"{name}."
        shapes |= {f"{start}weight": shape, f"{start}bias": shape[:1]}
    unread = {"act_head.weight": (2, 64), "temperature": (3,)}
    inner = {f"encoder.{name}": array for name, array in arrays.items()}
    return inner | weights(shapes | unread)


ENCODERS = (
    encoder("bert", "BertModel", BERT, rename=old_names),
    encoder(
        "bert-classifier",
        "BertModel",
        {**BERT, "max_position_embeddings": 80},
        config_of=classifies("BertForSequenceClassification"),
        rename=with_head("bert."),
    ),
    encoder("distilbert", "DistilBertModel", DISTILBERT),
    encoder(
        "gemma-embedding",
        "Gemma3TextModel",
        {
            **SIZES,
            "head_dim": 24,
            "query_pre_attn_scalar": 24,
            "sliding_window": 8,
            "use_bidirectional_attention": True,
            "num_hidden_layers": 7,
        },
    ),
    encoder("roberta", "RobertaModel", {**BERT, "pad_token_id": 1}),
    encoder(
        "xlm-roberta",
        "XLMRobertaModel",
        {**BERT, "pad_token_id": 3, "max_position_embeddings": 90},
    ),
    encoder(
        "nomic-bert",
        "NomicBertModel",
        {**BERT, "rope_parameters": {"rope_type": "default", "rope_theta": 500.0}},
        config_of=of_nomic,
        rename=nomic_names,
        is_raw=True,
    ),
    *JINA_BERTS,
    *NOMIC_MOES,
    encoder(
        "neo-bert",
        "EuroBertModel",
        {**TWIN_OF_NEO, "rms_norm_eps": 1e-4},
        config_of=of_neo("NeoBERT"),
        rename=with_decoder,
        is_raw=True,
    ),
    encoder(
        "neo-bert-classifier",
        "EuroBertModel",
        {**TWIN_OF_NEO, "num_hidden_layers": 2},
        config_of=of_neo("NeoBERTForSequenceClassification", **LABELS),
        rename=neo_classifier,
        is_raw=True,
    ),
    encoder(
        "modern-bert",
        "ModernBertModel",
        {
            **without("num_key_value_heads")(SIZES),
            "num_hidden_layers": 4,
            "local_attention": 8,
            "norm_eps": 1e-6,
            "cls_token_id": 1,
            "sep_token_id": 2,
        },
        added={"modern-bert.attention.layer_norm_epsilon": float32(1e-6)},
    ),
    encoder(
        "modern-bert-decision",
        "ModernBertModel",
        {
            **without("num_key_value_heads")(SIZES),
            "num_hidden_layers": 4,
            "local_attention": 8,
            "norm_eps": 1e-6,
        },
        config_of=lambda config: {
            **config,
            "architectures": ["ModernBertDecisionModel"],
        },
        config_at="encoder/config.json",
        beside={"rl_agent_config.json": DECISION_HEAD},
        rename=with_decision_head,
        added={"modern-bert.attention.layer_norm_epsilon": float32(1e-6)},
        runs=False,
    ),
    encoder(
        "eurobert",
        "EuroBertModel",
        {**SIZES, "rms_norm_eps": 1e-6},
        config_of=without("classifier_pooling"),
        is_raw=True,
    ),
)
