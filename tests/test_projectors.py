"""Vision encoders: the file that llama.cpp's converter writes with `--mmproj`.

The fixtures hold what it made of the cases in tests/projectors; where torch,
transformers and llama.cpp's source are installed, `pytest -m reference` asks again.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from quantkit.checkpoint.lazy import values_of
from quantkit.checkpoint.lazy_functions import DTYPES
from quantkit.projectors import ENCODERS
from quantkit.projectors.batch_norm import with_folded_norms
from quantkit.sources.projector import ProjectorSource
from quantkit.types import QuantType

from .families.describe import described_metadata, described_tensors
from .projectors.all_cases import CASES
from .projectors.cases import ProjectorCase
from .projectors.stored import OUTTYPES, checkpoint, fixture, shortened
from .test_families import without_version
from .test_lazy import Stored

BY_NAME = [pytest.param(case, id=case.name) for case in CASES]
# It counts the weights, and we write one tensor more.
COUNTED = "general.size_label"


@pytest.mark.parametrize("case", BY_NAME)
def test_metadata_is_that_of_llama_cpp(case: ProjectorCase, tmp_path: Path) -> None:
    """Keys, types, values and order."""
    source = ProjectorSource(checkpoint(case, tmp_path), "f32")
    expected = fixture(case)["metadata"]
    found = described_metadata(source.metadata)
    assert list(found) == list(expected)
    if not case.added:
        assert found.pop(COUNTED) == expected.pop(COUNTED)
    assert {**found, COUNTED: 0} == {**expected, COUNTED: 0}


@pytest.mark.parametrize("outtype", OUTTYPES)
@pytest.mark.parametrize("case", BY_NAME)
def test_tensors_are_those_of_llama_cpp(
    case: ProjectorCase, outtype: str, tmp_path: Path
) -> None:
    """Names, order, types, shapes and bytes."""
    source = ProjectorSource(checkpoint(case, tmp_path), outtype)
    expected = fixture(case)["tensors"][outtype]
    tensors = described_tensors(source.tensors)
    for name in case.added:
        del tensors[name]
    found = shortened(case, outtype, tensors)
    assert found == expected
    assert list(found) == list(expected)


def test_every_encoder_has_a_case() -> None:
    """At least its first class."""
    covered: set[str] = set()
    for case in CASES:
        config = fixture(case)["config"]
        vision = config.get("vision_config") or {}
        own = vision.get("architectures") or config["architectures"]
        covered |= set(own)
    assert {encoder.hf_classes[0] for encoder in ENCODERS} <= covered


def test_published_configs_of_kimi_have_other_keys(tmp_path: Path) -> None:
    """They mean the same as those that transformers writes."""
    (case,) = (case for case in CASES if case.name == "kimi-k2.5")
    folder = checkpoint(case, tmp_path)
    expected = described_metadata(ProjectorSource(folder, "f32").metadata)
    config = json.loads((folder / "config.json").read_text())
    vision = config["vision_config"]
    for key in ("hidden_size", "intermediate_size", "num_hidden_layers"):
        vision[f"vt_{key}"] = vision.pop(key)
    vision["vt_num_attention_heads"] = vision.pop("num_attention_heads")
    (folder / "config.json").write_text(json.dumps(config))
    assert described_metadata(ProjectorSource(folder, "f32").metadata) == expected


@pytest.mark.reference
@pytest.mark.parametrize("case", BY_NAME)
def test_fixtures_are_what_the_references_say(
    case: ProjectorCase, tmp_path: Path
) -> None:
    """Compare with the installed transformers and llama.cpp."""
    pytest.importorskip("transformers", reason="needs transformers")
    if "QUANTKIT_LLAMACPP_SOURCE" not in os.environ:
        pytest.skip("QUANTKIT_LLAMACPP_SOURCE names no folder")
    from .projectors.make_fixtures import made

    fresh = made(case, tmp_path)
    assert without_version(fresh) == without_version(fixture(case))


@pytest.mark.parametrize("kind", [QuantType.F32, QuantType.F16])
def test_batch_norms_are_a_factor_and_a_term(kind: QuantType) -> None:
    """Of the precision of their tensors; torch's square roots may be less exact."""
    rng, dtype = np.random.default_rng(3), DTYPES[kind]
    weight, bias, mean = rng.standard_normal((3, 64)).astype(dtype)
    variance = rng.uniform(0.1, 4, 64).astype(dtype)
    values = {
        "weight": weight,
        "bias": bias,
        "running_mean": mean,
        "running_var": variance,
    }
    one = "a.conv.batch_norm."
    stored = {f"{one}{part}": Stored(array, kind) for part, array in values.items()}
    made = with_folded_norms(
        {f"{one}num_batches_tracked": Stored(bias, kind), **stored}
    )
    assert list(made) == [f"{one}weight", f"{one}bias"]
    exact = weight / np.sqrt(variance + np.float64(1e-5))
    found = values_of(made[f"{one}weight"])
    epsilon = np.finfo(found.astype(dtype).dtype).eps
    assert np.all(np.abs(found - exact) <= 2 * epsilon * np.abs(exact))
    assert np.array_equal(found, found.astype(dtype))
    term = bias - (mean * found.astype(dtype)).astype(dtype)
    assert np.array_equal(values_of(made[f"{one}bias"]), term.astype(np.float32))


def test_both_layouts_of_qwen3_asr_are_one_model(tmp_path: Path) -> None:
    """The published one, which the fixture has, and that of transformers."""
    (case,) = (case for case in CASES if case.name == "qwen3-asr")
    published = ProjectorSource(checkpoint(case, tmp_path / "a"), "f16")
    folder = checkpoint(case, tmp_path / "b")
    config = json.loads((folder / "config.json").read_text())
    config |= config.pop("thinker_config")
    (folder / "config.json").write_text(json.dumps(config))
    arrays = load_file(folder / "model.safetensors")
    projector = "model.multi_modal_projector.linear_"
    renamed = {
        name.replace("thinker.audio_tower.", "model.audio_tower.").replace(
            "model.audio_tower.proj", projector
        ): array
        for name, array in arrays.items()
    }
    assert any(name.startswith(projector) for name in renamed)
    save_file(renamed, folder / "model.safetensors")
    written = ProjectorSource(folder, "f16")
    assert described_tensors(written.tensors) == described_tensors(published.tensors)
    assert described_metadata(written.metadata) == described_metadata(
        published.metadata
    )
