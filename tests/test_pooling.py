"""How sentence-transformers folders pool, as metadata."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from quantkit.errors import CheckpointError, FormatError, UnsupportedModelError
from quantkit.sources.checkpoint import CheckpointSource

from .families.cases import CASES
from .families.stored import checkpoint

BY_NAME = {case.name: case for case in CASES}
KINDS = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
MODULES = [
    {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.{kind}"}
    for i, (path, kind) in enumerate(KINDS.items())
]


def pooled(folder: Path, name: str, pooling: Any, modules: Any = MODULES) -> Path:
    """The checkpoint of a case, in a folder that pools."""
    model = checkpoint(BY_NAME[name], folder)
    (model / "modules.json").write_text(json.dumps(modules))
    (model / "1_Pooling").mkdir()
    (model / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    return model


@pytest.mark.parametrize(
    ("pooling", "number"),
    [
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, 1),
        ({"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True}, 2),
        ({"pooling_mode_lasttoken": True}, 3),
        ({"pooling_mode": "lasttoken"}, 3),
    ],
)
@pytest.mark.parametrize("name", ["bert", "gemma-embedding", "qwen3", "qwen2", "arcee"])
def test_the_pooling_is_written(
    name: str, pooling: dict[str, Any], number: int, tmp_path: Path
) -> None:
    """By encoders, and by decoders that llama.cpp's converter writes it for."""
    plain = CheckpointSource(checkpoint(BY_NAME[name], tmp_path / "plain"), "f32")
    fields = CheckpointSource(pooled(tmp_path, name, pooling), "f32").model_fields
    key = f"{fields['general.architecture'].value}.pooling_type"
    assert fields[key].value == number
    assert {k: v for k, v in fields.items() if k != key} == plain.model_fields


def test_other_families_do_not_read_it(tmp_path: Path) -> None:
    """Whatever is in it."""
    folder = pooled(tmp_path, "llama", {"pooling_mode": "attention"}, modules={})
    fields = CheckpointSource(folder, "f32").model_fields
    assert "llama.pooling_type" not in fields


def test_a_key_of_config_json_is_not_believed(tmp_path: Path) -> None:
    """The pooling is in other files."""
    folder = checkpoint(BY_NAME["bert"], tmp_path)
    config = json.loads((folder / "config.json").read_text())
    config["sentence_transformers_pooling"] = "some"
    (folder / "config.json").write_text(json.dumps(config))
    assert "bert.pooling_type" not in CheckpointSource(folder, "f32").model_fields


@pytest.mark.parametrize(
    ("modules", "pooling", "error", "message"),
    [
        (MODULES, {"pooling_mode": "attention"}, UnsupportedModelError, "'attention'"),
        (MODULES, {"pooling_mode_max_tokens": True}, UnsupportedModelError, "max_tok"),
        (MODULES, [], FormatError, "config.json holds a list"),
        ({"1": {}}, {}, FormatError, "modules.json holds a dict"),
        (
            [{"type": "Pooling", "path": "../x"}],
            {},
            CheckpointError,
            "expected one ins",
        ),
        (
            [{"type": "Pooling", "path": "2"}],
            {},
            CheckpointError,
            "2/config.json, which",
        ),
    ],
)
def test_wrong_files(
    modules: Any, pooling: Any, error: type[Exception], message: str, tmp_path: Path
) -> None:
    """The file is named."""
    with pytest.raises(error, match=message):
        CheckpointSource(pooled(tmp_path, "bert", pooling, modules), "f32")
