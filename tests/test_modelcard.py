"""Names taken apart, and what a model's files tell about where it comes from."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from quantkit.checkpoint.model_card import general_fields
from quantkit.checkpoint.model_name import ModelName, size_label, title
from quantkit.errors import CheckpointError, OptionError
from quantkit.gguf.keys import ValueType


# Expected values: gguf-py's Metadata.get_model_id_components (llama.cpp b11434), which
# gives the same for 90,000 names made at random.
@pytest.mark.parametrize(
    ("model_id", "n_weights", "parts"),
    [
        ("Mistral-7B-Instruct-v0.2", 0, (None, "Mistral", "Instruct", "v0.2", "7B")),
        ("meta-llama/Llama-2-7b-hf", 0, ("meta-llama", "Llama-2", "hf", None, "7B")),
        ("Meta-Llama-3.1-8B", 0, (None, "Meta-Llama-3.1", None, None, "8B")),
        ("Qwen3-30B-A3B-2507", 0, (None, "Qwen3", None, "2507", "30B-A3B")),
        ("Mixtral-8x7B-v0.1", 0, (None, "Mixtral", None, "v0.1", "8x7B")),
        ("bloom-7b1", 0, (None, "bloom", None, None, "7.1B")),
        ("Yi-34B-200K", 34_000_000_000, (None, "Yi", "200k", None, "34B")),
        ("gpt2-xl", 0, (None, "gpt2", None, None, "xl")),
        ("x-small-7B", 0, (None, "x-small", None, None, "7B")),
        ("foo-Q4_K-7B-7B", 0, (None, "foo", None, None, "7B")),
        ("llama-v2", 0, (None, "llama", None, "v2", None)),
        ("7B", 0, (None, None, "7B", None, None)),
        ("./foo-1B", 0, (None, "foo", None, None, "1B")),
        ("smol", 0, (None, None, None, None, None)),
        ("Just a sentence-7B", 0, (None, None, None, None, None)),
    ],
)
def test_name_is_taken_apart(
    model_id: str, n_weights: int, parts: tuple[str | None, ...]
) -> None:
    """Organization, basename, finetune, version and size, each where it is told."""
    name = ModelName.parse(model_id, n_weights)
    found = (
        name.organization,
        name.basename,
        name.finetune,
        name.version,
        name.size_label,
    )
    assert found == parts


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("tiny-llama-v1.0", "Tiny Llama v1.0"),
        ("SmolLM2-135M", "SmolLM2 135M"),
        ("GPT-neo 3b", "GPT Neo 3b"),
    ],
)
def test_title(name: str, wanted: str) -> None:
    """Words are capitalized; acronyms, versions and numbers stay."""
    assert title(name) == wanted


@pytest.mark.parametrize(
    ("n_weights", "label"),
    [
        (134_515_008, "135M"),
        (4_196_608, "4.2M"),
        (1_543_714_304, "1.5B"),
        (999, "1.0K"),
        (1_000_000, "1000K"),
        (405_853_388_800, "406B"),
        (1_026_470_731_056, "1.0T"),
    ],
)
def test_size_label(n_weights: int, label: str) -> None:
    """At least two digits, in thousands, millions, billions or trillions."""
    assert size_label(n_weights) == label


def values_of(folder: Path) -> dict[str, Any]:
    fields = general_fields(folder, 7_000_000_000, "7.0B")
    return {key.removeprefix("general."): field.value for key, field in fields.items()}


def model(folder: Path, config: str = "{}") -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(config)
    return folder


def test_name_of_the_folder(tmp_path: Path) -> None:
    """Without a card the folder's name tells, and the weights are counted."""
    assert values_of(model(tmp_path / "my-model")) == {
        "name": "My Model",
        "size_label": "7.0B",
    }


