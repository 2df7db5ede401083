"""Checkpoint folders as GGUF files: the bytes that llama.cpp's converter writes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from quantkit.arrays.rows import dequantize_rows
from quantkit.checkpoint.folder import Checkpoint, CheckpointTensor
from quantkit.errors import (
    NonFiniteError,
    OptionError,
    OutputError,
    UnsupportedModelError,
    UnsupportedTypeError,
)
from quantkit.gguf import GGUFFile
from quantkit.gguf.source import SourceTensor
from quantkit.sources.checkpoint import OUTTYPES, CheckpointSource
from quantkit.tasks.convert import convert
from quantkit.tasks.demo import DEMO_MODEL
from quantkit.tasks.quantize import quantize_file
from quantkit.types import QuantType as T

from .tokenizer_files import byte_level, write

# SHA-256 of what llama.cpp's convert_hf_to_gguf.py (build 11434) writes for the demo
# model in a folder called "model".
LLAMACPP = {
    "auto": "ca0dd9652bc7736b32c5981d334edcedec43c1073e1cde1c7cd39482a470be22",
    "bf16": "ca0dd9652bc7736b32c5981d334edcedec43c1073e1cde1c7cd39482a470be22",
    "f16": "420812c2d87d23c0af3a5c7c165a2ecc1c9911859ff36f267493f4c4dd8429e3",
    "f32": "8d6c521054f282a1f659567ed16f57cb67b3b810dca04402c3d81a2c67c7102f",
    "q8_0": "39b3d5332411cc2ef5241cae4c0548dcf1efd367e244b9f8909bfe3721d3b35a",
}

WIDTH, N_HEADS, N_KV_HEADS, FFN, VOCAB = 48, 4, 2, 64, 256
SHAPES = {
    "model.embed_tokens.weight": (VOCAB, WIDTH),
    "model.norm.weight": (WIDTH,),
    "model.layers.0.input_layernorm.weight": (WIDTH,),
    "model.layers.0.post_attention_layernorm.weight": (WIDTH,),
    "model.layers.0.mlp.gate_proj.weight": (FFN, WIDTH),
    "model.layers.0.mlp.up_proj.weight": (FFN, WIDTH),
    "model.layers.0.mlp.down_proj.weight": (WIDTH, FFN),
    "model.layers.0.self_attn.q_proj.weight": (WIDTH, WIDTH),
    "model.layers.0.self_attn.q_proj.bias": (WIDTH,),
    "model.layers.0.self_attn.k_proj.weight": (WIDTH // 2, WIDTH),
    "model.layers.0.self_attn.v_proj.weight": (WIDTH // 2, WIDTH),
    "model.layers.0.self_attn.o_proj.weight": (WIDTH, WIDTH),
}


def weights(dtype: Any = np.float16) -> dict[str, NDArray[Any]]:
    rng = np.random.default_rng(0)
    return {name: rng.standard_normal(n).astype(dtype) for name, n in SHAPES.items()}


def checkpoint(folder: Path, tensors: dict[str, NDArray[Any]], **changes: Any) -> Path:
    """A small Llama with byte-level BPE."""
    config = {
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": WIDTH,
        "intermediate_size": FFN,
        "num_hidden_layers": 1,
        "num_attention_heads": N_HEADS,
        "num_key_value_heads": N_KV_HEADS,
        "max_position_embeddings": 128,
        "rms_norm_eps": 1e-6,
        "vocab_size": VOCAB,
        "tie_word_embeddings": True,
        **changes,
    }
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / "model.safetensors")
    return write(folder, config=config, tokenizer=byte_level())


def plain_tensors(model: Checkpoint) -> dict[str, CheckpointTensor]:
    """The tensors of a checkpoint that is not quantized."""
    tensors = model.tensors.items()
    return {name: t for name, t in tensors if isinstance(t, CheckpointTensor)}


def save_raw(path: Path, tensors: dict[str, CheckpointTensor]) -> None:
    """A safetensors file of tensors that NumPy has no type for."""
    header, data = {}, b""
    for name, tensor in tensors.items():
        offsets = [len(data), len(data) + len(tensor.data)]
        header[name] = {
            "dtype": tensor.dtype,
            "shape": tensor.shape,
            "data_offsets": offsets,
        }
        data += tensor.data.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def values(tensor: SourceTensor) -> NDArray[np.float32]:
    """All values of a tensor, in its shape."""
    rows = tensor.read(0, tensor.n_rows)
    return dequantize_rows(rows, tensor.type, tensor.n_cols).reshape(tensor.shape)


@pytest.mark.parametrize("outtype", OUTTYPES)
def test_file_is_the_one_llamacpp_writes(tmp_path: Path, outtype: str) -> None:
    """Metadata, order, permuted heads, types and padding: every byte."""
    convert(DEMO_MODEL, tmp_path / "m.gguf", outtype)
    assert sha256(tmp_path / "m.gguf") == LLAMACPP[outtype]


def test_shards_and_threads_change_nothing(tmp_path: Path) -> None:
    """A checkpoint cut in two gives the file that the whole one gives."""
    folder = tmp_path / "model"
    shutil.copytree(DEMO_MODEL, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    with Checkpoint(DEMO_MODEL) as whole:
        tensors = list(plain_tensors(whole).values())
        first, second = (
            {t.name: t for t in tensors[:9]},
            {t.name: t for t in tensors[9:]},
        )
        save_raw(folder / "a.safetensors", first)
        save_raw(folder / "b.safetensors", second)
    weight_map = dict.fromkeys(first, "a.safetensors")
    weight_map |= dict.fromkeys(second, "b.safetensors")
    write(folder, **{"model.safetensors.index": {"weight_map": weight_map}})
    convert(folder, tmp_path / "m.gguf", "q8_0", threads=3)
    assert sha256(tmp_path / "m.gguf") == LLAMACPP["q8_0"]


def test_source_delivers_what_the_file_holds(tmp_path: Path) -> None:
    """Reading a checkpoint as a source is reading the file that it would become."""
    source = CheckpointSource(DEMO_MODEL)
    convert(DEMO_MODEL, tmp_path / "m.gguf")
    file = GGUFFile(tmp_path / "m.gguf")
    assert list(source.metadata) == list(file.metadata)
    assert list(source.tensors) == list(file.tensors)
    for name, tensor in source.tensors.items():
        written = file.tensors[name]
        assert (tensor.shape, tensor.type) == (written.shape, written.type)
        assert np.array_equal(
            tensor.read(0, tensor.n_rows), written.read(0, written.n_rows)
        )


def test_types_of_a_half_precision_checkpoint(tmp_path: Path) -> None:
    """Matrices keep F16; vectors, norms and biases become F32."""
    source = CheckpointSource(checkpoint(tmp_path / "m", weights()))
    assert source.type is T.F16
    assert {name: t.type for name, t in source.tensors.items()} == {
        "token_embd.weight": T.F16,
        "blk.0.attn_norm.weight": T.F32,
        "blk.0.ffn_down.weight": T.F16,
        "blk.0.ffn_gate.weight": T.F16,
        "blk.0.ffn_up.weight": T.F16,
        "blk.0.ffn_norm.weight": T.F32,
        "blk.0.attn_k.weight": T.F16,
        "blk.0.attn_output.weight": T.F16,
        "blk.0.attn_q.bias": T.F32,
        "blk.0.attn_q.weight": T.F16,
        "blk.0.attn_v.weight": T.F16,
        "output_norm.weight": T.F32,
    }


def test_rows_that_are_no_blocks_fall_back_to_f16(tmp_path: Path) -> None:
    """Of all matrices only ffn_down has rows that are a multiple of 32."""
    source = CheckpointSource(checkpoint(tmp_path / "m", weights()), "q8_0")
    quantized = [name for name, t in source.tensors.items() if t.type is T.Q8_0]
    assert quantized == ["blk.0.ffn_down.weight"]
    assert source.tensors["token_embd.weight"].type is T.F16
    assert source.metadata["general.file_type"].value == 7


@pytest.mark.parametrize(
    ("bf16", "wanted"),
    [
        ((), T.F16),
        (("model.layers.0.mlp.up_proj.weight",), T.BF16),
        (("model.norm.weight",), T.F16),
    ],
)
def test_auto_takes_the_first_16_bit_matrix(
    tmp_path: Path, bf16: tuple[str, ...], wanted: T
) -> None:
    """Vectors do not count; without such a matrix F32 becomes F16."""
    folder = checkpoint(tmp_path / "m", weights(np.float32))
    tensors = plain_tensors(Checkpoint(folder))
    for name in bf16:
        half = np.zeros(2 * int(np.prod(SHAPES[name])), np.uint8)
        tensors[name] = replace(tensors[name], dtype="BF16", data=half)
    save_raw(folder / "model.safetensors", tensors)
    assert CheckpointSource(folder).type is wanted


def test_heads_of_matrices_and_biases_are_interleaved(tmp_path: Path) -> None:
    """Component j of the first half of a head goes before j of the second half."""
    tensors = weights()
    source = CheckpointSource(checkpoint(tmp_path / "m", tensors))
    for part, suffix, n_heads in (
        ("q", "weight", N_HEADS),
        ("q", "bias", N_HEADS),
        ("k", "weight", N_KV_HEADS),
    ):
        stored = tensors[f"model.layers.0.self_attn.{part}_proj.{suffix}"]
        half = len(stored) // n_heads // 2
        order = [
            head * 2 * half + side * half + j
            for head in range(n_heads)
            for j in range(half)
            for side in range(2)
        ]
        tensor = source.tensors[f"blk.0.attn_{part}.{suffix}"]
        assert np.array_equal(values(tensor), stored[order].astype(np.float32))


def test_rows_are_read_in_any_range(tmp_path: Path) -> None:
    """A range of permuted rows is that range of all of them."""
    source = CheckpointSource(checkpoint(tmp_path / "m", weights()))
    tensor = source.tensors["blk.0.attn_q.weight"]
    everything = tensor.read(0, tensor.n_rows)
    assert np.array_equal(tensor.read(5, 17), everything[5:17])


def test_computed_tensors_are_written(tmp_path: Path) -> None:
    """The frequency factors of Llama 3.1, which no checkpoint has, go first, as F32."""
    scaling = {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    }
    folder = checkpoint(
        tmp_path / "m", weights(), rope_scaling=scaling, rope_theta=10000.0
    )
    name, tensor = next(iter(CheckpointSource(folder).tensors.items()))
    assert (name, tensor.shape, tensor.type) == ("rope_freqs.weight", (6,), T.F32)
    assert values(tensor)[0] == 1.0
    assert values(tensor)[-1] == 8.0


def test_file_type_goes_before_the_family_s_own_keys(tmp_path: Path) -> None:
    """The order of keys is llama.cpp's."""
    source = CheckpointSource(checkpoint(tmp_path / "m", weights()))
    keys = [key for key in source.metadata if not key.startswith("tokenizer.")]
    assert keys[:4] == [
        "general.architecture",
        "general.type",
        "general.name",
        "general.size_label",
    ]
    assert keys[-4:] == [
        "general.file_type",
        "llama.vocab_size",
        "llama.rope.dimension_count",
        "general.quantization_version",
    ]


