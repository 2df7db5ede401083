"""Older families: what no fixture can show, of checkpoints, configs and rounding."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from quantkit.checkpoint.cascade import cascade_sum
from quantkit.checkpoint.lazy import LowRank, computed, values_of
from quantkit.checkpoint.ternary import ternary
from quantkit.errors import CheckpointError, QuantkitError, UnsupportedModelError
from quantkit.gguf.keys import float32
from quantkit.sources.checkpoint import CheckpointSource

from .families.cases import CASES
from .families.stored import checkpoint
from .quantized import bitnet, write_safetensors

Arrays = dict[str, NDArray[Any]]

TORCH = {
    8: "0x1.99be560000000p+4",
    100: "0x1.3321060000000p+9",
    6144: "0x1.4bc1240000000p+15",
    32767: "0x1.b986600000000p+17",
    1000003: "0x1.a5ae760000000p+22",
}
"""The sums of `numbers` by torch 2.13 with one thread, on a processor with AVX-512."""


def numbers(n: int) -> NDArray[np.float32]:
    """Numbers of many sizes, so that their sum depends on the order."""
    steps = np.arange(1, n + 1, dtype=np.uint64) * np.uint64(2654435761)
    shares = steps % np.uint64(1 << 32) / (1 << 32)
    return (1 / (shares + 1e-3)).astype(np.float32)


@pytest.mark.parametrize("n", TORCH)
@pytest.mark.parametrize("n_pieces", [1, 3])
def test_sums_have_the_bits_of_torch(n: int, n_pieces: int) -> None:
    """Whatever the pieces in which the numbers are read."""
    found = cascade_sum(np.array_split(numbers(n), n_pieces), n)
    assert float(found).hex() == TORCH[n]


def test_ternary_weights_do_not_depend_on_the_rows_read() -> None:
    """The scale is that of the whole matrix."""
    matrix = numbers(96 * 64).reshape(96, 64) - np.float32(5)
    tensor = ternary(computed(matrix))
    whole = values_of(tensor)
    scale = np.float32(np.abs(matrix).mean(dtype=np.float64))
    codes = np.clip(np.round(matrix / scale), -1, 1)
    assert np.allclose(whole, codes * scale, rtol=1e-6)
    assert set(np.unique(codes)) == {-1, 0, 1}
    again = ternary(computed(matrix))
    for rows in (again.pick(np.array([5, 3])), again.rows(0, 2)):
        assert rows.view(np.float32).shape == (2, 64)
    assert np.array_equal(again.pick(np.array([5, 3])).view(np.float32), whole[[5, 3]])


def test_ternary_weights_of_zeros_are_zeros() -> None:
    """Their scale is not 0, by which nothing can be divided."""
    assert not values_of(ternary(computed(np.zeros((2, 32))))).any()


def test_adapters_of_rounded_matrices_are_refused() -> None:
    """A product cannot be rounded without computing it."""
    pair = LowRank(computed(np.ones((2, 8))), computed(np.ones((4, 2))))
    with pytest.raises(UnsupportedModelError, match="merge it"):
        ternary(pair)


def changed(
    name: str, folder: Path, config: dict[str, Any], arrays: Callable[[Arrays], Arrays]
) -> Path:
    """The checkpoint of a case with other settings and tensors."""
    folder = checkpoint(next(case for case in CASES if case.name == name), folder)
    stated = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**stated, **config}))
    path = folder / "model.safetensors"
    save_file(arrays(load_file(path)), path)
    return folder


def written(folder: Path, name: str) -> NDArray[np.float32]:
    """The values of a GGUF tensor, as F32."""
    tensor = CheckpointSource(folder, "f32").tensors[name]
    return tensor.read(0, tensor.n_rows).view(np.float32)


def test_packed_bitnet_weights_are_kept(tmp_path: Path) -> None:
    """They are -1, 0 and 1 times a scale already; llama.cpp's converter changes it."""
    quantization = {"quantization_config": {"quant_method": "bitnet"}}
    folder = changed("bitnet", tmp_path, quantization, dict)
    path, base = folder / "model.safetensors", "model.layers.0.mlp.up_proj"
    packed, expected = bitnet(base, (96, 64))
    arrays = {k: ("F32", a) for k, a in load_file(path).items() if base not in k}
    write_safetensors(path, {**arrays, **packed})
    assert np.array_equal(written(folder, "blk.0.ffn_up.weight"), expected)


def without_head(arrays: Arrays) -> Arrays:
    return {name: a for name, a in arrays.items() if name != "lm_head.weight"}


@pytest.mark.parametrize(("name", "scale"), [("codeshell", 1), ("jais", 0.22)])
def test_a_tied_head_is_written(name: str, scale: float, tmp_path: Path) -> None:
    """Readers of these architectures do not take the embedding for it."""
    tied = {"tie_word_embeddings": True}
    folder = changed(name, tmp_path, tied, without_head)
    embedding = load_file(folder / "model.safetensors")["transformer.wte.weight"]
    expected = embedding * np.float32(scale)
    assert np.array_equal(written(folder, "output.weight"), expected)


def test_slopes_tell_the_maximum_bias_of_alibi(tmp_path: Path) -> None:
    """Those of Jais are stored."""
    slopes = "transformer.relative_pe.slopes"

    def with_slopes(values: NDArray[np.float32]) -> Callable[[Arrays], Arrays]:
        return lambda arrays: {**arrays, slopes: values}

    n_even = 2.0 ** -np.arange(4, 20, 4)
    between = 2.0 ** -(np.array([2, 6]))
    steep = np.concatenate([n_even, between]).astype(np.float32)
    folder = changed("jais", tmp_path / "a", {}, with_slopes(steep))
    found = CheckpointSource(folder).model_fields["jais.attention.max_alibi_bias"]
    assert found == float32(16.0)
    for number, wrong in enumerate((steep[::-1].copy(), steep[:5], steep * 0)):
        folder = changed("jais", tmp_path / str(number), {}, with_slopes(wrong))
        with pytest.raises(QuantkitError, match="slopes"):
            CheckpointSource(folder)


