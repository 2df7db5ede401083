"""Checkpoints that transformers 5 saved again: their configs have other keys than the
published ones, and make the same files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from quantkit.errors import CheckpointError, QuantkitError, UnsupportedModelError

from .families.case import without
from .families.cases import CASES
from .families.describe import described_metadata
from .families.stored import checkpoint, fixture, source_of

BY_NAME = {case.name: case for case in CASES}
FULL, SLIDING = "full_attention", "sliding_attention"


def deepseek_v4(published: dict[str, Any]) -> dict[str, Any]:
    """As transformers 5.24 writes DeepSeek V4."""
    kinds = {0: SLIDING, 4: "compressed_sparse_attention"}
    kinds[128] = "heavily_compressed_attention"
    n, ratios = published["num_hidden_layers"], published["compress_ratios"]
    share = published["qk_rope_head_dim"] / published["head_dim"]
    scaling = dict(published["rope_scaling"] or {"type": "default"})
    n_hashed = published["num_hash_layers"]
    own = ("compress_ratios", "num_hash_layers", "qk_rope_head_dim", "rope_scaling")
    bases = published.get("rope_theta", 1e4), published["compress_rope_theta"]
    main, compressed = (
        {"rope_theta": base, "partial_rotary_factor": share} for base in bases
    )
    return {
        **without(*own)(published),
        "layer_types": [kinds[ratio] for ratio in ratios[:n]],
        "mlp_layer_types": ["hash_moe"] * n_hashed + ["moe"] * (n - n_hashed),
        "compress_rates": {kind: ratio for ratio, kind in kinds.items() if ratio},
        "partial_rotary_factor": share,
        "rope_parameters": {
            "main": {**main, "rope_type": "default"},
            "compress": {**compressed, "rope_type": scaling.pop("type"), **scaling},
        },
    }


def nemotron_h(published: dict[str, Any]) -> dict[str, Any]:
    """As it writes Nemotron-H: with settings of experts also if there are none."""
    words = {"M": "linear_attention", "*": FULL, "-": "mlp", "E": "moe"}
    experts = {"n_routed_experts": 8, "num_experts_per_tok": 2}
    pattern = published["hybrid_override_pattern"]
    return {
        **without("hybrid_override_pattern")(published),
        **experts,
        "n_group": 1,
        "topk_group": 1,
        "layers_block_type": [words[letter] for letter in pattern],
    }


def step_35(published: dict[str, Any]) -> dict[str, Any]:
    """As it writes the text model of Step 3.7."""
    text, other = published["text_config"], "attention_other_setting"
    n = text["num_hidden_layers"]
    sparse = {int(number) for number in text["moe_layers_enum"].split(",")}
    bases = dict(zip(text["layer_types"], text["rope_theta"], strict=True))
    heads = text[other]["num_attention_heads"]
    renamed = {
        "num_attention_groups": "num_key_value_heads",
        "moe_num_experts": "n_routed_experts",
        "moe_top_k": "num_experts_per_tok",
    }
    dropped = (
        *(*renamed, other, "moe_layers_enum", "rope_theta", "rope_scaling"),
        "partial_rotary_factors",
    )
    return published | {
        "text_config": {
            **without(*dropped)(text),
            **{new: text[old] for old, new in renamed.items()},
            "mlp_layer_types": ["sparse" if i in sparse else "dense" for i in range(n)],
            "num_sliding_attention_heads": heads,
            "per_layer_config": {
                str(layer): {"num_attention_heads": heads}
                for layer, kind in enumerate(text["layer_types"])
                if kind == SLIDING
            },
            "query_pre_attn_scalar": text["head_dim"],
            "rope_parameters": {
                kind: {
                    "rope_type": "default",
                    "rope_theta": base,
                    "partial_rotary_factor": 0.5 if kind == FULL else 1.0,
                }
                for kind, base in bases.items()
            },
        }
    }


def kimi_linear(published: dict[str, Any]) -> dict[str, Any]:
    """As it writes Kimi Linear."""
    n, first = published["num_hidden_layers"], published["first_k_dense_replace"]
    linear = published["linear_attn_config"]
    full = [number - 1 for number in linear["full_attn_layers"]]
    own = ("linear_attn_config", "first_k_dense_replace", "moe_layer_freq")
    return {
        **without(*own)(published),
        "layer_types": [FULL if i in full else "linear_attention" for i in range(n)],
        "linear_conv_kernel_dim": linear["short_conv_kernel_size"],
        "linear_head_dim": linear["head_dim"],
        "linear_num_heads": linear["num_heads"],
        "mlp_layer_types": ["dense" if i < first else "sparse" for i in range(n)],
        "qk_head_dim": published["qk_nope_head_dim"] + published["qk_rope_head_dim"],
    }


def minimax_m3(published: dict[str, Any]) -> dict[str, Any]:
    """As it writes MiniMax M3."""
    sparse = published["sparse_attention_config"]
    experts = published["moe_layer_freq"]
    own = ("sparse_attention_config", "moe_layer_freq", "n_shared_experts")
    rotation = {"rope_type": "default", "rope_theta": published["rope_theta"]}
    return {
        **without(*own, "rope_theta")(published),
        "index_block_size": sparse["sparse_block_size"],
        "index_head_dim": sparse["sparse_index_dim"],
        "index_local_blocks": sparse["sparse_local_block"],
        "index_n_heads": sparse["sparse_num_index_heads"],
        "index_topk_blocks": sparse["sparse_topk_blocks"],
        "layer_types": ["minimax_m3_sparse" if each else FULL for each in experts],
        "mlp_layer_types": ["sparse" if each else "dense" for each in experts],
        "rope_parameters": rotation,
    }


def nomic_bert(published: dict[str, Any]) -> dict[str, Any]:
    """As it writes Nomic's BERT, with the context of 2048 that readers get."""
    return {
        "architectures": published["architectures"],
        "model_type": published["model_type"],
        "hidden_act": "silu",
        "hidden_size": published["n_embd"],
        "intermediate_size": published["n_inner"],
        "layer_norm_eps": published["layer_norm_epsilon"],
        "max_position_embeddings": 2048,
        "num_attention_heads": published["n_head"],
        "num_hidden_layers": published["n_layer"],
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": published["rotary_emb_base"],
        },
        "type_vocab_size": published["type_vocab_size"],
        "vocab_size": published["vocab_size"],
    }


