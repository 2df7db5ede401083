"""LoRA adapters: settings of PEFT that change their effect, and those with none."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from quantkit.checkpoint.peft_settings import HARMLESS, READ, REFUSED
from quantkit.errors import (
    CheckpointError,
    FormatError,
    QuantkitError,
    ShapeError,
    UnsupportedModelError,
)
from quantkit.gguf import GGUFFile
from quantkit.tasks.convert_lora import convert_lora

from .test_lora import RANK, Arrays, adapter, base, converted

LAYER = "base_model.model.model.layers.{}.self_attn.{}"
V0, V1 = LAYER.format(0, "v_proj"), LAYER.format(1, "v_proj")


def pair(name: str, rows: int, columns: int, rank: int = RANK) -> Arrays:
    """Both factors of a product."""
    rng = np.random.default_rng(len(name) + rank)
    return {
        f"{name}.lora_A.weight": rng.standard_normal((rank, columns), np.float32),
        f"{name}.lora_B.weight": rng.standard_normal((rows, rank), np.float32),
    }


def effect(file: Path, name: str) -> NDArray[np.float64]:
    """What GGUF readers add to a weight."""
    with GGUFFile(file) as gguf:
        a, b = (
            converted(gguf, f"{name}.lora_{part}").astype(np.float64) for part in "ab"
        )
        alpha = gguf.metadata["adapter.lora.alpha"].value
    whole: NDArray[np.float64] = b @ a * (alpha / len(a))
    return whole


def made(
    tmp_path: Path, arrays: Arrays, /, *, case: Any = "llama", **settings: Any
) -> Path:
    """The GGUF file of an adapter with these settings."""
    model, _ = base(tmp_path / "base", case)
    out = tmp_path / "out.gguf"
    convert_lora(adapter(tmp_path / "adapter", arrays, **settings), model, out)
    return out


@pytest.mark.parametrize(
    ("settings", "scales", "alpha"),
    [
        ({}, (4, 4), 16),
        ({"use_rslora": True}, (8, 8), 32),
        ({"alpha_pattern": {"v_proj": 32}}, (8, 8), 32),
        ({"alpha_pattern": {r"layers\.1\..*": 48}}, (4, 12), 16),
        ({"alpha_pattern": {"1.self_attn.v_proj": 0}}, (4, 0), 16),
        ({"alpha_pattern": {"roj": 32}}, (4, 4), 16),  # whole parts of a name only
        ({"alpha_pattern": {"^model.*0.*v_proj": 3, "v_proj": 5}}, (0.75, 1.25), 3),
        ({"r": 9, "rank_pattern": {"v_proj": RANK}}, (4, 4), 16),
        ({"lora_alpha": -2.5}, (-0.625, -0.625), -2.5),
    ],
    ids=str,
)
def test_scale(
    settings: dict[str, Any], scales: tuple[float, float], alpha: float, tmp_path: Path
) -> None:
    """Readers multiply by alpha / rank; what differs by module is part of lora_b."""
    arrays = pair(V0, 64, 128) | pair(V1, 64, 128)
    out = made(tmp_path, arrays, **settings)
    with GGUFFile(out) as file:
        assert file.metadata["adapter.lora.alpha"].value == alpha
        for layer, (name, scale) in enumerate(zip((V0, V1), scales, strict=True)):
            a, b = (arrays[f"{name}.lora_{part}.weight"] for part in "AB")
            at = f"blk.{layer}.attn_v.weight.lora_"
            assert np.array_equal(converted(file, f"{at}a"), a)
            rest = np.float64(scale) / (alpha / RANK)
            assert np.array_equal(converted(file, f"{at}b"), np.float32(b * rest))


def test_ranks_differ(tmp_path: Path) -> None:
    """Rank-stabilized: the scale is alpha / sqrt(rank) of each module."""
    arrays = pair(V0, 64, 128, 2) | pair(V1, 64, 128, 8)
    settings: dict[str, Any] = {
        "r": 2,
        "rank_pattern": {"layers.1.self_attn.v_proj": 8},
    }
    out = made(tmp_path, arrays, use_rslora=True, **settings)
    for layer, (name, rank) in enumerate(((V0, 2), (V1, 8))):
        a, b = (arrays[f"{name}.lora_{part}.weight"] for part in "AB")
        wanted = b.astype(np.float64) @ a.astype(np.float64) * 16 / math.sqrt(rank)
        found = effect(out, f"blk.{layer}.attn_v.weight")
        assert np.allclose(found, wanted, rtol=1e-6, atol=1e-5)


def test_conv1d(tmp_path: Path) -> None:
    """PEFT's factors of GPT-2's transposed layers are those of other layers."""
    _, shapes = base(tmp_path / "known", "gpt2")
    columns, rows = shapes["transformer.h.0.attn.c_attn.weight"]
    name = "base_model.model.transformer.h.0.attn.c_attn"
    arrays = pair(name, rows, columns)
    out = made(tmp_path, arrays, case="gpt2", fan_in_fan_out=True)
    with GGUFFile(out) as file:
        a = converted(file, "blk.0.attn_qkv.weight.lora_a")
        b = converted(file, "blk.0.attn_qkv.weight.lora_b")
    assert np.array_equal(a, arrays[f"{name}.lora_A.weight"])
    assert np.array_equal(b, arrays[f"{name}.lora_B.weight"])


@pytest.mark.parametrize(
    "at", ["model.language_model.layers", "language_model.model.layers"]
)
def test_text_model_of_a_multimodal_base(at: str, tmp_path: Path) -> None:
    arrays = pair(f"base_model.model.{at}.0.self_attn.v_proj", 32, 48)
    model = tmp_path / "base"
    model.mkdir()
    (model / "config.json").write_text(
        '{"architectures": ["Gemma3ForConditionalGeneration"], "text_config": '
        '{"num_hidden_layers": 2, "hidden_size": 48}}'
    )
    out = tmp_path / "out.gguf"
    convert_lora(adapter(tmp_path / "adapter", arrays), model, out)
    with GGUFFile(out) as file:
        assert list(file.tensors) == [f"blk.0.attn_v.weight.lora_{x}" for x in "ab"]


@pytest.mark.parametrize("key", [*sorted(REFUSED), "peft_type", "init_lora_weights"])
def test_settings_without_a_place_in_gguf(key: str, tmp_path: Path) -> None:
    values: dict[str, Any] = {"peft_type": "IA3", "init_lora_weights": "pissa_niter_4"}
    with pytest.raises(UnsupportedModelError, match=f"adapter_config.json has {key}: "):
        made(tmp_path, pair(V0, 64, 128), **{key: values.get(key, {"any": 1})})
    assert not list(tmp_path.glob("*.gguf"))


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"lora_alpha": 0}, UnsupportedModelError, "has no effect"),
        ({"lora_alpha": "16"}, FormatError, "lora_alpha is '16'; expected a finite"),
        ({"lora_alpha": 1e39}, FormatError, "lora_alpha is 1e"),
        ({"lora_alpha": None}, FormatError, "lora_alpha is None"),
        ({"r": 0}, FormatError, "r is 0; expected an integer from 1"),
        ({"r": 5}, CheckpointError, "the rank 5, but its tensors have 4"),
        ({"rank_pattern": {"v_proj": [1]}}, FormatError, "rank_pattern is "),
        ({"alpha_pattern": {"(": 1}}, FormatError, "is not a regular expression"),
        ({"alpha_pattern": {"((.*)*)*x": 1}}, QuantkitError, "1,000,000 ways"),
        ({"use_rslora": "false"}, FormatError, "use_rslora is 'false'"),
        ({"alora_invocation_tokens": [-1]}, FormatError, "alora_invocation_tokens"),
        ({"invocation_string": "x"}, UnsupportedModelError, "ids of its tokens"),
    ],
    ids=str,
)
def test_wrong_values(
    settings: dict[str, Any], error: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        made(tmp_path, pair(V0, 64, 128), **settings)
    assert not list(tmp_path.glob("*.gguf"))


def test_settings_without_effect(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Inactive settings and those about training are no reason to refuse an adapter."""
    inactive: dict[str, Any] = {key: False for key in REFUSED} | {
        "layer_replication": []
    }
    harmless: dict[str, Any] = dict.fromkeys(HARMLESS, "anything")
    out = made(tmp_path, pair(V0, 64, 128), **inactive, **harmless)
    assert not caplog.records
    assert out.exists()


