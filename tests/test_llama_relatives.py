"""What the cases of Llama's relatives cannot show: configs that are refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from quantkit.checkpoint.lazy import LazyTensor, computed, values_of
from quantkit.errors import CheckpointError, UnsupportedModelError
from quantkit.gguf.keys import Field
from quantkit.models import family_for_config, settled

SIZES = {
    "hidden_size": 8,
    "intermediate_size": 12,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 64,
    "vocab_size": 5,
}


def fields(hf_class: str, **settings: Any) -> Mapping[str, Field]:
    config = {"architectures": [hf_class], **SIZES, **settings}
    family, complete = settled(config)
    family.check_settings(complete)
    return family.hyperparameters(complete, 0)


def converted(
    hf_class: str, name: str, array: NDArray[Any], **settings: Any
) -> dict[str, LazyTensor]:
    config = {"architectures": [hf_class], **SIZES, **settings}
    family = family_for_config(config)
    return dict(family.converted(name, computed(array), family.complete(config)))


@pytest.mark.parametrize(
    ("hf_class", "settings", "message"),
    [
        ("Qwen2MoeForCausalLM", {"norm_topk_prob": True}, "norm_topk_prob: True"),
        ("Qwen3MoeForCausalLM", {}, "norm_topk_prob: False"),
        ("SmolLM3ForCausalLM", {"no_rope_layers": [1, 0, 1, 0]}, r"\[1, 0, 1, 0\]"),
        ("SmolLM3ForCausalLM", {"no_rope_layer_interval": 2}, r"\[1, 0, 1, 0\]"),
        ("SmolLM3ForCausalLM", {"use_sliding_window": True}, "use_sliding_window"),
        (
            "HunYuanDenseV1ForCausalLM",
            {"rope_scaling": {"type": "dynamic", "alpha": 1000.0}},
            "max_position_embeddings 64",
        ),
        ("GraniteForCausalLM", {"hidden_act": "gelu"}, "hidden_act: 'gelu'"),
    ],
)
def test_configs_that_readers_run_otherwise(
    hf_class: str, settings: dict[str, Any], message: str
) -> None:
    """GGUF has no key for it, so that the file would give other logits."""
    with pytest.raises(UnsupportedModelError, match=message):
        fields(hf_class, **settings)


@pytest.mark.parametrize(
    ("hf_class", "name", "rows", "message"),
    [
        ("InternLM2ForCausalLM", "attention.wqkv.weight", 15, "do not form 4 heads"),
        ("BaichuanForCausalLM", "self_attn.W_pack.weight", 23, "a multiple of 3"),
        ("Ernie4_5ForCausalLM", "self_attn.qkv_proj.weight", 15, r"8 \+ 4 \+ 4"),
    ],
)
def test_fused_attention_that_does_not_fit(
    hf_class: str, name: str, rows: int, message: str
) -> None:
    """The rows are not those of the heads that the config tells."""
    array = np.zeros((rows, 8))
    with pytest.raises(CheckpointError, match=message):
        converted(hf_class, f"model.layers.0.{name}", array, head_dim=4)


def test_long_rope_with_too_few_factors() -> None:
    """One for each pair of components, or none."""
    config = {
        "architectures": ["MiniCPMForCausalLM"],
        **SIZES,
        "rope_scaling": {
            "rope_type": "longrope",
            "long_factor": [1.0],
            "short_factor": [],
        },
    }
    family = family_for_config(config)
    message = "1 numbers in 'long_factor' .*; expected 2"
    with pytest.raises(CheckpointError, match=message):
        list(family.computed_tensors(family.complete(config)))


@pytest.mark.parametrize("pattern", ["LLG", 3])
def test_a_pattern_of_windows(pattern: str | int) -> None:
    """Old configs of EXAONE 4 spell it, or tell its period."""
    found = fields("Exaone4ForCausalLM", sliding_window_pattern=pattern)
    windows = found["attention.sliding_window_pattern"].value
    assert list(windows) == [True, True, False, True]


def test_the_head_of_baichuan_2_is_divided_by_its_rows_lengths() -> None:
    """Which Baichuan 2 does as it runs, and GGUF readers do not."""
    head = np.array([[3.0, 4.0], [0.0, 0.0], [0.5, 0.0]])
    name = "lm_head.weight"
    second = converted("BaichuanForCausalLM", name, head, vocab_size=125696)
    units = values_of(second["output.weight"])
    assert np.array_equal(units, np.array([[0.6, 0.8], [0, 0], [1, 0]], np.float32))
    first = converted("BaichuanForCausalLM", name, head, vocab_size=64000)
    assert np.array_equal(values_of(first["output.weight"]), head)


def test_families_are_those_of_the_classes() -> None:
    """Aliases of a class are the same family."""
    for old, new in (
        ("LLaMAForCausalLM", "LlamaForCausalLM"),
        ("BaiChuanForCausalLM", "BaichuanForCausalLM"),
        ("Ernie4_5_ForCausalLM", "Ernie4_5ForCausalLM"),
    ):
        families = [family_for_config({"architectures": [x]}) for x in (old, new)]
        assert families[0] is families[1]