def test_name_in_the_config(tmp_path: Path) -> None:
    """The repository's name goes before the folder's; a path on a disk does not."""
    stated = '{"_name_or_path": "org-x/foo-7B-Chat"}'
    assert values_of(model(tmp_path / "x-v2", stated)) == {
        "name": "Foo 7B Chat",
        "version": "v2",
        "organization": "Org X",
        "finetune": "Chat",
        "basename": "foo",
        "size_label": "7B",
    }
    path = '{"_name_or_path": "/home/me/foo-7B"}'
    assert values_of(model(tmp_path / "bar", path))["name"] == "Bar"


CARD = """---
license:
- apache-2.0
- mit
license_link: https://example.com/licence
model_creator: Someone
version: 1.10
language:
- en
- no
tags: [chat]
pipeline_tag: text-generation
base_model:
- org/base-7B
- https://huggingface.co/other-org/Base
- https://example.com/base
- {name: Given, description: As it is}
datasets: org/data
---
# Model
---
"""


def test_front_matter(tmp_path: Path) -> None:
    """All values are texts: neither Norwegian nor a version is anything else."""
    folder = model(tmp_path / "m")
    (folder / "README.md").write_text(CARD, encoding="utf-8")
    wanted = {
        "name": "M",
        "author": "Someone",
        "version": "1.10",
        "size_label": "7.0B",
        "license": "apache-2.0,mit",
        "license.link": "https://example.com/licence",
        "base_model.count": 4,
        "base_model.0.name": "Base 7B",
        "base_model.0.organization": "Org",
        "base_model.0.repo_url": "https://huggingface.co/org/base-7B",
        "base_model.1.name": "Base",
        "base_model.1.organization": "Other Org",
        "base_model.1.repo_url": "https://huggingface.co/other-org/Base",
        "base_model.2.repo_url": "https://example.com/base",
        "base_model.3.name": "Given",
        "base_model.3.description": "As it is",
        "dataset.count": 1,
        "dataset.0.name": "Data",
        "dataset.0.organization": "Org",
        "dataset.0.repo_url": "https://huggingface.co/org/data",
        "tags": ["chat", "text-generation"],
        "languages": ["en", "no"],
    }
    assert list(values_of(folder).items()) == list(wanted.items())


@pytest.mark.parametrize(
    "card", ["", "# no front matter", "---\nnever: closed\n", "---\n- a list\n---\n"]
)
def test_card_without_front_matter(tmp_path: Path, card: str) -> None:
    """A README that tells nothing changes nothing."""
    folder = model(tmp_path / "m")
    (folder / "README.md").write_text(card)
    assert values_of(folder) == {"name": "M", "size_label": "7.0B"}


def test_damaged_front_matter_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is no reason to refuse a model; a warning names the file."""
    folder = model(tmp_path / "m")
    (folder / "README.md").write_text("---\na: [\n---\n")
    with caplog.at_level(logging.WARNING):
        assert values_of(folder) == {"name": "M", "size_label": "7.0B"}
    assert "README.md" in caplog.text


def test_sampling_comes_first(tmp_path: Path) -> None:
    """What generation_config.json says, by GGUF's names and types."""
    folder = model(tmp_path / "m")
    config = {"temperature": 1, "top_k": 20, "repetition_penalty": 1.05, "min_p": None}
    (folder / "generation_config.json").write_text(json.dumps(config))
    fields = list(general_fields(folder, 1, "1.0K").items())[:4]
    assert [(key, field.type, field.value) for key, field in fields] == [
        ("general.sampling.top_k", ValueType.INT32, 20),
        ("general.sampling.temp", ValueType.FLOAT32, 1.0),
        ("general.sampling.penalty_repeat", ValueType.FLOAT32, 1.05),
        ("general.name", ValueType.STRING, "M"),
    ]