def dots_3(published: dict[str, Any]) -> dict[str, Any]:
    """As it writes dots 3 note."""
    kinds = {SLIDING: SLIDING, FULL: "indexed_attention"}
    dropped = [key for key in published if key.startswith("swa_")]
    dropped += ["first_k_dense_replace", "rope_theta", "sliding_window_size"]
    dropped += ["apply_mla_qkv_lora_rescale", "scoring_func", "use_dsa"]
    own = (
        *("num_attention_heads", "num_key_value_heads", "kv_lora_rank", "head_dim"),
        *("qk_nope_head_dim", "v_head_dim"),
    )
    n, n_dense = published["num_hidden_layers"], published["first_k_dense_replace"]
    bases = {SLIDING: published["swa_rope_theta"], FULL: published["rope_theta"]}
    return {
        **without(*dropped)(published),
        "layer_types": [kinds[kind] for kind in published["layer_types"]],
        "mlp_layer_types": ["dense"] * n_dense + ["sparse"] * (n - n_dense),
        "per_layer_config": {
            str(layer): {key: published[f"swa_{key}"] for key in own}
            for layer, kind in enumerate(published["layer_types"])
            if kind == SLIDING
        },
        "rope_parameters": {
            kinds[kind]: {"rope_type": "default", "rope_theta": base}
            for kind, base in bases.items()
        },
        "shared_experts_intermediate_size": published["moe_intermediate_size"],
        "sliding_window": published["sliding_window_size"],
    }


SAVED = {
    "deepseek-v4": deepseek_v4,
    "deepseek-v4-plain": deepseek_v4,
    "dots3-note-text": dots_3,
    "kimi-linear": kimi_linear,
    "minimax-m3": minimax_m3,
    "nemotron-h": nemotron_h,
    "nomic-bert": nomic_bert,
    "step3.7": step_35,
}


@pytest.mark.parametrize("name", SAVED)
def test_metadata_are_those_of_the_published_config(name: str, tmp_path: Path) -> None:
    """All but what counts layers that only predict further tokens."""
    folder = checkpoint(BY_NAME[name], tmp_path)
    path = folder / "config.json"
    path.write_text(json.dumps(SAVED[name](json.loads(path.read_text()))))
    found = described_metadata(source_of(folder).model_fields)
    expected = dict(fixture(BY_NAME[name])["metadata"])
    ratios = "deepseek4.attention.compress_ratios"
    if ratios in expected:
        n = expected["deepseek4.block_count"][1]
        expected[ratios] = [expected[ratios][0], expected[ratios][1][:n]]
    assert found == expected


