"""Cases of Jina BERT 2 and 3, whose code lies beside their checkpoints.

transformers has the third with other names.  Of the second, BERT of transformers is
the twin: `adapted` gives it ALiBi in both directions, and a gate in the feed-forward
part.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from .case import Case
from .checkpoints import Arrays, weights

__all__ = ["JINA_BERTS"]

WIDTH, INNER, HEADS, LAYERS = 48, 80, 6, 2
TWIN = {
    "hidden_size": WIDTH,
    "intermediate_size": 2 * INNER,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "vocab_size": 112,
    "type_vocab_size": 2,
    "max_position_embeddings": 80,
    "layer_norm_eps": 1e-6,
    "pad_token_id": 0,
}
NAMES = {
    "intermediate.dense.": "mlp.gated_layers.",
    "output.dense.": "mlp.wo.",
    "output.LayerNorm.": "mlp.layernorm.",
}
NAMES_OF_CODE = {
    "intermediate.dense.": "mlp.up_gated_layer.",
    "output.dense.": "mlp.down_layer.",
    "output.LayerNorm.": "layer_norm_2.",
}
FURTHER = ("layer_norm_1", "attention.self.layer_norm_q", "attention.self.layer_norm_k")
"""Norms of the model for code, beside BERT's."""


def plain(arrays: Arrays) -> Arrays:
    """Without what the twin has and the model lacks."""
    lacking = ("position_embeddings.weight", "intermediate.dense.bias")
    return {
        name: np.zeros_like(array) if name.endswith(lacking) else array
        for name, array in arrays.items()
    }


def jina_names(arrays: Arrays, names: dict[str, str]) -> Arrays:
    """The tensors as the published models store them."""
    renamed = {}
    for name, array in plain(arrays).items():
        if name.endswith(("position_embeddings.weight", "intermediate.dense.bias")):
            continue
        if re.search(r"\d\.output\.dense\.weight", name):
            array = np.ascontiguousarray(array[:, :INNER])
        for old, new in names.items():
            name = re.sub(rf"(layer\.\d+)\.{re.escape(old)}", rf"\1.{new}", name)
        renamed[name] = array
    return renamed


def further_norms() -> Arrays:
    """The norms of the model for code."""
    return weights(
        {
            f"encoder.layer.{layer}.{norm}.{kind}": (WIDTH,)
            for layer in range(LAYERS)
            for norm in FURTHER
            for kind in ("weight", "bias")
        }
    )


def of_jina(config: dict[str, Any]) -> dict[str, Any]:
    """The config as the published models have it."""
    return {
        **config,
        "architectures": ["JinaBertModel"],
        "intermediate_size": INNER,
        "position_embedding_type": "alibi",
        "feed_forward_type": "geglu",
    }


def slopes() -> list[float]:
    """ALiBi's slopes of 6 heads: those of 4, and two between those of 8."""
    return [2**-2, 2**-4, 2**-6, 2**-8, 2**-1, 2**-3]


def adapted(model: Any) -> None:
    """Make the twin of BERT: a gate in the first half of the matrix, and ALiBi."""
    import torch

    def biased(module: Any, given: Any, named: dict[str, Any]) -> Any:
        n = given[0].shape[1]
        distance = (torch.arange(n)[:, None] - torch.arange(n)).abs()
        bias = -torch.tensor(slopes())[:, None, None] * distance
        if "attention_mask" in named:
            return given, {**named, "attention_mask": bias[None]}
        return (given[0], bias[None], *given[2:]), named

    def gated(x: Any) -> Any:
        gate, up = x.split(INNER, dim=-1)
        return torch.nn.functional.gelu(gate) * up

    for layer in model.encoder.layer:
        layer.attention.self.register_forward_pre_hook(biased, with_kwargs=True)
        del layer.intermediate.intermediate_act_fn
        layer.intermediate.intermediate_act_fn = gated
        dense = layer.output.dense
        dense.weight = torch.nn.Parameter(dense.weight[:, :INNER])


def adapted_to_code(model: Any) -> None:
    """The same with norms of queries and keys, and one after a second sum."""
    import torch

    known = further_norms()

    def norm(layer: int, name: str) -> Any:
        made = torch.nn.LayerNorm(WIDTH, eps=TWIN["layer_norm_eps"])
        for kind in ("weight", "bias"):
            array = known[f"encoder.layer.{layer}.{name}.{kind}"]
            setattr(made, kind, torch.nn.Parameter(torch.tensor(array)))
        return made

    adapted(model)
    for i, layer in enumerate(model.encoder.layer):
        own, output = layer.attention.self, layer.attention.output
        own.query = torch.nn.Sequential(own.query, norm(i, FURTHER[1]))
        own.key = torch.nn.Sequential(own.key, norm(i, FURTHER[2]))
        second = norm(i, FURTHER[0])
        output.register_forward_hook(
            lambda _, given, y, second=second: second(y + given[1])
        )


TASKS = ["retrieval.query", "separation"]


def names_of_3(arrays: Arrays) -> Arrays:
    """The tensors as the published model stores them, with adapters."""
    renamed = {}
    for own, array in arrays.items():
        name = f"roberta.{own}"
        if array.ndim == 1 or "norm" in name:
            renamed[name] = array
            continue
        start = f"{name.removesuffix('weight')}parametrizations.weight"
        n_rows, n_cols = array.shape
        adapters = {
            "lora_A": (len(TASKS), 4, n_cols),
            "lora_B": (len(TASKS), n_rows, 4),
        }
        renamed[f"{start}.original"] = array
        renamed |= weights({f"{start}.0.{x}": shape for x, shape in adapters.items()})
    return renamed


def of_jina_3(config: dict[str, Any]) -> dict[str, Any]:
    """The config as the published model has it."""
    kept = {k: v for k, v in config.items() if k != "rope_parameters"}
    return {
        **kept,
        "architectures": ["XLMRobertaModel"],
        "model_type": "xlm-roberta",
        "position_embedding_type": "rotary",
        "rotary_emb_base": config["rope_parameters"]["rope_theta"],
        "lora_adaptations": TASKS,
        "lora_alpha": 1,
        "lora_rank": 4,
        "task_instructions": dict.fromkeys(TASKS, "Find: "),
    }


JINA_BERTS = (
    Case(
        "jina-bert-v3",
        "JinaEmbeddingsV3Model",
        {
            "hidden_size": 48,
            "intermediate_size": 80,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "vocab_size": 112,
            "max_position_embeddings": 80,
            "type_vocab_size": 1,
            "pad_token_id": 3,
            "rope_parameters": {"rope_type": "default", "rope_theta": 2000.0},
        },
        config_of=of_jina_3,
        rename=names_of_3,
        predicts_text=False,
    ),
    Case(
        "jina-bert-v2",
        "BertModel",
        TWIN,
        prepare=plain,
        config_of=of_jina,
        rename=lambda arrays: {
            f"bert.{name}": array for name, array in jina_names(arrays, NAMES).items()
        },
        adapt=adapted,
        predicts_text=False,
    ),
    Case(
        "jina-bert-v2-code",
        "BertModel",
        TWIN,
        prepare=plain,
        config_of=of_jina,
        rename=lambda arrays: jina_names(arrays, NAMES_OF_CODE) | further_norms(),
        adapt=adapted_to_code,
        predicts_text=False,
    ),
)
