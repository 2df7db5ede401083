"""What families make of configs that no fixture can show: where llama.cpp's converter
writes a file that does not work, and where there is no such file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from quantkit.checkpoint.lazy import computed
from quantkit.errors import CheckpointError, UnsupportedModelError
from quantkit.forward.claims import Claims
from quantkit.forward.facts import Facts
from quantkit.forward.outline import Outline
from quantkit.gguf.keys import Field, FileType, float32, uint32
from quantkit.models import family_for_config, settled
from quantkit.models.gemma import Gemma2, Gemma3
from quantkit.sources.checkpoint import CheckpointSource

from .families.cases import CASES
from .families.stored import checkpoint

SIZES = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "head_dim": 16,
    "num_key_value_heads": 2,
    "vocab_size": 112,
}
GEMMA_2 = {"architectures": ["Gemma2ForCausalLM"], **SIZES, "query_pre_attn_scalar": 16}
GEMMA_3 = {**GEMMA_2, "architectures": ["Gemma3ForCausalLM"]}
WIDE = {"output_norm.weight": (4608,)}
CLAIMS = Claims(Outline(WIDE), WIDE)
MINIMAX_M2 = {"architectures": ["MiniMaxM2ForCausalLM"], **SIZES}
STABLELM = {"architectures": ["StableLmForCausalLM"], **SIZES}
GLM = {"architectures": ["GlmForCausalLM"], **SIZES}
PHI = {"architectures": ["PhiForCausalLM"], **SIZES}
PHI_3 = {"architectures": ["Phi3ForCausalLM"], **SIZES}


def fields(config: dict[str, Any], **changed: Any) -> dict[str, Field]:
    family, complete = settled({**config, **changed})
    family.check_settings(complete)
    return family.hyperparameters(complete, FileType.F16)


@pytest.mark.parametrize("config", [GEMMA_2, STABLELM, PHI])
def test_another_rope_base_is_not_lost(config: dict[str, Any]) -> None:
    """Readers assume 10000; stable-code-3b, for one, has another."""
    assert "rope.freq_base" not in fields(config, rope_theta=10000.0)
    assert fields(config, rope_theta=1e6)["rope.freq_base"] == float32(1e6)


def test_glm_of_transformers_keeps_base_and_epsilon() -> None:
    """glm-4-9b-chat-hf and its longer relatives need them."""
    found = fields(GLM, rope_theta=5e6, rms_norm_eps=1.5625e-07)
    assert found["rope.freq_base"] == float32(5e6)
    assert found["attention.layer_norm_rms_epsilon"] == float32(1.5625e-07)


def test_biases_of_cohere_2_are_0(tmp_path: Path) -> None:
    """Its published checkpoints have them; readers do not."""
    folder = checkpoint(next(c for c in CASES if c.name == "cohere2-2"), tmp_path)
    path, name = folder / "model.safetensors", "model.layers.0.self_attn.q_proj.bias"
    arrays = load_file(path)
    save_file({**arrays, name: -np.zeros(64, np.float32)}, path)
    assert "blk.0.attn_q.bias" not in CheckpointSource(folder).tensors
    save_file({**arrays, name: np.eye(1, 64, dtype=np.float32)[0]}, path)
    with pytest.raises(CheckpointError, match="which is not 0"):
        CheckpointSource(folder)


def test_phi_tells_its_own_sizes() -> None:
    """Grouped heads, and a feed-forward size that is not four times the width."""
    found = fields(PHI)
    assert found["attention.head_count_kv"] == uint32(2)
    assert found["feed_forward_length"] == uint32(96)


@pytest.mark.parametrize("config", [GEMMA_2, GEMMA_3])
def test_windows_in_other_layers_are_told(config: dict[str, Any]) -> None:
    """Readers assume a period that a config may not follow."""
    kinds = ["full_attention", "sliding_attention"] * 2
    found = fields(config, layer_types=kinds)
    assert found["attention.sliding_window_pattern"].value == [False, True] * 2
    assert "attention.sliding_window_pattern" not in fields(config)


@pytest.mark.parametrize(("family", "n_layers"), [(Gemma2(), 46), (Gemma3(), 62)])
def test_the_largest_gemmas_scale_scores_by_width_and_heads(
    family: Gemma2, n_layers: int
) -> None:
    """GGUF has no key for it: readers know them by their layers."""
    known = {
        "block_count": uint32(n_layers),
        "embedding_length": uint32(4608),
        "attention.head_count": uint32(32),
        "attention.key_length": uint32(128),
        "attention.layer_norm_rms_epsilon": float32(1e-6),
    }
    name = family.name
    facts = Facts(name, {f"{name}.{key}": value for key, value in known.items()})
    assert family.traits(facts, CLAIMS).attention_scale == 144**-0.5
    fewer = Facts(name, {**facts.metadata, f"{name}.block_count": uint32(42)})
    assert family.traits(fewer, CLAIMS).attention_scale is None
    config = {**SIZES, "num_hidden_layers": n_layers, "head_dim": 24}
    family.check_settings({**config, "query_pre_attn_scalar": 16})
    with pytest.raises(UnsupportedModelError, match="query_pre_attn_scalar: 24"):
        family.check_settings({**config, "query_pre_attn_scalar": 24})


@pytest.mark.parametrize(
    ("config", "changed"),
    [
        (GEMMA_2, {"query_pre_attn_scalar": 32}),
        (GEMMA_2, {"tie_word_embeddings": False}),
        (GEMMA_2, {"hidden_activation": "silu"}),
        (GEMMA_3, {"attn_logit_softcapping": 50.0}),
        (GEMMA_3, {"use_bidirectional_attention": True}),
        (GLM, {"head_dim": 32}),
        (PHI, {"hidden_act": "relu"}),
        (STABLELM, {"hidden_act": "gelu"}),
    ],
)
def test_what_readers_would_not_run_is_refused(
    config: dict[str, Any], changed: dict[str, Any]
) -> None:
    """The error names the setting and its value."""
    key, value = next(iter(changed.items()))
    with pytest.raises(UnsupportedModelError, match=f"{key}: {value!r}"):
        fields(config, **changed)


def test_rows_that_are_not_heads_are_refused() -> None:
    """Where the rows of heads move."""
    config = {**GLM, "architectures": ["Glm4vForConditionalGeneration"]}
    config["rope_scaling"] = {"mrope_section": [1, 1, 2], "rope_type": "default"}
    tensor = computed(np.zeros((50, 64)))
    source = "model.layers.0.self_attn.q_proj.weight"
    with pytest.raises(CheckpointError, match="50 rows, which do not form heads of 16"):
        list(family_for_config(config).converted(source, tensor, config))


def test_longrope_factors_must_fit_the_head() -> None:
    """One for each pair of components, of both lists."""
    scaling = {"type": "longrope", "short_factor": [1.0] * 8, "long_factor": [1.0] * 7}
    family = family_for_config(PHI_3)
    config = family.complete({**PHI_3, "rope_scaling": scaling})
    with pytest.raises(CheckpointError, match=r"7 .*long_factor; expected 8"):
        list(family.computed_tensors(config))


def test_longrope_takes_a_stated_attention_factor() -> None:
    """As transformers does; it follows from the lengths where none is stated."""
    family = family_for_config(PHI_3)
    scaling = {"type": "longrope", "short_factor": [1.0] * 8, "long_factor": [1.0] * 8}
    config = {**PHI_3, "max_position_embeddings": 4096**2, "rope_scaling": scaling}
    found = family.early_fields(family.complete(config))
    assert np.isclose(found["rope.scaling.attn_factor"].value, 2**0.5)
    config["rope_scaling"] = {**scaling, "attention_factor": 1.5}
    found = family.early_fields(family.complete(config))
    assert found["rope.scaling.attn_factor"] == float32(1.5)


def test_minimax_tells_what_only_transformers_assumes() -> None:
    """Its config class has no key for the gating, and a share for the rotation."""
    rope = {"rope_type": "default", "rope_theta": 5e6, "partial_rotary_factor": 0.5}
    found = fields(MINIMAX_M2, rope_parameters=rope)
    assert found["rope.dimension_count"] == uint32(8)
    assert found["expert_gating_func"] == uint32(2)
    with pytest.raises(CheckpointError, match=r"rotary_dim is 12, but partial_rotary"):
        fields(MINIMAX_M2, rope_parameters=rope, rotary_dim=12)


@pytest.mark.parametrize(
    ("kinds", "share", "is_told"),
    [
        (["sliding_attention", "full_attention"], 0.5, True),
        (["full_attention", "sliding_attention"], 0.5, False),
        (["sliding_attention", "full_attention"], 1.0, False),
        (["sliding_attention", "sliding_attention"], 0.5, False),
    ],
)
def test_laguna_tells_where_llamacpp_rotates_otherwise(
    kinds: list[str], share: float, is_told: bool
) -> None:
    """It rotates as many components in all layers as in the first one."""
    rope = {"rope_type": "default", "rope_theta": 1e4}
    config = {
        **SIZES,
        "architectures": ["LagunaForCausalLM"],
        "num_hidden_layers": 2,
        "layer_types": kinds,
        "rope_parameters": {
            "full_attention": {**rope, "partial_rotary_factor": share},
            "sliding_attention": rope,
        },
    }
    family, complete = settled(config)
    notice = family.notice(complete)
    assert (notice is not None) == is_told
    assert notice is None or "rotates 16 in all layers" in notice


def test_granite_4_has_the_width_of_its_shared_part(tmp_path: Path) -> None:
    """Without experts that part is all, whatever `intermediate_size` says."""
    case = next(case for case in CASES if case.name == "granite-4-dense")
    folder = checkpoint(case, tmp_path)
    path = folder / "config.json"
    config = json.loads(path.read_text())
    shared = config["shared_intermediate_size"]
    path.write_text(json.dumps({**config, "intermediate_size": shared + 8}))
    source = CheckpointSource(folder, "f32")
    assert source.model_fields["granite.feed_forward_length"] == uint32(shared)
