"""GLM-5.3's settings that no fixture can show."""

from __future__ import annotations

from typing import Any

import pytest

from quantkit.errors import CheckpointError, FormatError, UnsupportedModelError
from quantkit.forward.facts import Facts
from quantkit.forward.pool_indexer import pool_size
from quantkit.gguf.keys import Field, FileType, boolean, float32, uint32
from quantkit.models import settled

from .families.cases import CASES
from .families.stored import fixture

CASE = next(case for case in CASES if case.name == "glm5-next-soft")
OWN_KEYS = (
    *("linear_head_dim", "linear_num_heads", "linear_conv_kernel_dim"),
    "linear_lower_bound",
)
BOUND = "kda.gate_lower_bound"
POOL, TAIL = "attention.indexer.kpool", "attention.indexer.kpool_select_tail"


def fields(**changed: Any) -> dict[str, Field]:
    """The metadata of a config with changes; None takes a key away."""
    config = fixture(CASE)["config"]
    text = {**config["text_config"], **changed}
    text = {key: value for key, value in text.items() if value is not None}
    family, complete = settled({**config, **text, "text_config": text})
    family.check_settings(complete)
    return family.hyperparameters(complete, FileType.F16)


def test_the_class_names_the_delta_rule_s_keys_otherwise() -> None:
    """As transformers saves them, without `linear_attn_config`."""
    bounded = {"head_dim": 12, "num_heads": 4, "short_conv_kernel_size": 3}
    published = fields(linear_attn_config={**bounded, "gate_lower_bound": -2.0})
    assert fields(linear_attn_config=None, linear_lower_bound=-2.0) == published
    assert published[BOUND] == float32(-2.0)


def test_decays_are_bounded_unless_the_config_says_otherwise() -> None:
    """Published files may state no bound; the class has one then."""
    stated = {"head_dim": 12, "num_heads": 4, "short_conv_kernel_size": 3}
    of_class = dict.fromkeys(OWN_KEYS)
    assert fields(**of_class, linear_attn_config=stated)[BOUND] == float32(-5.0)
    null = {**stated, "gate_lower_bound": None}
    assert fields(**of_class, linear_attn_config=null)[BOUND] == float32(-5.0)
    soft = {**null, "safe_gate": False}
    assert BOUND not in fields(**of_class, linear_attn_config=soft)


def test_chosen_keys_are_whole_pools() -> None:
    """Of a config and of a file."""
    with pytest.raises(CheckpointError, match="multiple of index_kpool"):
        fields(index_topk=10)
    made = {"x.attention.indexer.top_k": uint32(10), f"x.{POOL}": uint32(3)}
    with pytest.raises(FormatError, match=r"indexer\.kpool is 3; expected a divisor"):
        pool_size(Facts("x", made))
    with pytest.raises(FormatError, match=r"indexer\.kpool is 1"):
        pool_size(Facts("x", made | {f"x.{POOL}": uint32(1)}))
    assert pool_size(Facts("x", made | {f"x.{POOL}": uint32(5)})) == 5


def test_queries_without_keys_are_refused() -> None:
    """The first queries have no whole pool before them."""
    made = {
        "x.attention.indexer.top_k": uint32(9),
        f"x.{POOL}": uint32(3),
        f"x.{TAIL}": boolean(False),
    }
    with pytest.raises(UnsupportedModelError, match="would see no key"):
        pool_size(Facts("x", made))


def test_a_first_layer_without_an_indexer_is_refused() -> None:
    """There is none whose keys it could share."""
    with pytest.raises(UnsupportedModelError, match="'full' for the first"):
        fields(indexer_types=["shared", "full", "full"])
    kinds = fields(
        layer_types=["linear_attention", "full_attention", "indexed_attention"],
        indexer_types=["shared", "full", "full"],
    )
    assert kinds["attention.head_count_kv"].value == [0, 1, 1]


def test_other_models_have_heads_of_some_size() -> None:
    """0 stands for a size that is not read in this class only."""
    config = {
        "architectures": ["LlamaForCausalLM"],
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "head_dim": 0,
    }
    with pytest.raises(CheckpointError, match="head_dim is 0"):
        settled(config)
