"""What families share: configs of every style, tensor names, what they refuse."""

from __future__ import annotations

import json
import logging
import math
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantkit.checkpoint.lazy import LazyTensor, computed
from quantkit.errors import CheckpointError, FormatError, UnsupportedModelError
from quantkit.gguf.keys import Field, ValueType, uint32
from quantkit.inference.weights import MemoryWeights, TypedMatrix
from quantkit.models import (
    all_families,
    family_for_config,
    family_named,
    load_model,
    settled,
)
from quantkit.models.family import Family
from quantkit.models.listing import LISTING
from quantkit.models.rope_config import llama3_factors
from quantkit.sources.checkpoint import CheckpointSource

from .families.cases import CASES
from .families.make_listing import listing
from .families.stored import checkpoint

# Factors of Llama 3.1 for the pairs between, as llama.cpp b11434 writes them.
BETWEEN = [
    1.2074838876724243,
    1.5534145832061768,
    2.026313066482544,
    2.6945300102233887,
    3.684253215789795,
    5.257327079772949,
]


def tiny_config(**changes: Any) -> dict[str, Any]:
    """A small Llama's config; None removes a key."""
    config: dict[str, Any] = {
        "architectures": ["LlamaForCausalLM"],
        "hidden_act": "silu",
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 4096,
        "max_position_embeddings": 1024,
        "rms_norm_eps": 1e-6,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
        "tie_word_embeddings": True,
    }
    return {k: v for k, v in {**config, **changes}.items() if v is not None}


def plain(fields: Mapping[str, Field]) -> list[tuple[str, str, Any]]:
    return [(key, field.type.name, field.value) for key, field in fields.items()]


def tensors_of(
    family: Family, config: dict[str, Any], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, LazyTensor]:
    """The GGUF tensors of a checkpoint of zeros with these shapes."""
    stored = {name: computed(np.zeros(shape)) for name, shape in shapes.items()}
    return dict(family.tensors(family.complete(config), stored))


def fields_of(family: Family, config: dict[str, Any]) -> dict[str, Field]:
    """The family's metadata, with its prefix."""
    fields = family.hyperparameters(family.complete(config), 1)
    return {f"{family.name}.{key}": field for key, field in fields.items()}


def checked_fields(config: dict[str, Any]) -> dict[str, Field]:
    """The metadata of a config that is checked as when a checkpoint is opened."""
    family, complete = settled(config)
    family.check_settings(complete)
    return family.hyperparameters(complete, 1)


YARN = {"factor": 4.0, "original_max_position_embeddings": 256, "beta_fast": 30.0}


@pytest.mark.parametrize(
    ("settings", "fields"),
    [
        ({"factor": 4.0, "type": "linear"}, {"type": "linear", "factor": 4.0}),
        (
            {**YARN, "type": "yarn"},
            {
                "type": "yarn",
                "factor": 4.0,
                "original_context_length": 256,
                "yarn_beta_fast": 30.0,
            },
        ),
        ({"rope_type": "llama3", "factor": 8.0}, {}),
    ],
)
def test_rope_scaling_of_both_config_styles(
    settings: dict[str, Any], fields: dict[str, Any]
) -> None:
    """`rope_scaling` with `type` and `rope_parameters` give the same metadata."""
    llama = family_named("llama")
    old = tiny_config(rope_parameters=None, rope_scaling=settings, rope_theta=5e5)
    kind = settings.get("type") or settings["rope_type"]
    new = tiny_config(
        rope_parameters={**settings, "rope_type": kind, "rope_theta": 5e5}
    )
    found = fields_of(llama, old)
    assert plain(found) == plain(fields_of(llama, new))
    prefix = "llama.rope.scaling."
    scaling = {
        key.removeprefix(prefix): field.value
        for key, field in found.items()
        if key.startswith(prefix)
    }
    assert scaling == fields
    assert list(found)[6 + len(fields)] == "llama.rope.freq_base"
    assert found["llama.rope.freq_base"].value == 5e5