def test_pre_tokenizer_is_passed_on(tmp_path: Path) -> None:
    """The override reaches the metadata."""
    folder = checkpoint(tmp_path / "m", weights())
    source = CheckpointSource(folder, pre_tokenizer="starcoder")
    assert source.metadata["tokenizer.ggml.pre"].value == "starcoder"


def test_progress_ends_at_the_number_of_bytes(tmp_path: Path) -> None:
    """The last report is complete: all bytes of all tensors."""
    seen: list[tuple[int, int]] = []
    folder = checkpoint(tmp_path / "m", weights())
    convert(
        folder,
        tmp_path / "m.gguf",
        progress=lambda _, n, total: seen.append((n, total)),
    )
    with GGUFFile(tmp_path / "m.gguf") as file:
        n_bytes = sum(place.n_bytes for place in file.locations.values())
    assert seen[-1] == (n_bytes, n_bytes)


# Refusals


def test_unknown_outtype() -> None:
    """The types that would do are listed."""
    message = "'q4_k'; expected one of auto, f32, f16"
    with pytest.raises(UnsupportedTypeError, match=message):
        CheckpointSource(DEMO_MODEL, "q4_k")


def test_unknown_architecture(tmp_path: Path) -> None:
    """The architecture is named, the nearest that are known, and what else to do."""
    folder = checkpoint(
        tmp_path / "m", weights(), architectures=["MambaByteForCausalLM"]
    )
    with pytest.raises(UnsupportedModelError, match=r"Mamba.*nearest:.*`tensors_only"):
        CheckpointSource(folder)


