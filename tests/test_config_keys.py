"""config.json with values of wrong types and ranges, contradictions, and settings that
GGUF readers do not support: each is an error that names the key."""

from __future__ import annotations

import contextlib
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantkit.checkpoint.mistral_format import MISTRAL_CLASS
from quantkit.errors import CheckpointError, QuantkitError, UnsupportedModelError
from quantkit.gguf.keys import Field, float32
from quantkit.models import all_families, family_for_config, settled
from quantkit.models.config_checks import checked_config
from quantkit.models.config_keys import KINDS
from quantkit.sources.checkpoint import CheckpointSource

from .families.case import without
from .families.cases import CASES, Case
from .families.describe import described_metadata
from .families.sampling import one_in_four
from .families.stored import checkpoint, fixture, source_of, text_of

LLAMA = next(case for case in CASES if case.name == "llama")
QWEN2 = next(case for case in CASES if case.name == "qwen2")
HUGE = 10**400
VALUES: tuple[Any, ...] = (
    *(None, "text", "", 0, -1, 1, 2, 3, 10**9, 2**63, HUGE, 0.5, -0.5, 1e308),
    *(float("nan"), float("inf"), True, False, [], [1], ["x"], [None], {}, {"a": 1}),
    *({"rope_type": "yarn", "factor": 0.5}, {"type": []}, {"rope_type": "llama3"}),
)
ROPE = ("factor", "rope_type", "rope_theta", "mscale", "long_factor", "truncate")


def fields(config: dict[str, Any], **changed: Any) -> dict[str, Field]:
    """The metadata of a config, checked as when a checkpoint is opened."""
    family, complete = settled({**config, **changed})
    family.check_settings(complete)
    return family.hyperparameters(complete, 0)


def check(config: dict[str, Any]) -> None:
    """Refuse settings that GGUF cannot represent."""
    family, complete = settled(config)
    family.check_settings(complete)


def config_of(case: Case) -> dict[str, Any]:
    """The config of a case as transformers wrote it, with all keys at the top."""
    stored = fixture(case)["config"]
    return without("text_config", "thinker_config")({**stored, **text_of(stored)})


@pytest.mark.parametrize("case", one_in_four(CASES))
def test_wrong_values_are_quantkit_errors(case: Case, tmp_path: Path) -> None:
    """Thirty random changes of each family's config; also of rope settings."""
    folder = checkpoint(case, tmp_path)
    path = folder / case.config_at
    config = json.loads(path.read_text())
    rng = random.Random(case.name)
    for _ in range(30):
        changed = json.loads(json.dumps(config))
        inside = text_of(changed)
        key = rng.choice([*inside, "rope_scaling", "rope_parameters", "head_dim"])
        if key.startswith("rope_") and rng.random() < 0.5:
            inside[key] = {"rope_type": "yarn", "factor": 2.0}
            inside, key = inside[key], rng.choice(ROPE)
        inside[key] = rng.choice(VALUES)
        path.write_text(json.dumps(changed))
        with contextlib.suppress(QuantkitError):
            described_metadata(source_of(folder).model_fields)


@pytest.mark.parametrize("key", sorted(KINDS))
def test_no_key_takes_every_value(key: str) -> None:
    """Each is refused by name where it is of another kind."""
    with pytest.raises(CheckpointError, match=f"config.json: {key} is nan; expected"):
        checked_config({key: float("nan")})
    assert checked_config({key: None}) == {key: None}


def test_whole_numbers_may_have_a_point() -> None:
    """As some tools write them; text does not count, nor do other fractions."""
    found = checked_config(
        {"hidden_size": 64.0, "rope_scaling": {"mrope_section": [2.0]}}
    )
    assert found == {"hidden_size": 64, "rope_scaling": {"mrope_section": [2]}}
    assert type(found["hidden_size"]) is int
    for wrong in ("64", 64.5, True):
        with pytest.raises(CheckpointError, match="hidden_size is "):
            checked_config({"hidden_size": wrong})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"num_attention_heads": 5}, "hidden_size is 64; expected a multiple of"),
        ({"num_key_value_heads": 3}, "num_attention_heads is 4; expected a multiple"),
        ({"n_layer": 7}, "num_hidden_layers is 3, but n_layer is 7; both are for"),
        ({"layer_types": ["full_attention"]}, "layer_types has 1 items; expected 3"),
        ({"layer_types": ["chunked"] * 3}, "layer_types has 'chunked'"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers is 1000000000; expected"),
        ({"num_experts": 2, "num_experts_per_tok": 3}, "num_experts is 2; expected"),
        ({"hidden_size": 60}, "15 components of a head rotate; expected an even"),
    ],
)
def test_sizes_that_contradict_each_other(
    changed: dict[str, Any], message: str
) -> None:
    """The error names both keys."""
    config = {k: v for k, v in config_of(QWEN2).items() if k != "layer_types"}
    with pytest.raises(CheckpointError, match=message):
        fields(config, **changed)


