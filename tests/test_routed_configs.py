"""Configs of mixtures of experts that the fixtures do not have: read, or refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from quantkit.errors import CheckpointError, QuantkitError, UnsupportedModelError
from quantkit.sources.checkpoint import CheckpointSource

from .families.cases import CASES
from .families.describe import described_metadata
from .families.stored import checkpoint, fixture

BY_NAME = {case.name: case for case in CASES}
Config = dict[str, Any]


def metadata(name: str, folder: Path, config: Config) -> dict[str, Any]:
    """The metadata of a case whose config is this one."""
    model = checkpoint(BY_NAME[name], folder)
    (model / "config.json").write_text(json.dumps(config))
    source = CheckpointSource(model, "f32")
    assert list(source.tensors)
    return described_metadata(source.model_fields)


def with_names(config: Config, names: dict[str, str]) -> Config:
    """The config with keys renamed."""
    return {names.get(key, key): value for key, value in config.items()}


@pytest.mark.parametrize("score", ["noaux_tc", None])
def test_dots1_has_sigmoids(score: str | None, tmp_path: Path) -> None:
    """Whatever published configs call them, and if they do not say it."""
    config = {**fixture(BY_NAME["dots1"])["config"], "scoring_func": score}
    found = metadata("dots1", tmp_path, config)
    assert found == fixture(BY_NAME["dots1"])["metadata"]


def test_sarvam_as_transformers_writes_it(tmp_path: Path) -> None:
    """Its class has other names of keys, and takes sigmoids for granted."""
    names = {
        "num_experts": "n_routed_experts",
        "num_shared_experts": "n_shared_experts",
    }
    config = with_names(fixture(BY_NAME["sarvam-moe"])["config"], names)
    del config["score_function"]
    found = metadata("sarvam-moe", tmp_path, config)
    assert found == fixture(BY_NAME["sarvam-moe"])["metadata"]


def test_phimoe_without_longrope(tmp_path: Path) -> None:
    """The original context is the context."""
    config = {**fixture(BY_NAME["phimoe"])["config"]}
    for key in ("rope_scaling", "original_max_position_embeddings"):
        config.pop(key, None)
    config["rope_parameters"] = {"rope_type": "default", "rope_theta": 10000.0}
    found = metadata("phimoe", tmp_path, config)
    original = found["phimoe.rope.scaling.original_context_length"]
    assert original == found["phimoe.context_length"]
    assert "phimoe.rope.scaling.attn_factor" not in found


def test_phimoe_takes_the_scale_of_its_config(tmp_path: Path) -> None:
    """As published models have it, which is not what a rule gives."""
    config = json.loads(json.dumps(fixture(BY_NAME["phimoe"])["config"]))
    config["rope_parameters"] |= {"short_mscale": 1.5, "long_mscale": 1.5}
    found = metadata("phimoe", tmp_path, config)
    assert found["phimoe.rope.scaling.attn_factor"] == ["FLOAT32", 1.5]


def test_laguna_with_other_windows_says_which(tmp_path: Path) -> None:
    """Readers assume that every fourth layer has none, the first of four."""
    config = {**fixture(BY_NAME["laguna"])["config"]}
    config["layer_types"] = [*config["layer_types"][:4], "sliding_attention"]
    found = metadata("laguna", tmp_path, config)
    pattern = found["laguna.attention.sliding_window_pattern"]
    assert pattern == ["ARRAY", [False, True, True, True, True]]


REFUSED = [
    ("laguna", {"num_attention_heads_per_layer": [4]}, CheckpointError, "1 items"),
    ("laguna", {"gating_types": ["per_element"] * 5}, UnsupportedModelError, "gating"),
    ("afmoe", {"layer_types": ["full_attention"] * 5}, UnsupportedModelError, "layer_"),
    ("afmoe", {"sliding_window": None}, CheckpointError, "sliding_window"),
    (
        "dots1",
        {"layer_types": ["sliding_attention"] * 3},
        UnsupportedModelError,
        "sliding_window: 8",
    ),
    ("phimoe", {"head_dim": 32}, UnsupportedModelError, "head_dim"),
    ("bailing-moe", {"head_dim": 16}, CheckpointError, "192 rows; expected 128"),
    ("bailing-moe-2", {"num_shared_experts": 2}, UnsupportedModelError, "shared"),
    ("bailing-moe-3", {"layer_group_size": 1}, UnsupportedModelError, "f_proj"),
    ("bailing-moe-3", {"kda_safe_gate": None}, CheckpointError, "kda_safe_gate"),
    ("dots3-note", {"swa_q_lora_rank": 40}, UnsupportedModelError, "swa_q_lora_rank"),
    ("dots3-note", {"swa_head_dim": 40}, UnsupportedModelError, "swa_head_dim"),
    ("smallthinker", {"sliding_window_size": 64}, UnsupportedModelError, "4096"),
]


@pytest.mark.parametrize(("name", "changes", "error", "text"), REFUSED)
def test_what_readers_do_not_support_is_refused(
    name: str,
    changes: Config,
    error: type[QuantkitError],
    text: str,
    tmp_path: Path,
) -> None:
    """By name, and before any work."""
    config = {**fixture(BY_NAME[name])["config"], **changes}
    with pytest.raises(error, match=text):
        metadata(name, tmp_path, config)


def test_sections_of_ling_3_vl_must_fit(tmp_path: Path) -> None:
    """Three numbers, whose sum is half of the components that rotate."""
    config = json.loads(json.dumps(fixture(BY_NAME["bailing-moe-3-vl"])["config"]))
    config["text_config"]["mrope_section"] = [3, 2, 2]
    with pytest.raises(UnsupportedModelError, match="sum is 6"):
        metadata("bailing-moe-3-vl", tmp_path, config)