def test_value_too_large_for_f16(tmp_path: Path) -> None:
    """The weight is named, and no file is left."""
    tensors = weights(np.float32)
    tensors["model.layers.0.mlp.up_proj.weight"][3, 2] = 1e6
    folder = checkpoint(tmp_path / "m", tensors)
    with pytest.raises(NonFiniteError, match=r"ffn_up\.weight: .* row 3, column 2"):
        convert(folder, tmp_path / "m.gguf", "f16")
    assert list(tmp_path.iterdir()) == [folder]


def test_output_over_the_weights(tmp_path: Path) -> None:
    """The file that is being read is never overwritten."""
    folder = checkpoint(tmp_path / "m", weights())
    with pytest.raises(OutputError, match="is part of the model"):
        convert(folder, folder / "model.safetensors")
    with Checkpoint(folder) as whole:
        assert len(whole.tensors) == len(SHAPES)


# A real model


@pytest.mark.interop
def test_smollm2_is_the_file_llamacpp_writes(tmp_path: Path) -> None:
    """All 272 tensors and the whole vocabulary, from a folder of the same name."""
    folder = os.environ.get("QUANTKIT_SMOLLM2")
    reference = os.environ.get("QUANTKIT_SMOLLM2_F16")
    if not folder or not reference:
        pytest.skip("set QUANTKIT_SMOLLM2 and QUANTKIT_SMOLLM2_F16")
    convert(folder, tmp_path / "m.gguf", "f16")
    assert sha256(tmp_path / "m.gguf") == sha256(Path(reference))