@pytest.mark.parametrize(
    ("hf_class", "is_told"),
    [("LlamaForCausalLM", True), ("Ministral3ForCausalLM", False)],
)
def test_ends_of_yarn_that_readers_ignore(
    hf_class: str, is_told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Of Mistral 3, llama.cpp reads them."""
    scaling = {**YARN, "rope_type": "yarn", "rope_theta": 1e6}
    config = tiny_config(architectures=[hf_class], rope_parameters=scaling)
    with caplog.at_level(logging.WARNING):
        checked_fields(config)
    assert ("llama.cpp ignores them" in caplog.text) == is_told


def test_llama_3_factors() -> None:
    """Those of Llama 3.1: kept up to a wavelength of 2048, an eighth from 8192 on."""
    scaling = {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    config = tiny_config(rope_parameters={**scaling, "rope_theta": 500000.0})
    factors = llama3_factors(config, 128)
    assert factors is not None
    assert factors.dtype == np.float32
    assert factors.shape == (64,)
    wavelengths = 2 * np.pi * 500000.0 ** (np.arange(64) / 64)
    assert (factors[wavelengths < 2048] == 1).all()
    assert (factors[wavelengths > 8192] == 8).all()
    between = factors[(wavelengths > 2048) & (wavelengths < 8192)]
    assert between.tolist() == BETWEEN
    assert llama3_factors(tiny_config(), 128) is None


def checkpoint_shapes(n_layers: int = 2) -> dict[str, tuple[int, ...]]:
    parts = {
        "input_layernorm": (64,),
        "mlp.down_proj": (64, 96),
        "mlp.gate_proj": (96, 64),
        "mlp.up_proj": (96, 64),
        "post_attention_layernorm": (64,),
        "self_attn.k_proj": (32, 64),
        "self_attn.o_proj": (64, 64),
        "self_attn.q_proj": (64, 64),
        "self_attn.v_proj": (32, 64),
    }
    layers = {
        f"model.layers.{layer}.{part}.weight": shape
        for layer in range(n_layers)
        for part, shape in parts.items()
    }
    norm = {"model.norm.weight": (64,)}
    return {"model.embed_tokens.weight": (4096, 64), **layers, **norm}


def names(shapes: Mapping[str, tuple[int, ...]], **changes: Any) -> list[str]:
    return list(tensors_of(family_named("llama"), tiny_config(**changes), shapes))


def test_tensors_keep_the_order_of_the_checkpoint() -> None:
    """As llama.cpp writes them, with `rope_freqs` before all others."""
    expected = [
        "token_embd.weight",
        *(
            f"blk.{layer}.{part}.weight"
            for layer in range(2)
            for part in (
                *("attn_norm", "ffn_down", "ffn_gate", "ffn_up", "ffn_norm"),
                *("attn_k", "attn_output", "attn_q", "attn_v"),
            )
        ),
        "output_norm.weight",
    ]
    assert names(checkpoint_shapes()) == expected
    llama3 = {"rope_type": "llama3", "factor": 8.0}
    scaled = names(checkpoint_shapes(), rope_parameters=llama3)
    assert scaled == ["rope_freqs.weight", *expected]


def test_a_head_is_missing_only_if_tied() -> None:
    """A tied checkpoint may store it again; an untied one must have it."""
    shapes = {"lm_head.weight": (4096, 64), **checkpoint_shapes()}
    assert "output.weight" in names(shapes)
    assert names(shapes, tie_word_embeddings=False)[0] == "output.weight"
    with pytest.raises(CheckpointError, match=r"no 'lm_head\.weight'"):
        names(checkpoint_shapes(), tie_word_embeddings=False)


def test_stored_frequencies_are_ignored() -> None:
    """Old checkpoints hold what follows from the config."""
    extra = {"model.layers.0.self_attn.rotary_emb.inv_freq": (8,)}
    assert names({**checkpoint_shapes(), **extra}) == names(checkpoint_shapes())


@pytest.mark.parametrize(
    "stranger",
    [
        "model.layers.2.mlp.up_proj.weight",
        "model.layers.0.self_attn.q_proj.qweight",
        "model.layers.0.mlp.experts.0.up_proj.weight",
        "visual.patch_embed.weight",
    ],
)
def test_unknown_tensors_are_named(stranger: str) -> None:
    """Nothing is left out in silence."""
    with pytest.raises(UnsupportedModelError, match=stranger.replace(".", r"\.")):
        names({**checkpoint_shapes(), stranger: (96, 64)})


def test_heads_that_do_not_fit_are_refused() -> None:
    """The config of another model."""
    with pytest.raises(CheckpointError, match="64 rows, which do not form 5 heads"):
        names(checkpoint_shapes(), num_attention_heads=5)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"hidden_size": None}, CheckpointError, "lacks 'hidden_size'"),
        ({"hidden_act": "gelu"}, UnsupportedModelError, "hidden_act: 'gelu'"),
        (
            {"rope_parameters": {"rope_type": "spiral"}},
            UnsupportedModelError,
            "rope scaling 'spiral'; supported: default, linear",
        ),
        (
            {"rope_parameters": {"rope_type": "yarn"}},
            CheckpointError,
            "'yarn' but lacks its 'factor'",
        ),
    ],
)
def test_unusable_configs(
    changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    """The message names the key."""
    with pytest.raises(error, match=message):
        checked_fields(tiny_config(**changes))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"block_count": None}, FormatError, r"lacks llama\.block_count"),
        ({"block_count": uint32(3)}, FormatError, r"'blk\.2\.attn_q\.weight'"),
        ({"expert_count": uint32(8)}, FormatError, r"lacks llama\.expert_used_count"),
        (
            {"attention.head_count": Field(ValueType.ARRAY, [4], ValueType.INT32)},
            FormatError,
            "has 1 values for 2 layers",
        ),
        (
            {"rope.scaling.type": Field(ValueType.STRING, "longrope")},
            UnsupportedModelError,
            "rope scaling 'longrope'",
        ),
    ],
)
def test_unusable_metadata(
    changes: dict[str, Field | None], error: type[Exception], message: str
) -> None:
    """GGUF files that quantkit cannot run say why."""
    llama, config = family_named("llama"), tiny_config()
    tensors = tensors_of(llama, config, checkpoint_shapes())
    weights = MemoryWeights(
        {
            name: TypedMatrix(
                tensor.rows(0, math.prod(tensor.shape[:-1])),
                tensor.type,
                tensor.shape[-1],
            )
            for name, tensor in tensors.items()
        }
    )
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    changed = {f"llama.{key}": field for key, field in changes.items()}
    metadata = {**fields_of(llama, config), **changed}
    known = {key: field for key, field in metadata.items() if field is not None}
    with pytest.raises(error, match=message):
        load_model(known, "llama", weights, shapes)


def test_models_with_rotated_weights_are_refused() -> None:
    """Llama.cpp itself would print garbage: Q2_0 hides that they are rotated."""
    metadata = {"prism.hadamard.block_size": uint32(128)}
    with pytest.raises(UnsupportedModelError, match=r"Hadamard.*PrismML"):
        load_model(metadata, "llama", MemoryWeights({}), {})


def test_every_class_and_name_finds_its_family() -> None:
    """By the config's class, and by the GGUF name."""
    classes = [name for family in all_families() for name in family.hf_classes]
    for family in all_families():
        assert family_named(family.name).name == family.name
        for name in family.hf_classes:
            found = family_for_config({"architectures": [name]})
            assert found is family or classes.count(name) > 1
            assert name in found.hf_classes


@pytest.mark.parametrize(
    ("name", "config", "arch"),
    [
        ("NemotronHForCausalLM", {}, "nemotron_h"),
        ("NemotronHForCausalLM", {"num_experts_per_tok": 2}, "nemotron_h_moe"),
        ("GraniteMoeHybridForCausalLM", {"layer_types": ["mamba"]}, "granitehybrid"),
        ("GraniteMoeHybridForCausalLM", {"layer_types": ["attention"]}, "granitemoe"),
        (
            "GraniteMoeHybridForCausalLM",
            {"layer_types": ["attention"], "num_experts_per_tok": 0},
            "granite",
        ),
    ],
)
def test_classes_of_several_families(
    name: str, config: dict[str, Any], arch: str
) -> None:
    """The config tells which, and suits only one."""
    families = [family for family in all_families() if name in family.hf_classes]
    assert [family.name for family in families if family.suits(config)] == [arch]
    assert family_for_config({"architectures": [name], **config}).name == arch


def test_unknown_models_name_the_nearest() -> None:
    """By class and by GGUF name; what llama.cpp knows of a class is said."""
    with pytest.raises(UnsupportedModelError, match=r"Lama.*nearest: LlamaForCausalLM"):
        family_for_config({"architectures": ["LamaForCausalLM"]})
    with pytest.raises(UnsupportedModelError, match=r"\(none\).*does not know; `tens"):
        family_for_config({})
    with pytest.raises(
        UnsupportedModelError, match=r"'granite'.*text_config does not tell"
    ):
        family_for_config({"architectures": ["GraniteSpeechForConditionalGeneration"]})
    with pytest.raises(UnsupportedModelError, match=r"'lama'.*did you mean llama"):
        family_named("lama")


def test_the_listing_is_that_of_the_families() -> None:
    """`python -m tests.families.make_listing` writes it."""
    assert listing() == list(LISTING)


def test_a_model_imports_its_own_families_only() -> None:
    """A command does not wait for those of others."""
    code = (
        "import sys; from quantkit.models import family_named; family_named('llama');"
        "print(*(m for m in sys.modules if m.startswith('quantkit.models.')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "quantkit.models.llama" in done.stdout
    assert "quantkit.models.gemma" not in done.stdout


@pytest.mark.parametrize(
    "changed", [{"linear_num_key_heads": 1}, {"linear_num_key_heads": 2**30}]
)
def test_heads_that_the_weights_do_not_have_are_refused(
    changed: dict[str, Any], tmp_path: Path
) -> None:
    """Rows would be lost, or memory taken for rows that are not there."""
    case = next(case for case in CASES if case.name == "qwen3.5")
    folder = checkpoint(case, tmp_path)
    config = json.loads((folder / "config.json").read_text())
    config.get("text_config", config).update(changed)
    config.get("text_config", config)["linear_num_value_heads"] = (
        6 if changed["linear_num_key_heads"] == 1 else 2**30
    )
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="linear_num_key_heads"):
        CheckpointSource(folder, "f32")
