"""Model families: metadata, tensor names and order, weight transforms, logits."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import load_file

from quantkit.errors import CheckpointError, FormatError, UnsupportedModelError
from quantkit.evaluate.weights import MemoryWeights, TypedMatrix
from quantkit.gguf.keys import Field, ValueType, uint32
from quantkit.models import FAMILIES, family_for_config, family_named
from quantkit.models.base import Family
from quantkit.models.rotary import llama3_factors
from quantkit.types import QuantType

from .conftest import FIXTURES

MODELS = sorted(path.name for path in (FIXTURES / "families").iterdir())

# Factors of Llama 3.1 for the pairs between, as llama.cpp b11434 writes them.
BETWEEN = [
    1.2074838876724243,
    1.5534145832061768,
    2.026313066482544,
    2.6945300102233887,
    3.684253215789795,
    5.257327079772949,
]

Tensors = Mapping[str, NDArray[Any]]


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


def gguf_weights(
    family: Family, config: dict[str, Any], ckpt: Tensors
) -> MemoryWeights:
    """The checkpoint's tensors as the family maps them, all F32."""
    tensors = {}
    shapes = {name: tensor.shape for name, tensor in ckpt.items()}
    for mapped in family.tensor_maps(config, shapes):
        values = ckpt[mapped.sources[0]] if mapped.sources else mapped.values
        values = np.asarray(values, np.float32)
        if mapped.rows is not None:
            values = values[mapped.rows]
        rows = np.atleast_2d(values)
        tensors[mapped.name] = TypedMatrix(
            rows.view(np.uint8), QuantType.F32, rows.shape[1]
        )
    return MemoryWeights(tensors)


def logits_of(
    config: dict[str, Any], ckpt: Tensors, tokens: NDArray[Any]
) -> NDArray[np.float32]:
    family = family_for_config(config)
    weights = gguf_weights(family, config, ckpt)
    model = family.load(family.hyperparameters(config), weights)
    return model.head.apply(model.hidden(tokens))


@pytest.mark.parametrize("name", MODELS)
def test_logits_are_those_of_transformers(name: str) -> None:
    """Config to metadata to angles, names, permutations and forward pass, at once."""
    folder = FIXTURES / "families" / name
    config = json.loads((folder / "config.json").read_text())
    expected = load_file(folder / "expected.safetensors")
    ckpt = load_file(folder / "model.safetensors")
    logits = logits_of(config, ckpt, expected["tokens"])
    assert np.abs(logits - expected["logits"]).max() < 2e-5
    assert np.ptp(expected["logits"]) > 5


def test_llama_metadata_is_that_of_llama_cpp() -> None:
    """Keys, order and types of convert_hf_to_gguf.py for a plain Llama."""
    fields = family_named("llama").hyperparameters(tiny_config())
    assert plain(fields) == [
        ("llama.block_count", "UINT32", 2),
        ("llama.context_length", "UINT32", 1024),
        ("llama.embedding_length", "UINT32", 64),
        ("llama.feed_forward_length", "UINT32", 96),
        ("llama.attention.head_count", "UINT32", 4),
        ("llama.attention.head_count_kv", "UINT32", 2),
        ("llama.rope.freq_base", "FLOAT32", 10000.0),
        ("llama.attention.layer_norm_rms_epsilon", "FLOAT32", 1e-6),
        ("llama.attention.key_length", "UINT32", 16),
        ("llama.attention.value_length", "UINT32", 16),
        ("llama.vocab_size", "UINT32", 4096),
        ("llama.rope.dimension_count", "UINT32", 16),
    ]


def test_qwen_metadata_is_that_of_llama_cpp() -> None:
    """Qwen 2 has no head size to tell; Qwen 3 has 128 where the config is silent."""
    config = tiny_config(architectures=["Qwen2ForCausalLM"])
    qwen2 = family_for_config(config).hyperparameters(config)
    assert [key for key in qwen2 if "length" in key or "vocab" in key] == [
        "qwen2.context_length",
        "qwen2.embedding_length",
        "qwen2.feed_forward_length",
    ]
    qwen3 = family_named("qwen3").hyperparameters(config)
    assert list(qwen3)[-2:] == [
        "qwen3.attention.key_length",
        "qwen3.attention.value_length",
    ]
    assert qwen3["qwen3.attention.key_length"] == uint32(128)


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
    found = llama.hyperparameters(old)
    assert plain(found) == plain(llama.hyperparameters(new))
    prefix = "llama.rope.scaling."
    scaling = {
        key.removeprefix(prefix): field.value
        for key, field in found.items()
        if key.startswith(prefix)
    }
    assert scaling == fields
    assert list(found)[6 + len(fields)] == "llama.rope.freq_base"
    assert found["llama.rope.freq_base"].value == 5e5


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
    maps = family_named("llama").tensor_maps(tiny_config(**changes), shapes)
    return [mapped.name for mapped in maps]


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


def test_only_llama_moves_rows() -> None:
    """Queries and keys, weights and biases; Qwen rotates by halves as it is."""
    bias = {"model.layers.0.self_attn.k_proj.bias": (32,)}
    shapes = {**checkpoint_shapes(), **bias}
    config = tiny_config()
    moved = {
        mapped.name: mapped.rows
        for mapped in family_named("llama").tensor_maps(config, shapes)
        if mapped.rows is not None
    }
    assert {name.split(".", 2)[2] for name in moved} == {
        *("attn_q.weight", "attn_k.weight", "attn_k.bias")
    }
    head = np.stack([np.arange(8), np.arange(8, 16)], axis=1).ravel()
    keys = np.concatenate([head, head + 16])
    assert np.array_equal(moved["blk.0.attn_k.weight"], keys)
    assert np.array_equal(moved["blk.0.attn_k.bias"], keys)
    qwen = family_named("qwen2").tensor_maps(config, shapes)
    assert all(mapped.rows is None for mapped in qwen)


