"""Decision models: a folder without config.json, and a template of prompts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from quantkit.errors import CheckpointError, QuantkitError, UnsupportedModelError
from quantkit.models import load_encoder
from quantkit.sources.checking import shapes_of
from quantkit.sources.checkpoint import CheckpointSource
from quantkit.vocab import tokenizer_fields

from .conftest import FIXTURES
from .families.cases import CASES
from .families.stored import checkpoint

CASE = next(case for case in CASES if case.name == "modern-bert-decision")
CONFIG: dict[str, Any] = {"architectures": ["ModernBertDecisionModel"], "decision": {}}
QUESTION = {"instructions": "Is it?", "state": ["a", 1]}
OPTIONS = [{"key": "true", "description": None}, {"key": "b", "description": "bee"}]


def rendered(folder: Path, head: dict[str, Any]) -> Callable[[str], str]:
    """What the template makes of a question of a kind."""
    jinja2 = pytest.importorskip("jinja2", reason="needs jinja2")
    shutil.copytree(FIXTURES / "vocabularies" / "bpe", folder / "tokenizer")
    settings = {"cls_token": "[C]", "sep_token": "[S]", "mask_token": "[M]"}
    (folder / "tokenizer" / "tokenizer_config.json").write_text(json.dumps(settings))
    fields = tokenizer_fields(folder, {**CONFIG, "decision": head}, "modern-bert")
    assert fields["tokenizer.ggml.token_type_count"].value == 3
    assert list(fields["tokenizer.chat_templates"].value) == ["systemone"]
    template = fields["tokenizer.chat_template.systemone"].value
    made = jinja2.Environment(autoescape=False).from_string(template)
    return lambda kind: str(made.render(**QUESTION, type=kind, options=OPTIONS))


def test_prompts_of_the_first_kind_of_models(tmp_path: Path) -> None:
    """How options are spelled depends on the kind of question."""
    prompt = rendered(tmp_path, {})
    start, end = "question: Is it?[S]", '[S]["a", 1][S]'
    assert prompt("choice") == f"[C]choice {start}[M] true[M] b: bee{end}"
    assert (
        prompt("score") == f"[C]score {start}[M] level true: null[M] level b: bee{end}"
    )
    expected = "[M] true: yes, the statement holds[M] b: bee"
    assert prompt("noul") == f"[C]noul {start}{expected}{end}"


def test_prompts_of_julia(tmp_path: Path) -> None:
    """The description, or the key."""
    prompt = rendered(tmp_path, {"architecture": "JuliaDecisionModel"})
    assert (
        prompt("score") == '[C]score question: Is it?[S][M] true[M] bee[S]["a", 1][S]'
    )


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("rl_agent_config.json", {"head_layers": None}, "lacks 'head_layers'"),
        ("rl_agent_config.json", {"head_layers": 0}, "head_layers is 0"),
        ("rl_agent_config.json", {"temperature": [0]}, "temperature of choice is 0"),
        ("rl_agent_config.json", {"temperature": 1}, "temperature is 1"),
        ("rl_agent_config.json", {"head_max_len": "x"}, "head_max_len is 'x'"),
        ("encoder/config.json", {"hidden_size": None}, "lacks 'hidden_size'"),
        ("encoder/config.json", {"num_hidden_layers": "x"}, "num_hidden_layers"),
    ],
)
def test_wrong_configs_are_named(
    tmp_path: Path, name: str, changes: dict[str, Any], message: str
) -> None:
    """Of the head and of the encoder."""
    folder = checkpoint(CASE, tmp_path)
    config = {**json.loads((folder / name).read_text()), **changes}
    (folder / name).write_text(json.dumps(config))
    with pytest.raises(QuantkitError, match=message):
        assert CheckpointSource(folder, "f32").model_fields


def test_a_class_alone_makes_no_decision_model(tmp_path: Path) -> None:
    """Its head needs a config, too, which is not in config.json."""
    folder = checkpoint(CASE, tmp_path)
    config = json.loads((folder / "encoder" / "config.json").read_text())
    (folder / "encoder" / "config.json").unlink()
    (folder / "config.json").write_text(json.dumps({**config, "decision": [1]}))
    with pytest.raises(CheckpointError, match=r"needs encoder/config\.json"):
        assert CheckpointSource(folder, "f32").model_fields


def test_files_of_decision_models_are_not_run(tmp_path: Path) -> None:
    """The message names the key."""
    source = CheckpointSource(checkpoint(CASE, tmp_path), "f32")
    fields, shapes = source.model_fields, shapes_of(source)
    with pytest.raises(UnsupportedModelError, match=r"decision\.block_count is 2"):
        load_encoder(fields, "modern-bert", None, shapes)  # type: ignore[arg-type]
