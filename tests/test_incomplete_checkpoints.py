"""Checkpoints whose tensors do not form a whole model are not converted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import quantkit as qk
from quantkit.gguf import GGUFFile
from quantkit.tasks.convert import convert
from quantkit.tasks.quantize import quantize_file

from .test_convert import VOCAB, checkpoint, weights

LAYER = "model.layers.0."
Use = Callable[[Path, Path], Any]

USES: dict[str, Use] = {
    "convert": convert,
    "convert to a recipe": lambda folder, out: convert(folder, out, "Q8_0"),
    "quantize": lambda folder, out: quantize_file(folder, out, "Q8_0"),
    "perplexity": lambda folder, out: qk.perplexity(folder, "a" * 2000),
    "run": lambda folder, out: qk.Model.open(folder),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_missing_norm_is_named(use: Use, tmp_path: Path) -> None:
    """Whatever is done with the checkpoint; nothing is written."""
    tensors = weights()
    del tensors[f"{LAYER}post_attention_layernorm.weight"]
    folder = checkpoint(tmp_path / "model", tensors)
    with pytest.raises(qk.CheckpointError, match=r"lacks.*'blk\.0\.ffn_norm\.weight'"):
        use(folder, tmp_path / "out.gguf")
    assert not (tmp_path / "out.gguf").exists()


def test_a_matrix_of_another_model_is_named(tmp_path: Path) -> None:
    """The shape that it has, and the one that the config gives."""
    tensors = weights() | {f"{LAYER}mlp.up_proj.weight": np.ones((60, 48), np.float16)}
    folder = checkpoint(tmp_path / "model", tensors)
    message = r"'blk\.0\.ffn_up\.weight' has the shape \[60, 48\]; expected \[64, 48\]"
    with pytest.raises(qk.CheckpointError, match=message):
        convert(folder, tmp_path / "out.gguf")


@pytest.mark.parametrize("n_rows", [VOCAB + 8, VOCAB - 8])
@pytest.mark.parametrize("pad_vocab", [False, True])
def test_rows_unlike_the_vocabulary(
    n_rows: int, pad_vocab: bool, tmp_path: Path
) -> None:
    """Of the embedding; padding fills up to the config's size, so it cannot help."""
    rows = np.ones((n_rows, 48), np.float16)
    tensors = weights() | {"model.embed_tokens.weight": rows}
    folder = checkpoint(tmp_path / "model", tensors)
    message = (
        f"vocabulary has {VOCAB} tokens, .* embedding has {n_rows} rows; config.json "
        f"has vocab_size: {VOCAB}, and should have {n_rows}: correct it"
    )
    with pytest.raises(qk.CheckpointError, match=message):
        convert(folder, tmp_path / "out.gguf", pad_vocab=pad_vocab)


def test_fewer_tokens_than_the_config_has(tmp_path: Path) -> None:
    """The vocabulary is padded: the correction that the error asks for works."""
    n_rows = VOCAB + 8
    rows = np.ones((n_rows, 48), np.float16)
    tensors = weights() | {"model.embed_tokens.weight": rows}
    folder = checkpoint(tmp_path / "model", tensors)
    config = folder / "config.json"
    settings = json.loads(config.read_text()) | {"vocab_size": n_rows}
    config.write_text(json.dumps(settings))
    convert(folder, tmp_path / "out.gguf")
    with GGUFFile(tmp_path / "out.gguf") as model:
        assert len(model.metadata["tokenizer.ggml.tokens"].value) == n_rows
