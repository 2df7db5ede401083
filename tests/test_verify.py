"""Whether a file can be made again: what it records, and what `verify` finds."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

import quantkit as qk
from quantkit.errors import FormatError, OptionError
from quantkit.files.identity import hash_files
from quantkit.gguf import GGUFFile, GGUFWriter, TensorSpec
from quantkit.gguf.keys import string
from quantkit.recipes.overrides import Overrides, TensorType
from quantkit.sources.edits import Edits, parse_field
from quantkit.tasks.demo import DEMO_MODEL
from quantkit.tasks.provenance import Origin, recorded_origin
from quantkit.tasks.quantize import quantize_file
from quantkit.tasks.verify import verify_file
from quantkit.types import QuantType

CHOSEN = Overrides((TensorType("ffn_up", QuantType.Q5_0),), token_embedding_type=None)
EDITS = Edits(
    dict(map(parse_field, ("general.name=str:Mine", "a.b=int:-5"))), frozenset([1])
)


def write_imatrix(model: Path, path: Path, seed: int = 0) -> Path:
    """Random importance for every matrix of a model."""
    rng = np.random.default_rng(seed)
    tensors: dict[str, np.ndarray] = {}
    with GGUFFile(model) as file:
        for name, tensor in file.tensors.items():
            if len(tensor.shape) > 1:
                sums = rng.random((1, tensor.n_cols), np.float32)
                tensors[f"{name}.in_sum2"] = sums
                tensors[f"{name}.counts"] = np.ones((1, 1), np.float32)
    specs = [TensorSpec(n, v.shape, QuantType.F32) for n, v in tensors.items()]
    with GGUFWriter(path, {"general.type": string("imatrix")}, specs) as writer:
        for name, values in tensors.items():
            writer.write(name, values.view(np.uint8))
    return path


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_provenance_is_asked_for_and_adds_keys_only(
    demo_f16: Path, tmp_path: Path
) -> None:
    """Without it a file is llama-quantize's; with it, but for four keys."""
    plain, told = tmp_path / "plain.gguf", tmp_path / "told.gguf"
    imatrix = write_imatrix(demo_f16, tmp_path / "imatrix.gguf")
    quantize_file(demo_f16, plain, "Q4_0", importance=imatrix)
    quantize_file(demo_f16, told, "Q4_0", importance=imatrix, provenance=True)
    with GGUFFile(plain) as before, GGUFFile(told) as after:
        extra = {k: f.value for k, f in after.metadata.items() if k[:9] == "quantkit."}
        assert list(after.metadata) == [*before.metadata, *extra]
        assert all((before.raw(n) == after.raw(n)).all() for n in before.tensors)
    assert extra == {
        "quantkit.version": qk.__version__,
        "quantkit.recipe": json.dumps({"base": "Q4_0"}),
        "quantkit.source.sha256": digest(demo_f16),
        "quantkit.imatrix.sha256": digest(imatrix),
    }


def test_the_recorded_recipe_is_the_one_used(demo_f16: Path, tmp_path: Path) -> None:
    """Overrides and edits too."""
    out = tmp_path / "out.gguf"
    quantize_file(
        demo_f16, out, "Q4_K_S", overrides=CHOSEN, edits=EDITS, provenance=True
    )
    with GGUFFile(out) as file:
        recorded = recorded_origin(file.metadata, "out.gguf")
    assert recorded == Origin(qk.Recipe.parse("Q4_K_S"), CHOSEN, EDITS)


def test_the_record_of_a_source_is_not_passed_on(
    demo_f16: Path, tmp_path: Path
) -> None:
    """It would be wrong about the new file."""
    told, again = tmp_path / "told.gguf", tmp_path / "again.gguf"
    quantize_file(demo_f16, told, "BF16", provenance=True)
    quantize_file(told, again, "Q8_0")
    with GGUFFile(again) as file:
        assert not [key for key in file.metadata if key.startswith("quantkit.")]
    assert verify_file(again, told).is_equal


@pytest.mark.parametrize("source", ["recorded", "guessed"])
def test_tensors_that_fell_back_are_made_again(
    demo_f16: Path, tmp_path: Path, source: str
) -> None:
    """With the importance that there is, by the record or without one."""
    imatrix, out = tmp_path / "imatrix.gguf", tmp_path / "out.gguf"
    less = tmp_path / "less.gguf"
    quantize_file(demo_f16, less, "F16", edits=Edits(prune_layers=frozenset([3])))
    write_imatrix(less, imatrix)
    quantize_file(
        demo_f16,
        out,
        "IQ2_XXS",
        importance=imatrix,
        missing_importance="fallback",
        provenance=source == "recorded",
    )
    assert verify_file(out, demo_f16, importance=imatrix).is_equal


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"missing_imatrix": "x"}', '{"base": "Q9"}', '{"prune_layers": 1}'],
)
def test_a_damaged_record_is_refused(text: str) -> None:
    """The message names the key."""
    with pytest.raises(FormatError, match=r"quantkit\.recipe"):
        recorded_origin({"quantkit.recipe": string(text)}, "file")


