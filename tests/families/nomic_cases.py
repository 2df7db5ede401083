"""Nomic's BERT with experts, whose code lies beside its checkpoints.

Nomic's BERT of transformers is the twin: `adapted` gives it biases, and other
feed-forward parts.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .case import Case
from .checkpoints import Arrays, weights

__all__ = ["NOMIC_MOES"]

WIDTH, INNER, EXPERTS, LAYERS = 48, 80, 3, 4
TWIN = {
    "hidden_size": WIDTH,
    "intermediate_size": INNER,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "vocab_size": 112,
    "max_position_embeddings": 80,
    "type_vocab_size": 1,
    "layer_norm_eps": 1e-6,
    "rope_parameters": {"rope_type": "default", "rope_theta": 500.0},
}
NAMES = {
    "embeddings.LayerNorm.": "emb_ln.",
    "self_attn.o_proj.": "attn.out_proj.",
    "post_attention_layernorm.": "norm1.",
    "post_mlp_layernorm.": "norm2.",
    "self_attn.q_proj.": "attn.Wqkv.",
}


def has_experts(layer: int) -> bool:
    """Whether a layer has experts; every second one has."""
    return layer % 2 == 1


def further(layer: int) -> Arrays:
    """What a layer has that the twin lacks, by its name in the layer."""
    shapes: dict[str, tuple[int, ...]] = {
        "attn.Wqkv.bias": (3 * WIDTH,),
        "attn.out_proj.bias": (WIDTH,),
    }
    if has_experts(layer):
        shapes |= {
            "mlp.router.layer.weight": (EXPERTS, WIDTH),
            "mlp.experts.mlp.w1": (EXPERTS * INNER, WIDTH),
            "mlp.experts.mlp.w2": (EXPERTS * INNER, WIDTH),
        }
    else:
        shapes |= {
            "mlp.fc1.weight": (INNER, WIDTH),
            "mlp.fc1.bias": (INNER,),
            "mlp.fc2.weight": (WIDTH, INNER),
            "mlp.fc2.bias": (WIDTH,),
        }
    made = weights(
        {f"encoder.layers.{layer}.{n}": shape for n, shape in shapes.items()}
    )
    return {name.split(".", 3)[3]: array for name, array in made.items()}


def nomic_names(arrays: Arrays) -> Arrays:
    """The tensors as the published model stores them."""
    renamed = {}
    for name, array in arrays.items():
        if ".mlp." in name or ".k_proj." in name or ".v_proj." in name:
            continue
        if ".q_proj." in name:
            parts = [arrays[name.replace(".q_", f".{part}_")] for part in "qkv"]
            array = np.concatenate(parts)
        for old, new in NAMES.items():
            name = name.replace(old, new)
        renamed[name] = array
    for layer in range(LAYERS):
        start = f"encoder.layers.{layer}"
        renamed |= {f"{start}.{name}": array for name, array in further(layer).items()}
        if has_experts(layer):
            renamed[f"{start}.mlp.experts.bias"] = np.zeros(WIDTH, np.float32)
    return renamed


def of_nomic(config: dict[str, Any]) -> dict[str, Any]:
    """The config as the published model has it."""
    return {
        "architectures": ["NomicBertModel"],
        "model_type": "nomic_bert",
        "n_embd": WIDTH,
        "n_head": config["num_attention_heads"],
        "n_layer": LAYERS,
        "n_inner": INNER,
        "n_positions": 2048,
        "max_trained_positions": 2048,
        "layer_norm_epsilon": config["layer_norm_eps"],
        "activation_function": "gelu",
        "causal": False,
        "qkv_proj_bias": True,
        "mlp_fc1_bias": True,
        "mlp_fc2_bias": True,
        "prenorm": False,
        "rotary_emb_base": config["rope_parameters"]["rope_theta"],
        "rotary_emb_fraction": 1.0,
        "rotary_emb_interleaved": False,
        "rotary_emb_scale_base": None,
        "rotary_scaling_factor": None,
        "type_vocab_size": 1,
        "vocab_size": 112,
        "pad_token_id": 1,
        "moe_every_n_layers": 2,
        "num_experts": EXPERTS,
        "moe_top_k": 2,
        "moe_normalize_expert_weights": False,
        "num_shared_experts": 0,
        "expert_choice_router": False,
    }


def adapted(model: Any) -> None:
    """Make the twin the model: its biases and feed-forward parts."""
    import torch

    def linear(weight: Any, bias: Any = None) -> Any:
        made = torch.nn.Linear(*weight.shape[::-1], bias=bias is not None)
        made.weight = torch.nn.Parameter(torch.tensor(weight))
        if bias is not None:
            made.bias = torch.nn.Parameter(torch.tensor(bias))
        return made

    class Mixture(torch.nn.Module):  # type: ignore[misc]
        def __init__(self, router: Any, up: Any, down: Any) -> None:
            super().__init__()
            self.router = linear(router)
            self.up, self.down = (
                torch.tensor(each).reshape(EXPERTS, INNER, WIDTH) for each in (up, down)
            )

        def forward(self, x: Any) -> Any:
            share, chosen = self.router(x).softmax(-1).topk(2, dim=-1)
            inside = torch.einsum("bnw,eiw->bnei", x, self.up)
            out = torch.einsum(
                "bnei,eiw->bnew", torch.nn.functional.gelu(inside), self.down
            )
            index = chosen[..., None].expand(*chosen.shape, WIDTH)
            return (share[..., None] * out.gather(2, index)).sum(2)

    for number, layer in enumerate(model.layers):
        own, attention = further(number), layer.self_attn
        biases = np.split(own["attn.Wqkv.bias"], 3)
        for part, bias in zip("qkv", biases, strict=True):
            old = getattr(attention, f"{part}_proj")
            new = linear(old.weight.detach().numpy(), bias)
            setattr(attention, f"{part}_proj", new)
        old = attention.o_proj.weight.detach().numpy()
        attention.o_proj = linear(old, own["attn.out_proj.bias"])
        if has_experts(number):
            names = ("router.layer.weight", "experts.mlp.w1", "experts.mlp.w2")
            layer.mlp = Mixture(*(own[f"mlp.{name}"] for name in names))
        else:
            layer.mlp = torch.nn.Sequential(
                linear(own["mlp.fc1.weight"], own["mlp.fc1.bias"]),
                torch.nn.GELU(),
                linear(own["mlp.fc2.weight"], own["mlp.fc2.bias"]),
            )


NOMIC_MOES = (
    Case(
        "nomic-bert-moe",
        "NomicBertModel",
        TWIN,
        config_of=of_nomic,
        rename=nomic_names,
        adapt=adapted,
        is_raw=True,
        predicts_text=False,
    ),
)