# Other ways to write


def test_a_recipe_converts_in_one_step(tmp_path: Path) -> None:
    """The bytes of converting and quantizing one after the other."""
    convert(DEMO_MODEL, tmp_path / "auto.gguf")
    quantize_file(tmp_path / "auto.gguf", tmp_path / "two.gguf", "q4_k_m")
    report = convert(DEMO_MODEL, tmp_path / "one.gguf", "q4_k_m")
    assert sha256(tmp_path / "one.gguf") == sha256(tmp_path / "two.gguf")
    assert report.size_bytes == (tmp_path / "one.gguf").stat().st_size


def test_a_dry_run_tells_what_would_be_written(tmp_path: Path) -> None:
    """The same report, and no file."""
    dry = convert(DEMO_MODEL, tmp_path / "m.gguf", "q8_0", dry_run=True)
    assert dry.is_dry_run
    assert list(tmp_path.iterdir()) == []
    real = convert(DEMO_MODEL, tmp_path / "m.gguf", "q8_0")
    assert replace(real, is_dry_run=True) == dry
    assert real.size_bytes == (tmp_path / "m.gguf").stat().st_size


def test_split_files_hold_the_whole(tmp_path: Path) -> None:
    """Every tensor once, in order; the parts read as one model."""
    convert(DEMO_MODEL, tmp_path / "whole.gguf", "f16")
    report = convert(
        DEMO_MODEL, tmp_path / "part.gguf", "f16", split_max_bytes=2_000_000
    )
    assert len(report.paths) > 2
    with GGUFFile(report.paths[0]) as parts, GGUFFile(tmp_path / "whole.gguf") as whole:
        assert list(parts.tensors) == list(whole.tensors)
        for name, tensor in whole.tensors.items():
            other = parts.tensors[name]
            stored = tensor.read(0, tensor.n_rows)
            assert np.array_equal(other.read(0, other.n_rows), stored)


def test_metadata_file_replaces_what_the_folder_tells(tmp_path: Path) -> None:
    """Keys of a JSON file win; one that is not known is refused."""
    folder = checkpoint(tmp_path / "Some-Name-7B", weights())
    given = tmp_path / "metadata.json"
    given.write_text('{"general.name": "Mine", "general.author": "Me"}')
    source = CheckpointSource(folder, metadata_file=given)
    assert source.metadata["general.name"].value == "Mine"
    assert source.metadata["general.author"].value == "Me"
    given.write_text('{"general.nmae": "Mine"}')
    source = CheckpointSource(folder, metadata_file=given)
    with pytest.raises(OptionError, match=r"'general\.nmae'; known: general\.author"):
        dict(source.metadata)


def test_tensors_only_keeps_names_and_can_be_quantized(tmp_path: Path) -> None:
    """A model of no known kind, without a tokenizer, with a kernel of five axes."""
    folder = tmp_path / "diffusion"
    folder.mkdir()
    (folder / "config.json").write_text('{"_class_name": "Transformer2DModel"}')
    rng = np.random.default_rng(0)
    stored = {
        "blocks.0.proj.weight": rng.standard_normal((8, 256), np.float32),
        "blocks.0.norm.weight": rng.standard_normal(256, np.float32),
        "patch.weight": rng.standard_normal((4, 3, 2, 2, 2), np.float32),
    }
    save_file(stored, folder / "diffusion_pytorch_model.safetensors")
    convert(folder, tmp_path / "m.gguf", "f32", tensors_only=True)
    with GGUFFile(tmp_path / "m.gguf") as file:
        assert file.metadata["general.architecture"].value == "Transformer2DModel"
        assert file.tensors["patch.weight"].shape == (12, 2, 2, 2)
        for name, array in stored.items():
            assert np.array_equal(values(file.tensors[name]).ravel(), array.ravel())
    quantize_file(tmp_path / "m.gguf", tmp_path / "q.gguf", "q4_k_m")
    with GGUFFile(tmp_path / "q.gguf") as file:
        assert file.tensors["blocks.0.proj.weight"].type is T.Q4_K