def test_sizes_that_no_tensor_has(tmp_path: Path) -> None:
    """Before an array of that size is made."""
    folder = checkpoint(LLAMA, tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "head_dim": 10**9}))
    with pytest.raises(CheckpointError, match="head_dim is 1000000000, but no axis"):
        CheckpointSource(folder)


def test_biases_follow_their_flag(tmp_path: Path) -> None:
    """transformers would ignore stored biases that the config switches off."""
    case = next(case for case in CASES if case.name == "granite-bias")
    folder = checkpoint(case, tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "mlp_bias": False}))
    with pytest.raises(CheckpointError, match=r"mlp_bias is False, .*_proj\.bias"):
        CheckpointSource(folder)


@pytest.mark.parametrize(
    "family",
    [
        pytest.param(each.values[0], id=each.values[0].hf_classes[0], marks=each.marks)
        for each in one_in_four(all_families())
        if each.values[0].hf_classes != (MISTRAL_CLASS,)
    ],
)
def test_settings_that_readers_assume(family: Any) -> None:
    """Each key that a family names is refused with another value, and by name.

    Mistral's own format has other keys: see the tests of its params.json.
    """
    case = next(case for case in CASES if family_for_config(config_of(case)) is family)
    config = config_of(case)
    check(config)
    for key, values in family.assumed.items():
        assert values
        kind = KINDS.get(key)
        candidates = ("other", True, False, 5, 0.75, [1], ["other"], {"type": "other"})
        other = next(
            value
            for value in candidates
            if value not in values and (kind is None or kind.accepts(value))
        )
        with pytest.raises(UnsupportedModelError, match=f"has {key}: "):
            check({**config, key: other})


@pytest.mark.parametrize(
    ("hf_class", "changed", "is_refused"),
    [
        ("Qwen2ForCausalLM", {"max_window_layers": 1}, True),
        ("Qwen2ForCausalLM", {"max_window_layers": 3}, False),
        ("Qwen2ForCausalLM", {"max_window_layers": 1, "sliding_window": 256}, False),
        ("Qwen2ForCausalLM", {"use_sliding_window": False}, False),
        ("Qwen2ForCausalLM", {"layer_types": ["full_attention"] * 3}, False),
        ("Qwen3ForCausalLM", {"layer_types": ["sliding_attention"] * 3}, True),
        ("Qwen2MoeForCausalLM", {"max_window_layers": 1}, True),
        ("Qwen2MoeForCausalLM", {"max_window_layers": 0}, False),
        ("Qwen3MoeForCausalLM", {"norm_topk_prob": True}, True),
    ],
)
def test_windows_that_gguf_cannot_say(
    hf_class: str, changed: dict[str, Any], is_refused: bool
) -> None:
    """Only if a layer has a window that is shorter than the context."""
    other = ("layer_types", "model_type")
    base = {k: v for k, v in config_of(QWEN2).items() if k not in other}
    base |= {"architectures": [hf_class], "use_sliding_window": True}
    config = {**base, "sliding_window": 16, "max_position_embeddings": 256, **changed}
    if hf_class.endswith("MoeForCausalLM"):
        config |= {"num_experts": 4, "num_experts_per_tok": 2}
    if not is_refused:
        assert fields(config)
        return
    with pytest.raises(UnsupportedModelError, match="sliding_window: 16 for"):
        fields(config)


YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}


@pytest.mark.parametrize(
    ("changed", "factor"),
    [
        ({}, 1 + 0.1 * np.log(4)),
        ({"mscale": 0.7, "mscale_all_dim": 0.7}, 1.0),
        ({"mscale": 0.7}, 1 + 0.1 * np.log(4)),
        (
            {"mscale": 1.0, "mscale_all_dim": 0.5},
            (1 + 0.1 * np.log(4)) / (1 + 0.05 * np.log(4)),
        ),
        ({"attention_factor": 0.9, "mscale": 0.7, "mscale_all_dim": 0.7}, 0.9),
    ],
)
def test_yarn_attention_factor(changed: dict[str, float], factor: float) -> None:
    """transformers' factor is llama.cpp's own one, times that in the metadata."""
    found = fields(config_of(LLAMA), rope_parameters={**YARN, **changed})
    own = 1 + 0.1 * np.log(4)
    share = found.get("rope.scaling.attn_factor", float32(1.0)).value
    assert share * own == pytest.approx(factor, rel=1e-12)
    assert "rope.scaling.yarn_attn_factor" not in found


