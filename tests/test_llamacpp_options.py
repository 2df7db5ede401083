"""Whole files under options that llama-quantize has too, byte for byte."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from quantkit.recipes.overrides import Overrides, TensorType
from quantkit.sources.edits import Edits, parse_field
from quantkit.tasks.quantize import quantize_file
from quantkit.types import QuantType


def choose(*texts: str, **others: Any) -> dict[str, Any]:
    """Types of one's own."""
    patterns = tuple(map(TensorType.parse, texts))
    return {"overrides": Overrides(patterns, **others)}


def change(*texts: str, prune: tuple[int, ...] = ()) -> dict[str, Any]:
    """Metadata and layers."""
    return {"edits": Edits(dict(map(parse_field, texts)), frozenset(prune))}


# Names of files of fixtures/make_llamacpp_options.py -> recipe, parameters.
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "pure": ("Q4_K_M", choose(pure=True)),
    "patterns": (
        "Q3_K_M",
        choose("blk.[013].(attn_v|ffn_down)=Q8_0", "FFN_DOWN=Q5_1"),
    ),
    "pure-patterns": ("Q5_K_S", choose("attn_k=Q4_K", pure=True)),
    "embedding": ("Q4_K_M", choose(token_embedding_type=QuantType.Q5_0)),
    "output": ("Q4_K_M", choose(output_tensor_type=QuantType.Q5_0)),
    "output-pattern": (
        "Q4_0",
        choose("token_embd=Q4_1", output_tensor_type=QuantType.Q5_0),
    ),
    "metadata": (
        "Q4_0",
        change(
            "general.name=str:Mine",
            "llama.context_length=int:4096",
            "my.flag=bool:true",
            "llama.rope.freq_base=float:12345.678",
        ),
    ),
    "prune": ("Q4_K_M", change(prune=(0, 3, 4, 29))),
}


@pytest.mark.interop
@pytest.mark.parametrize("name", CASES)
def test_options_do_what_llamacpps_do(name: str, tmp_path: Path) -> None:
    """fixtures/make_llamacpp_options.py makes theirs."""
    f16 = os.environ.get("QUANTKIT_SMOLLM2_F16")
    folder = os.environ.get("QUANTKIT_LLAMACPP_QUANTS")
    if not f16 or not folder:
        pytest.skip("QUANTKIT_SMOLLM2_F16 and QUANTKIT_LLAMACPP_QUANTS are not set")
    theirs = Path(folder) / f"option-{name}.gguf"
    if not theirs.exists():
        pytest.skip(f"{theirs} is missing; make_llamacpp_options.py makes it")
    recipe, parameters = CASES[name]
    out = tmp_path / "out.gguf"
    quantize_file(f16, out, recipe, **parameters)
    assert out.read_bytes() == theirs.read_bytes()
