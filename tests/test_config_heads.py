"""Tied heads, expert groups, windows and bases without use, types that contradict."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from quantkit.checkpoint.folder import read_config
from quantkit.errors import CheckpointError, FormatError, UnsupportedModelError
from quantkit.models import (
    all_families,
    check_model,
    family_for_config,
    settled,
)
from quantkit.models.family import Family
from quantkit.sources.checkpoint import CheckpointSource

from .families.cases import CASES
from .families.llamacpp_loaders import heads_required
from .families.stored import checkpoint, fixture, source_of

BY_NAME = {case.name: case for case in CASES}
HEAD, EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"


@pytest.mark.parametrize("name", ["hunyuan", "gemma", "plm", "bitnet", "pangu-tied"])
def test_a_tied_head_is_left_out_only_if_it_is_the_embedding(
    name: str, tmp_path: Path
) -> None:
    """transformers uses another head, although the config ties it."""
    folder = checkpoint(BY_NAME[name], tmp_path)
    path = folder / "model.safetensors"
    tensors = load_file(path)
    save_file({**tensors, HEAD: tensors[EMBEDDING].copy()}, path)
    assert "output.weight" not in CheckpointSource(folder, "f32").tensors
    save_file({**tensors, HEAD: tensors[EMBEDDING] + np.float32(1)}, path)
    with pytest.raises(CheckpointError, match=r"'lm_head\.weight' differs from"):
        CheckpointSource(folder, "f32")


@pytest.mark.parametrize("name", ["hy-v4", "dots1", "gpt-oss", "minimax-m2"])
def test_a_head_that_readers_need_is_written(name: str, tmp_path: Path) -> None:
    """Also if the config ties it and the checkpoint stores only the embedding.

    Files that llama.cpp's converter makes of such checkpoints lack it.
    """
    folder = checkpoint(BY_NAME[name], tmp_path)
    path, weights = folder / "config.json", folder / "model.safetensors"
    config = {**json.loads(path.read_text()), "tie_word_embeddings": True}
    path.write_text(json.dumps(config))
    tensors = {k: v for k, v in load_file(weights).items() if k != HEAD}
    save_file(tensors, weights)
    source = source_of(folder)
    made = dict(source.tensors)
    embedding, head = (made[n] for n in ("token_embd.weight", "output.weight"))
    assert head.read(0, 5).tobytes() == embedding.read(0, 5).tobytes()
    del made["output.weight"]
    shapes = {k: tensor.shape for k, tensor in made.items()}
    arch = str(source.model_fields["general.architecture"].value)
    with pytest.raises(FormatError, match=r"no output head .* tied"):
        check_model(source.model_fields, arch, shapes)


@pytest.mark.reference
def test_heads_are_required_where_llamacpps_loader_requires_them() -> None:
    """Where it takes the embedding, the head must not be written twice."""
    if "QUANTKIT_LLAMACPP_SOURCE" not in os.environ:
        pytest.skip("QUANTKIT_LLAMACPP_SOURCE names no folder")
    required = heads_required(Path(os.environ["QUANTKIT_LLAMACPP_SOURCE"]))
    ours = {
        (type(family).__name__, family.name): family.layout.head == "required"
        for family in all_families()
        if family.has_vocabulary and family.name in required
    }
    assert len(ours) > 100
    assert ours == {key: required[key[1]] for key in ours}


def test_a_head_that_readers_do_not_take_is_refused(tmp_path: Path) -> None:
    """Those of Granite Switch take the embedding."""
    folder = checkpoint(BY_NAME["granite-switch"], tmp_path)
    path = folder / "config.json"
    config = {**json.loads(path.read_text()), "tie_word_embeddings": False}
    path.write_text(json.dumps(config))
    with pytest.raises(UnsupportedModelError, match="tie_word_embeddings: False"):
        source_of(folder)


@pytest.mark.parametrize(
    ("outer", "inner", "tied"),
    [
        ({"tie_word_embeddings": True}, {"tie_word_embeddings": False}, True),
        ({"tie_word_embeddings": False}, {"tie_word_embeddings": True}, True),
        ({}, {"tie_word_embeddings": True}, True),
        ({"tie_word_embeddings": True}, {}, True),
        ({"tie_word_embeddings": False}, {}, False),
    ],
)
def test_the_head_is_tied_if_either_config_says_so(
    outer: dict[str, Any], inner: dict[str, Any], tied: bool, tmp_path: Path
) -> None:
    """transformers 5 asks the outer config; older versions wrote it to the inner."""
    config = {**outer, "text_config": {"hidden_size": 8, **inner}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    found = read_config(tmp_path)
    assert found is not None
    assert found["tie_word_embeddings"] is tied


def test_groups_of_experts_without_a_method_that_reads_them() -> None:
    """With `greedy`, DeepSeek 2 chooses among all experts, as without groups."""
    config = {**fixture(BY_NAME["deepseek-v2"])["config"], "n_routed_experts": 8}
    config |= {"n_group": 4, "topk_group": 1, "topk_method": "greedy"}
    family, complete = settled(config)
    assert "expert_group_count" not in family.hyperparameters(complete, 0)
    family, complete = settled({**config, "topk_method": "group_limited_greedy"})
    assert family.hyperparameters(complete, 0)["expert_group_count"].value == 4


@pytest.mark.parametrize(
    ("window", "is_told"), [(64, True), (256, False), (None, False)]
)
def test_ignored_windows_are_told(
    window: int | None, is_told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """GGUF has no key for Mistral's; what llama.cpp accepts is not refused."""
    config = fixture(BY_NAME["mistral"])["config"]
    family, complete = settled({**config, "sliding_window": window})
    with caplog.at_level(logging.WARNING):
        family.check_settings(complete)
    assert ("sliding_window 64" in caplog.text) is is_told


