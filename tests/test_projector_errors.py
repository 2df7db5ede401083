"""Vision encoders that cannot be written are refused by name, before any work."""

from __future__ import annotations

import json
import os
import random
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import quantkit
from quantkit.errors import (
    CheckpointError,
    OptionError,
    QuantkitError,
    UnsupportedModelError,
)
from quantkit.gguf.reader import GGUFFile
from quantkit.projectors import BY_CLASS, ENCODERS
from quantkit.projectors.llamacpp_classes import REFUSED
from quantkit.sources.projector import ProjectorSource

from .families.describe import described_tensors
from .families.sampling import one_in_four
from .projectors.all_cases import CASES
from .projectors.cases import ProjectorCase
from .projectors.stored import checkpoint

BY_CASE = {case.name: case for case in CASES}
BY_NAME = one_in_four(CASES)
WRONG: tuple[Any, ...] = (-1, 0, 3, 2**40, 0.5, True, "x", [], [9], {}, None)


def parts(config: dict[str, Any]) -> list[dict[str, Any]]:
    """The configs of encoders in config.json; the whole, if it has their keys."""
    found = (config.get("thinker_config") or config).get
    keys = {key for one in ENCODERS for key in (one.vision_key, one.audio_key)}
    keys.add("vision_encoder")  # of params.json
    own = [part for key in sorted(keys, reverse=True) if (part := found(key))]
    return [part for part in own if isinstance(part, dict)] or [config]


def changed(folder: Path, file: str = "config.json", **settings: Any) -> Path:
    """The folder with other values in the config of its first encoder."""
    path = folder / file
    config = json.loads(path.read_text())
    parts(config)[0].update(settings)
    path.write_text(json.dumps(config))
    return folder


def metadata_of(folder: Path) -> Any:
    return ProjectorSource(folder, "f32").metadata


@pytest.mark.parametrize("case", BY_NAME)
def test_wrong_settings_are_quantkit_errors(
    case: ProjectorCase, tmp_path: Path
) -> None:
    """Thirty random changes; a setting that changes nothing is no error."""
    folder = checkpoint(case, tmp_path)
    path = folder / case.config_at
    config = json.loads(path.read_text())
    keys = sorted(parts(config)[0])
    rng = random.Random(case.name)
    for _ in range(30):
        wrong = {rng.choice(keys): rng.choice(WRONG)}
        path.write_text(json.dumps(config))
        with suppress(QuantkitError):
            metadata_of(changed(folder, path.name, **wrong))


@pytest.mark.parametrize(
    ("case", "key", "value", "message"),
    [
        ("gemma3", "hidden_size", "big", "vision_config: hidden_size is 'big'"),
        ("gemma3", "hidden_size", 16, r"v.blk.0.ln1.weight has the shape \[32\]"),
        ("gemma3", "num_hidden_layers", 3, "lacks .* 'v.blk.2.attn_q'"),
        ("gemma3", "num_hidden_layers", 1, "not a tensor of the encoder"),
        ("qwen2.5vl", "fullatt_block_indexes", [0, 3], "equal distances"),
        ("qwen2.5vl", "temporal_patch_size", 1, "temporal_patch_size is 1; expected 2"),
        (
            "qwen3vl",
            "deepstack_visual_indexes",
            [7],
            r"is \[7\], but the encoder has 3",
        ),
        ("pixtral", "hidden_act", "relu", "expected 'silu' or 'gelu'"),
        ("pixtral", "model_type", "clip_vision_model", "knows only .* 'pixtral'"),
        ("gemma4", "patch_size", 2, r"config.json says 2 \* 2 \* 3 columns"),
    ],
)
def test_the_message_names_what_is_wrong(
    case: str, key: str, value: Any, message: str, tmp_path: Path
) -> None:
    """A size, an index or a kind that does not belong to the weights."""
    folder = checkpoint(BY_CASE[case], tmp_path)
    with pytest.raises(QuantkitError, match=message):
        metadata_of(changed(folder, **{key: value}))