def test_unknown_settings_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        made(tmp_path, pair(V0, 64, 128), use_later=True, unset=None)
    assert "'use_later'" in caplog.text
    assert "'unset'" not in caplog.text


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (pair(V0, 64, 128) | {f"{V0}.lora_B.weight": np.ones((64, 3))}, "factors for"),
        ({f"{V0}.lora_{x}.weight": np.ones(4) for x in "AB"}, "factors for"),
        (pair(V0, 64, 0), "factors for"),
        (pair(V0, 32, 63), r"of shape \[32, 63\], which has shape \[32, 64\]"),
        (pair("lm_head", 9, 9), "output.weight .* which is missing in the base"),
    ],
    ids=range(5),
)
def test_shapes(arrays: Arrays, message: str, tmp_path: Path) -> None:
    """Factors must fit each other, and the base model's weights if they are there."""
    model, shapes = base(tmp_path / "base", "llama")
    stored = {
        name: np.zeros(shape, np.float32)
        for name, shape in shapes.items()
        if name != "lm_head.weight"
    }
    save_file(stored, model / "model.safetensors")
    arrays = {name: np.float32(array) for name, array in arrays.items()}
    folder = adapter(tmp_path / "adapter", arrays)
    with pytest.raises(ShapeError, match=message):
        convert_lora(folder, model, tmp_path / "out.gguf")