@pytest.mark.parametrize(("base", "is_told"), [(1e6, True), (1e4, False)])
def test_a_base_that_rope_scaling_replaces_is_told(
    base: float, is_told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """transformers 5 drops it in silence, which is rarely what was meant."""
    config = fixture(BY_NAME["qwen2"])["config"] | {
        "rope_parameters": {"rope_type": "default", "rope_theta": base},
        "rope_scaling": {"rope_type": "linear", "factor": 2.0},
    }
    family, complete = settled(config)
    with caplog.at_level(logging.WARNING):
        family.check_settings(complete)
    assert ("rope_theta 1e+06 in rope_parameters" in caplog.text) is is_told


OF_THEIR_TYPE = [
    family for family in all_families() if not family.drafts and family.suits({})
]
"""Families of models whose `model_type` is their own, and not that of their target;
where the config decides between families of a class, the one without its keys."""


@pytest.mark.parametrize(
    "family", OF_THEIR_TYPE, ids=lambda family: family.hf_classes[0]
)
def test_the_class_and_the_type_of_a_model_agree(family: Family) -> None:
    """transformers chooses by `model_type`, llama.cpp by `architectures`."""
    has_llama = family.name == "llama" or "llama" in family.model_types
    kind = "gpt2" if has_llama else "llama"
    config = {"architectures": [family.hf_classes[0]], "model_type": kind}
    said = f"the architecture '{family.hf_classes[0]}', but its model_type is '{kind}'"
    with pytest.raises(CheckpointError, match=said):
        family_for_config(config)
    found = family_for_config({**config, "model_type": "of-someone"})
    assert found.hf_classes[0] == family.hf_classes[0]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("LlamaForCausalLM", "mistral"),
        ("Qwen3MoeForCausalLM", "qwen3_moe"),
        ("GPTNeoXForCausalLM", "gpt_neox"),
        ("GPT2LMHeadModel", "gpt2"),
        ("Gemma3ForConditionalGeneration", "gemma3_text"),
        ("Ernie4_5ForCausalLM", "ernie4_5"),
        ("DeepseekV3ForCausalLM", "deepseek_v3"),
        ("QWenLMHeadModel", "qwen"),
        ("ChatGLMModel", "chatglm"),
    ],
)
def test_types_of_classes(name: str, kind: str) -> None:
    family = family_for_config({"architectures": [name], "model_type": kind})
    assert name in family.hf_classes
