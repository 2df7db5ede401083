"""Settings of Gemma 3n and 4 that no fixture can show, and files without some keys."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantkit.checkpoint.lazy import LowRank, computed, padded, values_of
from quantkit.errors import CheckpointError, FormatError, UnsupportedModelError
from quantkit.forward.outline import Outline
from quantkit.gguf.keys import Field, FileType, ValueType, array, uint32
from quantkit.models import check_model, load_model, settled
from quantkit.models.gemma3n import SPARSITY, deviations_of
from quantkit.sources.checking import shapes_of
from quantkit.sources.checkpoint import CheckpointSource

from .families.cases import CASES, Case
from .families.stored import checkpoint

SLIDING, FULL = "sliding_attention", "full_attention"
SIZES = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "global_head_dim": 32,
    "vocab_size": 112,
    "layer_types": [SLIDING, FULL] * 2,
}
GEMMA_4 = {"architectures": ["Gemma4ForCausalLM"], **SIZES}
GEMMA_3N = {"architectures": ["Gemma3nForCausalLM"], **SIZES, "num_kv_shared_layers": 2}


def fields(config: dict[str, Any], **changed: Any) -> dict[str, Field]:
    family, complete = settled({**config, **changed})
    family.check_settings(complete)
    return family.hyperparameters(complete, FileType.F16)


def named(name: str) -> Case:
    return next(case for case in CASES if case.name == name)


def model_of(name: str, folder: Path) -> tuple[dict[str, Field], Any]:
    source = CheckpointSource(checkpoint(named(name), folder), "f32")
    return dict(source.model_fields), shapes_of(source)


@pytest.mark.parametrize(
    "given",
    [
        {"global_head_dim": 32, "num_global_key_value_heads": 1},
        {"per_layer_config": {"1": {"head_dim": 32}, "3": {"head_dim": 32}}},
    ],
)
def test_heads_of_full_attention(given: dict[str, Any]) -> None:
    """As published, and as transformers 5 writes them; keys are not values here."""
    found = fields(GEMMA_4, **given)
    assert found["attention.key_length"] == uint32(32)
    assert found["attention.key_length_swa"] == uint32(16)
    assert found["attention.head_count_kv"] == uint32(2)


def test_key_heads_of_full_attention() -> None:
    """They differ only where keys are also the values."""
    given = {"num_global_key_value_heads": 1, "attention_k_eq_v": True}
    expected = array(ValueType.INT32, [2, 1, 2, 1])
    assert fields(GEMMA_4, **given)["attention.head_count_kv"] == expected
    own = {"head_dim": 32, "num_key_value_heads": 1}
    found = fields(GEMMA_4, per_layer_config={"1": own, "3": own})
    assert found["attention.head_count_kv"] == expected


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"1": {"head_dim": 32}},
        {"1": {"head_dim": 32}, "3": {"head_dim": 64}},
        {"0": {"head_dim": 32}, "1": {"head_dim": 32}, "3": {"head_dim": 32}},
    ],
)
def test_layers_that_differ_otherwise_are_refused(given: dict[str, Any]) -> None:
    """GGUF has a size for layers with a window, and one for the others."""
    with pytest.raises(UnsupportedModelError, match="per_layer_config"):
        fields(GEMMA_4, per_layer_config=given)


@pytest.mark.parametrize(
    "given", [1, {"head_dim": "32"}, {"head_dim": 0}, {"hidden_size": 32}, [32]]
)
def test_damaged_settings_of_layers_are_refused(given: Any) -> None:
    """Whatever is there instead of sizes of heads."""
    with pytest.raises(CheckpointError, match="per_layer_config"):
        fields(GEMMA_4, per_layer_config={"1": given, "3": given})


@pytest.mark.parametrize(
    ("config", "changed", "message"),
    [
        (GEMMA_4, {"use_bidirectional_attention": "all"}, "'all'"),
        (GEMMA_4, {"hidden_activation": "silu"}, "silu"),
        (GEMMA_4, {"rope_parameters": {FULL: {"rope_type": "linear"}}}, "linear"),
        (
            GEMMA_4,
            {"rope_parameters": {FULL: {"rope_type": "proportional", "factor": 2.0}}},
            "factor: 2.0",
        ),
        (GEMMA_3N, {"altup_num_inputs": 3}, "altup_num_inputs: 3"),
        (GEMMA_3N, {"altup_active_idx": 1}, "altup_active_idx: 1"),
        (GEMMA_3N, {"altup_correct_scale": False}, "altup_correct_scale: False"),
        (GEMMA_3N, {"final_logit_softcapping": 50.0}, "final_logit_softcapping: 50.0"),
    ],
)
def test_what_readers_do_not_do_is_refused(
    config: dict[str, Any], changed: dict[str, Any], message: str
) -> None:
    """The message has the setting."""
    with pytest.raises(UnsupportedModelError, match=message):
        fields(config, **changed)


def test_experts_without_their_switch_are_left_out() -> None:
    """As transformers does, whatever the other keys are."""
    given = {"num_experts": 6, "top_k_experts": 2, "moe_intermediate_size": 40}
    assert not any("expert" in key for key in fields(GEMMA_4, **given))
    found = fields(GEMMA_4, **given, enable_moe_block=True)
    assert found["expert_count"] == uint32(6)
    assert found["expert_feed_forward_length"] == uint32(40)


def test_sparsity_of_published_models() -> None:
    """PyTorch's numbers; layers without have none in the metadata."""
    assert deviations_of(0.95) == 1.6448535919189453
    assert deviations_of(0.5) == 0.0
    assert deviations_of(0.0) == -math.inf
    found = fields(GEMMA_3N, num_hidden_layers=12, layer_types=None)[SPARSITY].value
    assert list(found) == [1.6448535919189453] * 10 + [-math.inf] * 2