def test_damaged_generation_config_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Some models ship one that is no JSON; llama.cpp takes no notice either."""
    folder = model(tmp_path / "m")
    (folder / "generation_config.json").write_text("{,}")
    with caplog.at_level(logging.WARNING):
        assert values_of(folder) == {"name": "M", "size_label": "7.0B"}
    assert "generation_config.json" in caplog.text


@pytest.mark.parametrize(
    "matter",
    [
        "language:\n  - name: en",
        "language: {a: b}",
        "tags:\n  - {a: b}\n  - [c]",
        "license: [[a]]\nname: {a: b}",
        "base_model: {a: {b: c}}",
        "base_model: [[a]]\ndatasets:\n- x: [y]",
        'name: "\\ud800"',
        "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\ntags: [*c, *c]\nname: *c",
        "tags: &a\n- *a",
    ],
)
def test_objects_where_texts_belong(
    matter: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """They are left out, and a warning names the file and the key."""
    folder = model(tmp_path / "m")
    (folder / "README.md").write_text(f"---\n{matter}\n---\n")
    with caplog.at_level(logging.WARNING):
        assert values_of(folder) == {"name": "M", "size_label": "7.0B"}
    assert f"{folder / 'README.md'}: " in caplog.text


def test_texts_beside_objects(tmp_path: Path) -> None:
    folder = model(tmp_path / "m")
    card = "language: [en, {a: b}]\ntags: &t [x, y]\nmodel_name: Own\ndatasets: *t"
    (folder / "README.md").write_text(f"---\n{card}\n---\n")
    found = values_of(folder)
    assert (found["languages"], found["tags"]) == (["en"], ["x", "y"])
    assert (found["name"], found["dataset.1.name"]) == ("Own", "Y")


@pytest.mark.parametrize(
    "card",
    [
        b"---\n" + b"a: [" * 50_000 + b"\n---\n",
        b'---\nname: "\\UFFFFFFFF"\n---\n',
        b"---\nname: \x00\n---\n",
        b"---\nname: [\xff\n---\n",
        b"---\n" + b"#" * (2 << 20) + b"\nname: late\n---\n",
        b"---\n? [a]\n: b\n---\n",
    ],
    ids=range(6),
)
def test_hostile_front_matter(
    card: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Deep, damaged or huge: ignored with a warning."""
    folder = model(tmp_path / "m")
    (folder / "README.md").write_bytes(card)
    with caplog.at_level(logging.WARNING):
        assert values_of(folder) == {"name": "M", "size_label": "7.0B"}
    assert "README.md" in caplog.text


def test_only_the_start_of_a_card_is_read(tmp_path: Path) -> None:
    """A file of 1 GB, almost all of it a hole."""
    folder = model(tmp_path / "m")
    with (folder / "README.md").open("wb") as file:
        file.write(b"---\nname: Own\n---\n")
        file.truncate(1 << 30)
    assert values_of(folder)["name"] == "Own"


@pytest.mark.parametrize("value", [{"a": 1}, [[1]], [{}], True])
def test_given_values_of_other_kinds(value: Any, tmp_path: Path) -> None:
    given = tmp_path / "given.json"
    given.write_text(json.dumps({"general.tags": value}))
    with pytest.raises(OptionError, match=r"given.json: general.tags is "):
        general_fields(model(tmp_path / "m"), 1, "1.0K", given)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"top_k": "20"}, "top_k is '20'; expected an integer"),
        ({"top_k": 20.5}, "top_k is 20.5; expected an integer"),
        ({"temperature": True}, "temperature is True; expected a finite number"),
        ({"repetition_penalty": 1e39}, r"repetition_penalty is 1e\+39; expected a f"),
        ({"top_p": [0.5]}, r"top_p is \[0.5\]; expected a finite number"),
    ],
)
def test_sampling_settings_have_types(
    tmp_path: Path, settings: dict[str, Any], words: str
) -> None:
    """The message names the file and the key; null is no setting."""
    path = tmp_path / "generation_config.json"
    path.write_text(json.dumps(settings))
    with pytest.raises(CheckpointError, match=rf"generation_config\.json: {words}"):
        general_fields(tmp_path, 0, "1M")
    path.write_text(json.dumps({"top_k": 20.0, "top_p": 1, "temperature": None}))
    fields = general_fields(tmp_path, 0, "1M")
    assert fields["general.sampling.top_k"].value == 20
    assert fields["general.sampling.top_p"].value == 1.0
    assert "general.sampling.temp" not in fields
