"""Draft models: they are converted beside their target, quantized, and not run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from quantkit import convert, quantize_file
from quantkit.errors import CheckpointError, OptionError, UnsupportedModelError
from quantkit.gguf.reader import GGUFFile
from quantkit.models import check_model, family_for_config
from quantkit.sources.checkpoint import CheckpointSource
from quantkit.types import QuantType

from .families.cases import CASES, Case
from .families.checkpoints import target_of
from .families.draft_cases import DRAFTS
from .families.stored import checkpoint, fixture, source_of
from .tokenizer_files import byte_level, write

DRAFTED = [pytest.param(case, id=case.name) for case in DRAFTS if case.target]
EAGLE = next(case for case in DRAFTS if case.name == "eagle3")
SPARK = next(case for case in DRAFTS if case.name == "dspark-speculator")
LLAMA = next(case for case in CASES if case.name == "llama")


def config_file(folder: Path, **changed: Any) -> None:
    """Change keys of config.json; None takes one away."""
    path = folder / "config.json"
    config = {**json.loads(path.read_text()), **changed}
    path.write_text(json.dumps({k: v for k, v in config.items() if v is not None}))


def target(folder: Path) -> Path:
    """The target of a checkpoint, with a tokenizer of 256 tokens."""
    found = target_of(folder)
    assert found is not None
    return write(found, tokenizer=byte_level())


def damaged(folder: Path, numbers: list[int]) -> None:
    """Replace the numbers of draft tokens."""
    path = folder / "model.safetensors"
    save_file({**load_file(path), "d2t": np.array(numbers, np.int64)}, path)


@pytest.mark.parametrize("case", DRAFTED)
def test_they_need_their_target(case: Case, tmp_path: Path) -> None:
    """The error says how to give it."""
    folder = checkpoint(case, tmp_path)
    with pytest.raises(CheckpointError, match=r"`convert\(target_model=FOLDER\)`"):
        CheckpointSource(folder)
    with pytest.raises(CheckpointError, match=r"has no config\.json"):
        CheckpointSource(folder, target_model=tmp_path)


def test_other_models_have_no_target(tmp_path: Path) -> None:
    """It would be ignored."""
    folder = checkpoint(LLAMA, tmp_path)
    with pytest.raises(OptionError, match="`target_model` has no effect: llama"):
        CheckpointSource(folder, target_model=folder)
    with pytest.raises(OptionError, match=r"`target_model` .* `tensors_only=True`"):
        convert(folder, tmp_path / "a.gguf", target_model=folder, tensors_only=True)


@pytest.mark.parametrize("case", DRAFTS, ids=lambda case: case.name)
def test_they_are_not_run(case: Case, tmp_path: Path) -> None:
    """The message says why."""
    source = source_of(checkpoint(case, tmp_path))
    shapes = {name: tensor.shape for name, tensor in source.tensors.items()}
    name = family_for_config(source.checkpoint.config).name
    with pytest.raises(UnsupportedModelError, match="does not run them: they draft"):
        check_model(source.model_fields, name, shapes)


def test_the_vocabulary_is_the_target_s(tmp_path: Path) -> None:
    """With as many tokens as the draft model's config says."""
    folder = checkpoint(SPARK, tmp_path)
    inner = json.loads((folder / "config.json").read_text())["transformer_layer_config"]
    config_file(folder, transformer_layer_config={**inner, "vocab_size": 260})
    convert(folder, tmp_path / "a.gguf", "f16", target_model=target(folder))
    quantize_file(tmp_path / "a.gguf", tmp_path / "b.gguf", "Q8_0")
    for name in "ab":
        with GGUFFile(tmp_path / f"{name}.gguf") as file:
            assert len(file.metadata["tokenizer.ggml.tokens"].value) == 260
            assert file.metadata["tokenizer.ggml.mask_token_id"].value == 109
            numbers = file.tensors["d2t"]
            assert numbers.type is QuantType.I64
            values = numbers.read(0, 1).view(np.int64)
            assert values.ravel().tolist() == list(range(0, 80, 2))


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ([0, -1, *[0] * 38], "two draft tokens have the same number"),
        ([112, *[0] * 39], "go from 1 to 112; expected 0 to 111"),
        ([-1, *[0] * 39], "go from -1 to 39; expected 0 to 111"),
        ([0] * 39, r"'d2t' has the shape \[39\]"),
    ],
)
def test_wrong_numbers_of_tokens(
    numbers: list[int], message: str, tmp_path: Path
) -> None:
    """Readers would draft other tokens."""
    folder = checkpoint(EAGLE, tmp_path)
    damaged(folder, numbers)
    with pytest.raises(CheckpointError, match=message):
        source_of(folder).tensors["d2t"].read(0, 1)


def test_a_smaller_vocabulary_needs_its_numbers(tmp_path: Path) -> None:
    """Without them nobody knows which tokens the draft model has."""
    folder = checkpoint(SPARK, tmp_path)
    path = folder / "model.safetensors"
    save_file({k: v for k, v in load_file(path).items() if k != "d2t"}, path)
    with pytest.raises(CheckpointError, match="the checkpoint has no 'd2t'"):
        source_of(folder)


def test_a_pickled_row_of_the_embedding_is_refused(tmp_path: Path) -> None:
    """The file would lack it."""
    folder = checkpoint(SPARK, tmp_path)
    (folder / "mask_embedding.pt").write_bytes(b"")
    with pytest.raises(UnsupportedModelError, match=r"mask_embedding\.pt: a pickled"):
        source_of(folder)


def test_eagle_may_have_the_class_of_llama(tmp_path: Path) -> None:
    """It is told by its draft vocabulary; the class alone does not suffice."""
    config = {**fixture(EAGLE)["config"], "architectures": ["LlamaForCausalLM"]}
    assert family_for_config(config).name == "eagle3"
    assert family_for_config({**config, "draft_vocab_size": None}).name == "llama"
    assert family_for_config({**config, "num_hidden_layers": 2}).name == "llama"
    folder = checkpoint(EAGLE, tmp_path)
    config_file(folder, draft_vocab_size=None)
    with pytest.raises(UnsupportedModelError, match="models of one layer"):
        source_of(folder)
    layers = "eagle_aux_hidden_state_layer_ids"
    config_file(folder, draft_vocab_size=40, **{layers: [1, 2]})
    with pytest.raises(UnsupportedModelError, match=r"\[1, 2\]; .* only 3"):
        source_of(folder)