def test_files_without_sparsity_have_that_of_published_models(tmp_path: Path) -> None:
    """As llama.cpp assumes, which does not read the key."""
    metadata, shapes = model_of("gemma3n", tmp_path)
    del metadata[f"gemma3n.{SPARSITY}"]
    model: Any = load_model(metadata, "gemma3n", Outline(shapes), shapes)
    gate = np.array([[1.0, 2.0, 9.0]], np.float32)
    for layer in model.layers:
        gating = layer.parts.feed_forward.gating
        assert not gating(gate.copy(), np.ones_like(gate))[0, :2].any()


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_damaged_sparsity_is_refused(wrong: float, tmp_path: Path) -> None:
    """The message names the layer."""
    metadata, shapes = model_of("gemma3n", tmp_path)
    key = f"gemma3n.{SPARSITY}"
    metadata[key] = array(ValueType.FLOAT32, [0.0, wrong, 0.0])
    with pytest.raises(FormatError, match=rf"{SPARSITY}\[1\]"):
        check_model(metadata, "gemma3n", shapes)


@pytest.mark.parametrize("n_shared", [3, 5, 6])
def test_layers_that_share_other_keys_are_refused(
    n_shared: int, tmp_path: Path
) -> None:
    """Before them are full attention and a window, too few layers, or none at all."""
    metadata, shapes = model_of("gemma4-e2b", tmp_path)
    metadata["gemma4.attention.shared_kv_layers"] = uint32(n_shared)
    with pytest.raises(FormatError, match="shared_kv_layers"):
        check_model(metadata, "gemma4", shapes)


def test_keys_that_are_stored_and_not_used_may_be_there(tmp_path: Path) -> None:
    """In layers that share those of others; but then with the right shapes."""
    metadata, shapes = model_of("gemma4-e2b", tmp_path)
    shared = [4, 5]
    more = {
        f"blk.{layer}.{part}": shapes[f"blk.{layer - 2}.{part}"]
        for layer in shared
        for part in ("attn_k.weight", "attn_v.weight", "attn_k_norm.weight")
    }
    check_model(metadata, "gemma4", {**shapes, **more})
    for name in more:
        with pytest.raises(FormatError, match=name):
            check_model(metadata, "gemma4", {**shapes, **more, name: (7, 7)})


@pytest.mark.parametrize("tokens", [[1, 2], [], None])
def test_tokens_that_are_never_generated(tokens: Any, tmp_path: Path) -> None:
    """Of generation_config.json, before the version of quantization."""
    folder = checkpoint(named("gemma4-unified"), tmp_path)
    content = {} if tokens is None else {"suppress_tokens": tokens}
    (folder / "generation_config.json").write_text(json.dumps(content))
    found = dict(CheckpointSource(folder, "f32").model_fields)
    if not tokens:
        assert "tokenizer.ggml.suppress_tokens" not in found
        return
    assert found["tokenizer.ggml.suppress_tokens"] == array(ValueType.INT32, tokens)
    assert list(found)[-2:] == [
        "tokenizer.ggml.suppress_tokens",
        "general.quantization_version",
    ]


@pytest.mark.parametrize("tokens", ["all", [-1], [1.5], [2**31], {"a": 1}])
def test_damaged_lists_of_tokens_are_refused(tokens: Any, tmp_path: Path) -> None:
    """The message names the file."""
    folder = checkpoint(named("gemma4-unified"), tmp_path)
    content = {"suppress_tokens": tokens}
    (folder / "generation_config.json").write_text(json.dumps(content))
    with pytest.raises(FormatError, match=r"generation_config\.json"):
        _ = CheckpointSource(folder, "f32").model_fields


def test_rows_of_zeros_are_added() -> None:
    """To matrices, and to those of adapters; longer ones are kept."""
    tensor = computed(np.ones((2, 3)))
    longer = padded(tensor, 4)
    assert longer.shape == (4, 3)
    assert np.array_equal(
        values_of(longer), np.repeat([[1.0], [0.0]], 2, 0) * [[1] * 3]
    )
    assert np.array_equal(longer.pick(np.array([3, 0])), longer.rows(0, 4)[[3, 0]])
    assert padded(tensor, 1) is tensor
    pair = padded(LowRank(computed(np.ones((1, 3))), computed(np.ones((2, 1)))), 4)
    assert pair.shape == (4, 3)