@pytest.mark.parametrize(
    ("name", "changed", "message"),
    [
        ("deepseek-v4", {"layer_types": ["attention"] * 4}, "layer_types has"),
        ("deepseek-v4", {"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
        (
            "deepseek-v4",
            {"rope_parameters": {"main": 1, "compress": {}}},
            "rope_parameters.main is 1",
        ),
        (
            "deepseek-v4",
            {
                "rope_parameters": {
                    "main": {"rope_theta": 1e4},
                    "compress": {"rope_theta": 1e4, "attention_factor": 2.0},
                }
            },
            "attention_factor: 2.0",
        ),
        ("dots3-note-text", {"per_layer_config": {"0": {}}}, r"for the layers \['0'\]"),
        ("dots3-note-text", {"per_layer_config": {"1": 7, "2": 7}}, "config.1 is 7"),
        ("dots3-note-text", {"shared_experts_intermediate_size": 7}, "size: 7"),
        ("step3.7", {"per_layer_config": {"1": {"head_dim": 8}}}, "per_layer_config"),
        ("step3.7", {"rope_parameters": {FULL: {}}}, "rope_parameters has"),
        ("step3.7", {"query_pre_attn_scalar": 7}, "query_pre_attn_scalar: 7"),
    ],
)
def test_other_settings_are_refused(
    name: str, changed: dict[str, Any], message: str, tmp_path: Path
) -> None:
    """By their names."""
    folder = checkpoint(BY_NAME[name], tmp_path)
    path = folder / "config.json"
    config = SAVED[name](json.loads(path.read_text()))
    config.get("text_config", config).update(changed)
    path.write_text(json.dumps(config))
    with pytest.raises(QuantkitError, match=message):
        source_of(folder)


def test_a_mixture_of_both_forms_is_checked(tmp_path: Path) -> None:
    """Where both kinds of keys are there, they must agree."""
    folder = checkpoint(BY_NAME["deepseek-v4"], tmp_path)
    path = folder / "config.json"
    published = json.loads(path.read_text())
    saved = deepseek_v4(published)
    both = {**saved, "compress_ratios": published["compress_ratios"][1:]}
    path.write_text(json.dumps(both))
    with pytest.raises(QuantkitError, match="layer_types"):
        source_of(folder)


@pytest.mark.parametrize("name", ["smolvlm", "lfm2-vl"])
def test_the_type_of_a_text_model_tells_its_class(name: str, tmp_path: Path) -> None:
    """transformers 5 does not write the class inside of `text_config`."""
    folder = checkpoint(BY_NAME[name], tmp_path)
    path = folder / "config.json"
    config = json.loads(path.read_text())
    del config["text_config"]["architectures"]
    path.write_text(json.dumps(config))
    found = described_metadata(source_of(folder).model_fields)
    assert found == fixture(BY_NAME[name])["metadata"]
    config["text_config"]["model_type"] = "nothing"
    path.write_text(json.dumps(config))
    with pytest.raises(UnsupportedModelError, match="ForConditionalGeneration"):
        source_of(folder)
    config["text_config"]["architectures"] = "Lfm2ForCausalLM"
    path.write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="expected a list"):
        source_of(folder)


def test_internvl_names_the_class_of_its_language_model(tmp_path: Path) -> None:
    """Its own layout has `llm_config` in place of `text_config`."""
    case = BY_NAME["qwen2"]
    folder = checkpoint(case, tmp_path)
    path, weights = folder / "config.json", folder / "model.safetensors"
    text = json.loads(path.read_text())
    vision = {"architectures": ["InternVisionModel"], "hidden_size": 8}
    whole = {
        "architectures": ["InternVLChatModel"],
        "model_type": "internvl_chat",
        "llm_config": text,
        "vision_config": vision,
    }
    path.write_text(json.dumps(whole))
    tensors = {f"language_model.{k}": v for k, v in load_file(weights).items()}
    save_file({**tensors, "mlp1.0.weight": np.ones(4, np.float32)}, weights)
    found = described_metadata(source_of(folder).model_fields)
    assert found == fixture(case)["metadata"]


def test_settings_of_other_parts_are_not_those_of_the_text_model(
    tmp_path: Path,
) -> None:
    """Granite Speech has a window of its sound encoder beside `text_config`."""
    case = BY_NAME["granite"]
    folder = checkpoint(case, tmp_path)
    path, weights = folder / "config.json", folder / "model.safetensors"
    whole = {
        "architectures": ["GraniteSpeechForConditionalGeneration"],
        "model_type": "granite_speech",
        "window_size": 15,
        "attention_bias": True,
        "text_config": json.loads(path.read_text()),
    }
    path.write_text(json.dumps(whole))
    tensors = {f"language_model.{k}": v for k, v in load_file(weights).items()}
    save_file({**tensors, "encoder.out.weight": np.ones(4, np.float32)}, weights)
    source = source_of(folder)
    assert described_metadata(source.model_fields) == fixture(case)["metadata"]
    assert list(source.tensors) == list(fixture(case)["tensors"]["f32"])