@pytest.mark.parametrize(
    ("case", "change", "message"),
    [
        ("granite-vision", {"downsample_rate": "4"}, "expected two numbers, such as"),
        ("granite-vision", {"deepstack_layer_map": [[9, 0]]}, "names the layer 9, but"),
        ("granite-vision", {"image_grid_pinpoints": [[1]]}, "is not a list of pairs"),
        (
            "granite-speech-plus",
            {"projector_config": {"encoder_hidden_size": 9}},
            "encoder_hidden_size is 9, not 64",
        ),
        ("deepseek-v4-vision", {"vision_max_n_token": 9}, "is 9; expected 384"),
        ("deepseek-v4-vision", {"vision_n_layers": 0}, "neither a vision_n_layers nor"),
        ("ling-vl", {"vision_config": {"disable_merger_proj": False}}, "is not true"),
        ("youtu-vl", {"vision_config": {"fullatt_block_indexes": [3]}}, r"is \[3\];"),
        ("phi4-vision", {"vision_config": {"num_hidden_layers": 1}}, "at least 2"),
        ("mimo-v2.5", {"audio_config": {"audio_channels": 2}}, "channels is 2, but"),
        (
            "mimo-v2.5",
            {"vision_config": {"vit_window_attn_types": [0]}},
            "has 1 numbers",
        ),
        (
            "dots3-note",
            {"vision_config": {"pyramid_num_routed": [-1, 2, 12]}},
            "layer 2 of the encoder has 33 matrices of experts",
        ),
        ("dots3-note", {"audio_config": {"use_rope": False}}, "use_rope is not True"),
        ("nemotron-vl", {"force_image_size": 3}, "smaller than a patch"),
    ],
)
def test_what_does_not_belong_to_the_model_is_named(
    case: str, change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    """A change of config.json, or of some keys of an object in it."""
    folder = checkpoint(BY_CASE[case], tmp_path)
    path = folder / "config.json"
    config = json.loads(path.read_text())
    for key, value in change.items():
        is_object = isinstance(value, dict)
        config[key] = {**config[key], **value} if is_object else value
    path.write_text(json.dumps(config))
    with pytest.raises(QuantkitError, match=message):
        metadata_of(folder)


@pytest.mark.parametrize(
    ("case", "part", "message"),
    [
        ("lfm2-audio", "0.conv.batch_norm.running_var", r"lacks 'conf.*running_var'"),
        ("granite-vision", "spatial_projectors.0.query", r"'v\.proj_blk\.1\.query'"),
        ("granite-speech", "layer.1.output_query.dense.weight", "proj_blk.1.ffn_down"),
        ("dots3-note", "blocks.1.mlp.experts.1.fc2.weight", "5 matrices of experts"),
        ("mimo-v2.5", "speech_embeddings.1.weight", r"with \[0, 2\] for N"),
        ("mimo-v2.5", "local_transformer.layers.1.mlp", r"local_blk\.1\.ffn_gate"),
        ("glm-asr", "audio_bos_eos_token", r"GGUF calls 'v\.boi'"),
    ],
)
def test_missing_tensors_are_named(
    case: str, part: str, message: str, tmp_path: Path
) -> None:
    """Also those inside projectors and of tables."""
    folder = checkpoint(BY_CASE[case], tmp_path)
    arrays = load_file(folder / "model.safetensors")
    kept = {name: array for name, array in arrays.items() if part not in name}
    assert len(kept) < len(arrays)
    save_file(kept, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=message):
        metadata_of(folder)


def test_models_without_such_an_encoder(tmp_path: Path) -> None:
    """Text models, unknown classes, and a model that also hears without the tensors."""
    folder = checkpoint(BY_CASE["gemma4"], tmp_path)
    path = folder / "config.json"
    config = json.loads(path.read_text())
    for key, value, message in (
        ("thinker_config", [1], "thinker_config is not an object"),
        ("vision_config", None, "neither a vision_config nor an audio_config"),
        ("architectures", ["OtherModel"], "build 11434 does not know it either"),
        ("architectures", ["PocketTTSModel"], r"names 'PocketTTSModel', .* speech"),
        ("audio_config", {"hidden_size": 8}, "lacks the tensor of the encoder that"),
    ):
        path.write_text(json.dumps({**config, key: value}))
        with pytest.raises((CheckpointError, UnsupportedModelError), match=message):
            metadata_of(folder)


def test_files_that_are_missing(tmp_path: Path) -> None:
    """The settings of the image processor, and the token that ends a row of patches."""
    folder = checkpoint(replace(BY_CASE["pixtral"], tokenizer={}), tmp_path)
    with pytest.raises(CheckpointError, match=r"has the token \[IMG_BREAK\]"):
        metadata_of(folder)
    folder = checkpoint(replace(BY_CASE["gemma3"], images={}), tmp_path / "other")
    with pytest.raises(
        CheckpointError, match=r"preprocessor_config\.json lacks 'image_m"
    ):
        metadata_of(folder)


def test_a_tensor_that_is_missing(tmp_path: Path) -> None:
    """A shard that lacks one is refused."""
    folder = checkpoint(BY_CASE["smolvlm"], tmp_path)
    arrays = load_file(folder / "model.safetensors")
    del arrays["model.connector.modality_projection.proj.weight"]
    save_file(arrays, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"GGUF calls 'mm\.model\.fc'"):
        metadata_of(folder)


def test_names_that_transformers_5_writes(tmp_path: Path) -> None:
    """Gemma 3's encoder has another prefix there."""
    case = BY_CASE["gemma3"]
    published = ProjectorSource(checkpoint(case, tmp_path / "published"), "f16")
    saved = checkpoint(replace(case, rename=dict), tmp_path / "saved")
    found = ProjectorSource(saved, "f16").tensors
    assert list(found) == list(published.tensors)


def test_the_file_and_its_options(tmp_path: Path) -> None:
    """`convert` writes it; options of text models have no effect and are refused."""
    folder, out = checkpoint(BY_CASE["qwen3vl"], tmp_path), tmp_path / "mmproj.gguf"
    report = quantkit.convert(folder, out, "f16", mmproj=True)
    expected = described_tensors(ProjectorSource(folder, "f16").tensors)
    with GGUFFile(out) as file:
        assert described_tensors(file.tensors) == expected
    assert report.path == out
    with pytest.raises(OptionError, match="`pad_vocab` has no effect with"):
        quantkit.convert(folder, out, mmproj=True, pad_vocab=True)
    with pytest.raises(OptionError, match="`outtype` is Q4_K_M; with `mmproj=True`"):
        quantkit.convert(folder, out, "Q4_K_M", mmproj=True)


def test_patches_with_moved_axes_are_refused(tmp_path: Path) -> None:
    """As MLX writes them."""
    folder = checkpoint(BY_CASE["gemma3"], tmp_path)
    arrays = load_file(folder / "model.safetensors")
    (name,) = (name for name in arrays if name.endswith("patch_embedding.weight"))
    arrays[name] = np.ascontiguousarray(np.moveaxis(arrays[name], 1, 3))
    save_file(arrays, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match="such as MLX, moved the axes"):
        metadata_of(folder)


@pytest.mark.reference
def test_every_class_of_the_converter_is_accounted_for() -> None:
    """Once: written, or listed as not written."""
    pytest.importorskip("torch", reason="needs torch")
    if "QUANTKIT_LLAMACPP_SOURCE" not in os.environ:
        pytest.skip("QUANTKIT_LLAMACPP_SOURCE names no folder")
    from .families.reference import projector_classes

    assert not set(BY_CLASS) & set(REFUSED)
    assert projector_classes() <= {*BY_CLASS, *REFUSED}
