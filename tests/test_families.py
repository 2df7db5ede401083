"""Every model family: the file that llama.cpp writes, the logits of transformers.

The fixtures hold what both made of the cases in tests/families; where torch,
transformers and llama.cpp's source are installed, `pytest -m reference` asks them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantkit.errors import UnsupportedModelError
from quantkit.inference.weights import MemoryWeights
from quantkit.models import all_families, family_named, load_model
from quantkit.models.family import Family

from .families.cases import CASES, RUN, Case
from .families.class_table import PAGE, page_with_tables
from .families.describe import described_metadata, described_tensors
from .families.stored import (
    checkpoint,
    fixture,
    known_logits,
    known_rows,
    logits_of,
    source_of,
)

BY_NAME = [pytest.param(case, id=case.name) for case in CASES]
FolderOf = Callable[[Case], Path]


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> FolderOf:
    """The checkpoint of a case, which is made once and read by several tests."""
    folders: dict[str, Path] = {}

    def folder(case: Case) -> Path:
        if case.name not in folders:
            place = tmp_path_factory.mktemp("case")
            folders[case.name] = checkpoint(case, place)
        return folders[case.name]

    return folder


@pytest.mark.parametrize("case", BY_NAME)
def test_metadata_is_that_of_llama_cpp(case: Case, folder_of: FolderOf) -> None:
    """Keys, types, values and order; a case states what llama.cpp leaves out."""
    source = source_of(folder_of(case))
    expected = fixture(case)["metadata"]
    found = described_metadata(source.model_fields)
    for key, value in described_metadata(case.added).items():
        assert found.pop(key) == value
    assert found == expected
    assert list(found) == list(expected)


@pytest.mark.parametrize("outtype", ["f32", "f16"])
@pytest.mark.parametrize("case", BY_NAME)
def test_tensors_are_those_of_llama_cpp(
    case: Case, outtype: str, folder_of: FolderOf
) -> None:
    """Names, order, types, shapes and bytes."""
    source = source_of(folder_of(case), outtype)
    expected = fixture(case)["tensors"][outtype]
    found = described_tensors(source.tensors)
    assert found == expected
    assert list(found) == list(expected)


@pytest.mark.parametrize("case", [pytest.param(c, id=c.name) for c in RUN])
def test_logits_are_those_of_transformers(case: Case, folder_of: FolderOf) -> None:
    """In f32, within what the order of sums may change."""
    tokens, expected = known_logits(case)
    logits = logits_of(folder_of(case), tokens)
    logits = logits[known_rows(case, len(tokens))]
    spread = np.ptp(expected)
    assert spread > 1
    assert np.abs(logits - expected).max() < case.tolerance * spread


def test_every_family_has_a_case() -> None:
    """Each class that quantkit knows is among the checkpoints."""
    covered = {
        name for case in CASES for name in fixture(case)["config"]["architectures"]
    }
    aliases = {name for family in all_families() for name in family.hf_classes[1:]}
    known = {name for family in all_families() for name in family.hf_classes}
    assert known - aliases <= covered


def test_the_tables_of_classes_are_right() -> None:
    """`python -m tests.families.class_table` writes it."""
    page = PAGE.read_text()
    assert page_with_tables(page) == page


def test_a_family_says_why_it_is_not_run() -> None:
    """If it has no forward pass, or one that is of another family.

    Where another class of the architecture runs, the metadata tells them apart.
    """
    for family in all_families():
        if type(family).load is Family.load:
            assert family.not_run, family.name
        is_first = family_named(family.name) is family
        if family.not_run and family.predicts_text and is_first:
            with pytest.raises(UnsupportedModelError, match=re.escape(family.not_run)):
                load_model({}, family.name, MemoryWeights({}), {})


def test_classes_of_one_architecture_run_alike() -> None:
    """A GGUF file names the architecture, not the class that it came from.

    Its metadata also tells encoders from models that predict text.
    """
    for family in all_families():
        if family.not_run:
            continue
        kind = family.name, family.predicts_text
        first = type(
            next(e for e in all_families() if (e.name, e.predicts_text) == kind)
        )
        for part in ("load", "load_encoder", "traits", "gating"):
            assert getattr(type(family), part, None) is getattr(first, part, None)


def without_version(value: Any) -> Any:
    """A fixture without the version of transformers that its configs state."""
    if not isinstance(value, dict):
        return value
    kept = {k: v for k, v in value.items() if k != "transformers_version"}
    return {key: without_version(each) for key, each in kept.items()}


@pytest.mark.reference
@pytest.mark.parametrize("case", BY_NAME)
def test_fixtures_are_what_the_references_say(case: Case, tmp_path: Path) -> None:
    """Compare with the installed transformers and llama.cpp."""
    pytest.importorskip("transformers", reason="needs transformers")
    if "QUANTKIT_LLAMACPP_SOURCE" not in os.environ:
        pytest.skip("QUANTKIT_LLAMACPP_SOURCE names no folder")
    from .families.make_fixtures import made

    known = fixture(case)
    fresh, tokens, logits = made(case, tmp_path)
    assert without_version(fresh) == without_version(known)
    assert (logits is not None) == case.runs
    if logits is None:
        return
    known_tokens, expected = known_logits(case)
    assert np.array_equal(known_tokens, tokens)
    logits = logits[known_rows(case, len(tokens))]
    assert np.abs(expected - logits).max() < 1e-5 * np.ptp(expected)