def test_hashes_are_those_of_sha256sum(tmp_path: Path) -> None:
    """Of one file its own; of several, that of the lines about them."""
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"1")
    two.write_bytes(b"2" * 3_000_000)
    assert hash_files([two]) == digest(two)
    lines = f"{digest(one)}  one\n{digest(two)}  two\n"
    assert hash_files([one, two]) == hashlib.sha256(lines.encode()).hexdigest()


@pytest.mark.parametrize("source", ["file", "checkpoint"])
@pytest.mark.parametrize("provenance", [False, True])
def test_a_file_of_a_known_recipe_is_equal(
    demo_f16: Path, tmp_path: Path, source: str, provenance: bool
) -> None:
    """By the record, or by general.file_type."""
    model = demo_f16 if source == "file" else DEMO_MODEL
    out = tmp_path / "out.gguf"
    quantize_file(model, out, "Q3_K_M", provenance=provenance)
    found = verify_file(out, model)
    assert (found.is_equal, found.recipe, found.n_tensors) == (True, "Q3_K_M", 38)
    assert (found.tensors, found.keys) == ((), ())


def test_a_recorded_file_with_everything_is_equal(
    demo_f16: Path, tmp_path: Path
) -> None:
    """Overrides, edits, importance and several files."""
    imatrix = write_imatrix(demo_f16, tmp_path / "imatrix.gguf")
    report = quantize_file(
        demo_f16,
        tmp_path / "out.gguf",
        "Q2_K_S",
        overrides=CHOSEN,
        edits=EDITS,
        importance=imatrix,
        provenance=True,
        split_max_bytes=10**6,
    )
    assert verify_file(report.paths[1], demo_f16, importance=imatrix).is_equal
    with pytest.raises(OptionError, match="`importance`"):
        verify_file(report.paths[0], demo_f16)
    other = write_imatrix(demo_f16, tmp_path / "other.gguf", seed=1)
    found = verify_file(report.paths[0], demo_f16, importance=other)
    assert "made from a different file" in {each.what for each in found.keys}
    assert "blk.0.attn_q.weight" in {each.name for each in found.tensors}


def test_what_differs_is_named(demo_f16: Path, tmp_path: Path) -> None:
    """Flipped bytes, another type, another value, another source."""
    out = tmp_path / "out.gguf"
    own = Overrides((TensorType("attn_q", QuantType.Q8_0),))
    edits = Edits(dict([parse_field("general.name=str:Mine")]))
    quantize_file(demo_f16, out, "Q4_0", overrides=own, edits=edits)
    with GGUFFile(out) as file:
        at = file.locations["blk.2.ffn_down.weight"].offset
    data = bytearray(out.read_bytes())
    data[at] ^= 1
    out.write_bytes(data)
    found = verify_file(out, demo_f16)
    assert not found.is_equal
    assert {each.name: each.what for each in found.tensors} == {
        **{f"blk.{i}.attn_q.weight": "type Q8_0, expected Q4_0" for i in range(4)},
        "blk.2.ffn_down.weight": "1 of 256 rows differ",
    }
    assert {each.name: each.what for each in found.keys} == {
        "general.name": "different value"
    }


def test_missing_and_surplus_tensors_are_named(demo_f16: Path, tmp_path: Path) -> None:
    """A file of fewer layers, and the other way round."""
    less, q8 = tmp_path / "less.gguf", tmp_path / "q8.gguf"
    quantize_file(demo_f16, less, "F16", edits=Edits(prune_layers=frozenset([3])))
    quantize_file(demo_f16, q8, "Q8_0")
    whats = {each.what for each in verify_file(less, demo_f16).tensors}
    assert whats == {"missing"}
    whats = {each.what for each in verify_file(q8, less).tensors}
    assert whats == {"not in the source"}


def test_a_file_without_recipe_is_refused(demo_f16: Path, tmp_path: Path) -> None:
    """Neither a record nor a known file type."""
    out = tmp_path / "out.gguf"
    edits = Edits(dict([parse_field("general.file_type=int:77")]))
    quantize_file(demo_f16, out, "Q4_0", edits=edits)
    with pytest.raises(OptionError, match="does not record its recipe"):
        verify_file(out, demo_f16)


def test_importance_without_a_path_has_no_hash(demo_f16: Path, tmp_path: Path) -> None:
    """The record would be of no use."""
    with pytest.raises(OptionError, match="path"):
        quantize_file(
            demo_f16, tmp_path / "o.gguf", "Q4_0", importance={}, provenance=True
        )