@pytest.mark.parametrize(
    ("rope", "message"),
    [
        ({**YARN, "truncate": False}, "truncate: False"),
        ({**YARN, "attn_factor": 2.0}, "attn_factor: 2.0"),
        ({**YARN, "extrapolation_factor": 0.5}, "extrapolation_factor: 0.5"),
        ({"rope_type": "longrope", "factor": 2.0}, "rope_type: 'longrope'"),
        ({"rope_type": "default", "partial_rotary_factor": 0.5}, "partial_rotary"),
    ],
)
def test_rope_settings_that_readers_do_not_have(
    rope: dict[str, Any], message: str
) -> None:
    """They would change the logits in silence."""
    with pytest.raises(UnsupportedModelError, match=message):
        fields(config_of(LLAMA), rope_parameters=rope)


def test_rope_scaling_replaces_rope_parameters() -> None:
    """As in transformers 5, where it also loses the base that the others state."""
    both = {"rope_parameters": {"rope_type": "default", "rope_theta": 1e6}}
    found = fields(config_of(QWEN2), **both, rope_scaling=YARN)
    assert found["rope.scaling.factor"] == float32(4.0)
    assert found["rope.freq_base"] == float32(10000.0)
    kept = fields(config_of(QWEN2), **both, rope_scaling=None)
    assert kept["rope.freq_base"] == float32(1e6)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"rope_scaling": YARN, "rope_parameters": {**YARN, "factor": 2.0}},
            "has both",
        ),
        (
            {"rope_scaling": YARN, "original_max_position_embeddings": 64},
            "original_max_position_embeddings is 64, but 32 inside",
        ),
    ],
)
def test_rope_settings_that_readers_choose_differently(
    changed: dict[str, Any], message: str
) -> None:
    """Where transformers has no such class, or llama.cpp takes the other one."""
    case = next(case for case in CASES if case.name == "internlm2")
    config = {k: v for k, v in config_of(case).items() if not k.startswith("rope_s")}
    with pytest.raises(CheckpointError, match=message):
        fields(config, **changed)


@pytest.mark.parametrize("name", ["deepseek-v2", "deepseek-v3"])
def test_the_head_size_of_latent_attention_is_what_rotates(name: str) -> None:
    """transformers rotates `head_dim` components, GGUF readers `qk_rope_head_dim`."""
    config = config_of(next(case for case in CASES if case.name == name))
    assert fields(config, head_dim=config["qk_rope_head_dim"])
    with pytest.raises(UnsupportedModelError, match="head_dim: 2; "):
        fields(config, head_dim=2)


def test_gpt_neox_reads_the_rope_settings_of_transformers_5() -> None:
    """Its older keys are `rotary_pct` and `rotary_emb_base`."""
    config = config_of(next(case for case in CASES if case.name == "gpt-neox"))
    older = {k: v for k, v in config.items() if not k.startswith("rotary_")}
    size = config["hidden_size"] // config["num_attention_heads"]
    rope = {"rope_type": "default", "rope_theta": 2e4, "partial_rotary_factor": 0.5}
    found = fields(older, rope_parameters=rope)
    assert found["rope.dimension_count"].value == size // 2
    assert found["rope.freq_base"] == float32(2e4)
    with pytest.raises(CheckpointError, match=r"rotary_pct is 0\.5, but partial_rot"):
        fields({**older, "rotary_pct": 0.5, "partial_rotary_factor": 0.25})


def test_settings_of_the_text_model_are_in_its_config() -> None:
    """transformers ignores them outside, and takes its class's default."""
    stored = fixture(next(case for case in CASES if case.name == "gemma3-vision"))
    config = {**stored["config"], **text_of(stored["config"])}
    assert fields(config)
    assert "rope_theta" not in stored["config"]["text_config"]
    with pytest.raises(CheckpointError, match=r"rope_theta is 5000\.0, but outside"):
        fields(config, rope_theta=5e3)


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("plamo2", "rope_theta", []),
        ("rwkv7-fla", "intermediate_size", []),
        ("rwkv6", "intermediate_size", []),
        ("youtu", "intermediate_size", []),
        ("dots3-note", "layer_types", []),
        ("kimi-linear", "num_attention_heads", None),
        ("hrm-text", "num_layers_per_stack", 1),
    ],
)
def test_values_for_which_a_family_has_no_use(
    name: str, key: str, value: Any, tmp_path: Path
) -> None:
    """Each was once an error of Python."""
    folder = checkpoint(next(case for case in CASES if case.name == name), tmp_path)
    config = json.loads((folder / "config.json").read_text())
    text_of(config)[key] = value
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=key.replace("num_layers_per_", "")):
        described_metadata(source_of(folder).model_fields)
