"""Checkpoints as mlx-lm writes them, made from those of Hugging Face.

Source: mlx-lm 0.32 (`sanitize` of each file in mlx_lm/models).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from .families.checkpoints import Arrays

__all__ = ["as_mlx"]

EACH = re.compile(r"(.*)\.experts\.(\d+)\.(\w+)\.weight")
PARTS = {"w1": "gate_proj", "w2": "down_proj", "w3": "up_proj"}
SHIFTED = ("_layernorm.weight", "model.norm.weight", "q_norm.weight", "k_norm.weight")
HAS_SHIFTED = ("qwen3_next", "qwen3_5_moe_text", "qwen3_5_text", "step3p5")
STEP = {
    ".moe.gate.": ".mlp.gate.gate.",
    ".moe.router_bias": ".mlp.gate.router_bias",
    ".moe.": ".mlp.switch_mlp.",
    ".share_expert.": ".mlp.share_expert.",
}
FALCON = {
    "embed_tokens": "embedding_multiplier",
    "lm_head": "lm_head_multiplier",
    "o_proj": "attention_out_multiplier",
    "out_proj": "ssm_out_multiplier",
}


def as_mlx(config: Mapping[str, Any], arrays: Arrays) -> Arrays:
    """The tensors of a checkpoint, as `sanitize` of its type changes them."""
    kind = config["model_type"]
    text = {**config, **(config.get("text_config") or {})}
    made = _stacked(arrays)
    n_layers = text.get("num_hidden_layers", 0)
    for name in [name for name in made if _layer(name) >= n_layers]:
        del made[name]
    for name in list(made):
        if kind == "falcon_h1":
            made[name] = _multiplied(name, made[name], config)
        elif kind == "bailing_moe" and name.endswith(".mlp.gate.weight"):
            made[f"{name.removesuffix('weight')}gate_proj.weight"] = made.pop(name)
            continue
        elif "e_score_correction_bias" in name and kind == "ernie4_5_moe":
            del made[name]
            continue
        if "conv1d.weight" in name or "conv.conv.weight" in name:
            made[name] = np.moveaxis(made[name], 2, 1)
        elif kind in HAS_SHIFTED and name.endswith(SHIFTED) and "attn.norm" not in name:
            made[name] = made[name] + np.float32(1)
        elif name.endswith("kv_b_proj.weight"):
            made |= _latents(name, made.pop(name), text)
        elif name.endswith((".gate_up_proj", ".experts.down_proj")):
            made |= _fused(name, made.pop(name), kind)
        elif name.endswith(("input_linear.weight", "output_linear.weight")):
            if not config.get("num_local_experts"):
                made |= _granite_dense(name, made.pop(name))
            elif "shared_mlp" not in name:
                made |= _granite(name, made.pop(name))
        elif kind == "nemotron_h" and ".switch_mlp." in name:
            new = name.replace("up_proj", "fc1").replace("down_proj", "fc2")
            made[new] = made.pop(name)
        elif kind == "lfm2_moe" and (match := re.search(r"feed_forward\.(w\d)", name)):
            new = name.replace(match[1], PARTS[match[1]])
            made[new] = made.pop(name)
    if kind == "step3p5":
        made = {_of_step(name): array for name, array in made.items()}
    elif kind == "bailing_moe" and config.get("norm_head"):
        head = made["lm_head.weight"]
        norms = np.sqrt((head * head).sum(axis=0)) + np.float32(1e-7)
        made["lm_head.weight"] = head / norms
    return {name: np.ascontiguousarray(array) for name, array in made.items()}


def _layer(name: str) -> int:
    match = re.search(r"\blayers\.(\d+)\.", name)
    return int(match[1]) if match else -1


def _of_step(name: str) -> str:
    for old, new in STEP.items():
        if old in name:
            return name.replace(old, new)
    return name


def _multiplied(name: str, array: Any, config: Mapping[str, Any]) -> Any:
    """By the factors of Falcon H1, of which MLX leaves that of keys out."""
    module = name.removesuffix(".weight").rpartition(".")[2]
    if module in ("gate_proj", "down_proj"):
        return array * np.float32(config["mlp_multipliers"][module == "down_proj"])
    if module == "in_proj":
        inner, groups, states, heads = (
            config[f"mamba_{key}"]
            for key in ("d_ssm", "n_groups", "d_state", "n_heads")
        )
        sizes = [inner, inner, groups * states, groups * states, heads]
        rows = np.repeat(np.float32(config["ssm_multipliers"]), sizes)
        return array * (np.float32(config["ssm_in_multiplier"]) * rows)[:, None]
    factor = config[FALCON[module]] if module in FALCON else 1
    return array * np.float32(factor)


def _stacked(arrays: Arrays) -> Arrays:
    """Experts with a matrix each, stacked."""
    made: Arrays = {}
    stacks: dict[str, list[Any]] = {}
    for name, array in sorted(arrays.items(), key=lambda item: _number(item[0])):
        if match := EACH.fullmatch(name):
            part = PARTS.get(match[3], match[3])
            stack = f"{match[1]}.switch_mlp.{part}.weight"
            stacks.setdefault(stack, []).append(array)
        else:
            made[name] = array
    return made | {name: np.stack(parts) for name, parts in stacks.items()}


def _number(name: str) -> int:
    match = EACH.fullmatch(name)
    return int(match[2]) if match else -1


def _latents(name: str, weight: Any, text: Mapping[str, Any]) -> Arrays:
    before, n_keys = name.removesuffix("kv_b_proj.weight"), text["qk_nope_head_dim"]
    heads = weight.reshape(text["num_attention_heads"], -1, weight.shape[-1])
    return {
        f"{before}embed_q.weight": heads[:, :n_keys].swapaxes(1, 2),
        f"{before}unembed_out.weight": heads[:, n_keys:],
    }


def _fused(name: str, stack: Any, kind: str) -> Arrays:
    before, _, part = name.rpartition(".")
    if kind.startswith("llama4"):
        stack, inside = stack.swapaxes(1, 2), before
    elif kind.startswith("gemma4"):
        inside = f"{before}.switch_glu"
    else:
        inside = f"{before.removesuffix('.experts')}.switch_mlp"
    if part == "down_proj":
        return {f"{inside}.down_proj.weight": stack}
    gate, up = np.split(stack, 2, axis=1)
    return {f"{inside}.gate_proj.weight": gate, f"{inside}.up_proj.weight": up}


def _granite(name: str, stack: Any) -> Arrays:
    before = name.removesuffix("put_linear.weight")
    before = before.removesuffix("in").removesuffix("out")
    if name.endswith("output_linear.weight"):
        return {f"{before}switch_mlp.down_proj.weight": stack}
    gate, up = np.split(stack, 2, axis=1)
    return {
        f"{before}switch_mlp.gate_proj.weight": gate,
        f"{before}switch_mlp.up_proj.weight": up,
    }


def _granite_dense(name: str, matrix: Any) -> Arrays:
    before = name.partition(".shared_mlp.")[0]
    if name.endswith("output_linear.weight"):
        return {f"{before}.mlp.down_proj.weight": matrix}
    gate, up = np.split(matrix, 2)
    return {
        f"{before}.mlp.gate_proj.weight": gate,
        f"{before}.mlp.up_proj.weight": up,
    }