@pytest.mark.reference
def test_keys_are_those_of_peft() -> None:
    """Every key of PEFT's LoraConfig is read, refused or harmless, and no other."""
    import dataclasses

    peft = pytest.importorskip("peft")
    keys = {field.name for field in dataclasses.fields(peft.LoraConfig)}
    known = {*READ, *REFUSED, *HARMLESS}
    assert keys - known == set()
    assert known - keys <= {"invocation_string"}  # of older versions


@pytest.mark.reference
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(
    "settings",
    [
        {"use_rslora": True},
        {"alpha_pattern": {"c_proj": 5}, "rank_pattern": {"mlp.c_proj": 6}},
        {
            "use_rslora": True,
            "alpha_pattern": {r"h\.0\..*c_attn": 24},
            "rank_pattern": {"c_fc": 2, "^transformer.h.0.mlp.c_proj": 3},
        },
    ],
    ids=str,
)
def test_effect_is_that_of_peft(settings: dict[str, Any], tmp_path: Path) -> None:
    """Of every weight of a GPT-2 model: PEFT's change and the file's."""
    peft = pytest.importorskip("peft")
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(
        vocab_size=60, n_positions=8, n_embd=32, n_layer=2, n_head=2
    )
    model = transformers.GPT2LMHeadModel(config)
    model.save_pretrained(tmp_path / "base")
    modules = ["c_attn", "c_proj", "c_fc"]
    lora = peft.LoraConfig(
        r=4, lora_alpha=7, target_modules=modules, fan_in_fan_out=True, **settings
    )
    wrapped = peft.get_peft_model(model, lora)
    changes = {}
    for name, module in wrapped.named_modules():
        if hasattr(module, "get_delta_weight"):
            torch.nn.init.normal_(module.lora_B["default"].weight)
            changes[name] = module.get_delta_weight("default").detach().numpy()
    wrapped.save_pretrained(tmp_path / "adapter")
    convert_lora(tmp_path / "adapter", tmp_path / "base", tmp_path / "out.gguf")
    names = {"attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output"}
    names |= {"mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down"}
    assert len(changes) == 8
    for name, change in changes.items():
        layer, part = name.split(".h.")[1].split(".", 1)
        found = effect(tmp_path / "out.gguf", f"blk.{layer}.{names[part]}.weight")
        assert np.allclose(found, change.T, rtol=1e-5, atol=1e-5)