def test_heads_that_do_not_fit_are_refused() -> None:
    """The config of another model."""
    with pytest.raises(CheckpointError, match="64 rows, which are not 5 heads"):
        names(checkpoint_shapes(), num_attention_heads=5)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"hidden_size": None}, CheckpointError, "lacks 'hidden_size'"),
        ({"hidden_act": "gelu"}, UnsupportedModelError, "hidden_act 'gelu'"),
        (
            {"rope_parameters": {"rope_type": "longrope"}},
            UnsupportedModelError,
            "rope scaling 'longrope'; known: default, linear",
        ),
        (
            {"rope_parameters": {"rope_type": "yarn", "factor": 2.0}},
            CheckpointError,
            "'original_max_position_embeddings'",
        ),
    ],
)
def test_unusable_configs(
    changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    """The message names the key."""
    with pytest.raises(error, match=message):
        family_named("llama").hyperparameters(tiny_config(**changes))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"block_count": None}, FormatError, r"lacks llama\.block_count"),
        ({"block_count": uint32(3)}, FormatError, r"'blk\.2\.attn_norm\.weight'"),
        ({"expert_count": uint32(8)}, UnsupportedModelError, "mixture of experts"),
        (
            {"attention.head_count": Field(ValueType.ARRAY, [4, 2], ValueType.INT32)},
            UnsupportedModelError,
            "differs from layer to layer",
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
    ckpt = {k: np.zeros(v, np.float32) for k, v in checkpoint_shapes().items()}
    changed = {f"llama.{key}": field for key, field in changes.items()}
    metadata = {**llama.hyperparameters(config), **changed}
    with pytest.raises(error, match=message):
        llama.load(
            {key: field for key, field in metadata.items() if field is not None},
            gguf_weights(llama, config, ckpt),
        )


def test_every_class_and_name_finds_its_family() -> None:
    """By the config's class, and by the GGUF name."""
    for family in FAMILIES:
        assert family_named(family.name) is family
        for name in family.hf_classes:
            assert family_for_config({"architectures": [name]}) is family


def test_unknown_models_list_the_known() -> None:
    """By class and by GGUF name; a config without a class too."""
    with pytest.raises(UnsupportedModelError, match=r"Phi3.*known: LlamaForCausalLM"):
        family_for_config({"architectures": ["Phi3ForCausalLM"]})
    with pytest.raises(UnsupportedModelError, match=r"\(none\)"):
        family_for_config({})
    with pytest.raises(UnsupportedModelError, match=r"'gemma'.*llama, qwen2, qwen3"):
        family_named("gemma")


@pytest.mark.interop
@pytest.mark.parametrize("name", MODELS)
def test_logits_with_installed_transformers(name: str) -> None:
    """The fixtures' configs with new random weights, over a longer text."""
    torch = pytest.importorskip("torch", reason="needs torch")
    transformers = pytest.importorskip("transformers", reason="needs transformers")
    config = transformers.AutoConfig.from_pretrained(FIXTURES / "families" / name)
    model = transformers.AutoModelForCausalLM.from_config(config).float()
    tokens = np.random.default_rng(0).integers(0, config.vocab_size, 200)
    with torch.no_grad():
        expected = model(torch.tensor(tokens)[None]).logits[0].numpy()
    ckpt = {key: value.numpy() for key, value in model.state_dict().items()}
    logits = logits_of(
        {**config.to_dict(), "architectures": [type(model).__name__]}, ckpt, tokens
    )
    assert np.abs(logits - expected).max() < 1e-4


@pytest.mark.interop
def test_smollm2_is_as_llama_cpp_converts_it() -> None:
    """Metadata and tensor order of a real checkpoint."""
    folder, converted = (
        os.environ.get(key) for key in ("QUANTKIT_SMOLLM2", "QUANTKIT_SMOLLM2_F16")
    )
    if not folder or not converted:
        pytest.skip("set QUANTKIT_SMOLLM2 and QUANTKIT_SMOLLM2_F16 to run this")
    gguf = pytest.importorskip("gguf", reason="needs the gguf package")
    config = json.loads((Path(folder) / "config.json").read_text())
    with safe_open(Path(folder) / "model.safetensors", "numpy") as ckpt:
        shapes = {
            name: tuple(ckpt.get_slice(name).get_shape())
            for name in sorted(ckpt.keys())
        }
    reader = gguf.GGUFReader(converted)
    theirs = {
        key: (field.types[0].name, field.contents())
        for key, field in reader.fields.items()
        if key.startswith("llama.")
    }
    llama = family_for_config(config)
    ours = {
        key: (kind, np.float32(value) if kind == "FLOAT32" else value)
        for key, kind, value in plain(llama.hyperparameters(config))
    }
    assert list(ours.items()) == list(theirs.items())
    maps = llama.tensor_maps(config, shapes)
    assert [m.name for m in maps] == [tensor.name for tensor in reader.tensors]