def without_gain(arrays: Arrays) -> Arrays:
    return {name: a for name, a in arrays.items() if not name.endswith(".w_g")}


def with_rows(end: str, n_rows: int) -> Callable[[Arrays], Arrays]:
    """The tensors, one of them with fewer rows."""
    return lambda arrays: {
        name: a[:n_rows].copy() if name.endswith(end) else a
        for name, a in arrays.items()
    }


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("openelm", with_rows("0.ffn.proj_1.weight", 62), "62 rows; expected 64"),
        ("refact", with_rows("attn.kv.weight", 30), "30 rows; expected 32"),
        ("refact", with_rows("mlp.gate_up_proj.weight", 510), "510 rows; expected 512"),
        ("talkie", with_rows("attn_query.weight", 95), "95 rows, which do not form"),
        ("talkie", without_gain, "lm_head_gain.w_g"),
    ],
)
def test_matrices_of_another_size_are_refused(
    name: str, change: Callable[[Arrays], Arrays], message: str, tmp_path: Path
) -> None:
    """Before they are split."""
    folder = changed(name, tmp_path, {}, change)
    with pytest.raises(CheckpointError, match=message):
        list(CheckpointSource(folder).tensors)


@pytest.mark.parametrize(
    ("name", "config", "message"),
    [
        ("bitnet", {"hidden_act": "relu2"}, "hidden_act: 'relu2'"),
        ("bitnet", {"tie_word_embeddings": False}, "tie_word_embeddings: False"),
        ("codeshell", {"position_embedding_type": "learned_absolute"}, "learned"),
        ("codeshell", {"n_inner": 96}, "n_inner: 96"),
        ("jais", {"scale_qk_dot_by_d": False}, "scale_qk_dot_by_d: False"),
        ("jais", {"alibi_scaling": {"type": "linear"}}, "alibi_scaling"),
        ("minicpm3", {"scale_emb": 10}, "scale_emb: 10"),
        ("minicpm3", {"scale_depth": None}, "scale_depth: 1.7"),
        ("minicpm3", {"dim_model_base": None}, "dim_model_base: 64"),
        ("minicpm3", {"q_lora_rank": None}, "q_lora_rank: null"),
        ("minicpm3", {"num_key_value_heads": 2}, "num_key_value_heads: 2"),
        ("openelm", {"ffn_multipliers": [0.5, 0.77]}, "expected ffn_multipliers"),
        ("openelm", {"num_kv_heads": 2}, "expected num_kv_heads"),
        ("plm", {"q_lora_rank": 40}, "q_lora_rank: 40"),
        ("spark2.5", {"gate_attn_act_mode": "silu"}, "gate_attn_act_mode"),
        ("spark2.5", {"headwise_attn_output_gate": None}, "headwise_attn_output_gate"),
        ("spark2.5", {"rope_parameters": None}, "no rope_parameters"),
    ],
)
def test_settings_that_readers_do_not_know_are_refused(
    name: str, config: dict[str, Any], message: str, tmp_path: Path
) -> None:
    """By their names."""
    with pytest.raises(QuantkitError, match=message):
        CheckpointSource(changed(name, tmp_path, config, dict))


def test_bitnet_of_two_classes(tmp_path: Path) -> None:
    """The config is one of Llama's class, or of its own, which has other defaults."""
    bases = {}
    for kind in ("llama", "bitnet"):
        config = {"model_type": kind, "rope_theta": None}
        folder = changed("bitnet", tmp_path / kind, config, dict)
        bases[kind] = CheckpointSource(folder).model_fields["bitnet.rope.freq_base"]
    assert bases == {"llama": float32(10000.0), "bitnet": float32(500000.0)}


def test_minicpm3_keeps_its_base(tmp_path: Path) -> None:
    """llama.cpp's converter leaves it out, and readers then assume 10000."""
    for name in ("minicpm3", "minicpm3-longrope"):
        scaling = {"rope_theta": 50000.0, "rope_parameters": None}
        if name == "minicpm3":
            scaling["rope_scaling"] = None
        folder = changed(name, tmp_path / name, scaling, dict)
        fields = CheckpointSource(folder).model_fields
        assert fields["minicpm3.rope.freq_base"] == float32(50000.0)


def test_names_of_hy_4_as_transformers_saves_them(tmp_path: Path) -> None:
    """It puts `hc_pre` before a module's name, and renames gates of other parts."""
    case = next(case for case in CASES if case.name == "hy-v4")
    folder = checkpoint(case, tmp_path)
    expected = {k: v.shape for k, v in CheckpointSource(folder).tensors.items()}
    path = next(folder.glob("*.safetensors"))
    arrays = load_file(path)
    saved = {}
    for name, array in arrays.items():
        for module in ("hc_attn_layer", "hc_mlp_layer"):
            name = name.replace(f"{module}.hc_pre.", f"hc_pre.{module}.")
        name = name.replace(".hc_head.", ".hc_pre.hc_head.")
        saved[name.replace(".gate_proj.", ".linear_gate.")] = array
    assert saved.keys() != arrays.keys()
    save_file(saved, path)
    found = {k: v.shape for k, v in CheckpointSource(folder).tensors.items()}
    assert found == expected
