"""Shards of an importance matrix: put together, they are what one run collects."""

from __future__ import annotations

import json
import math
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import quantkit as qk
from quantkit.collecting import exact
from quantkit.collecting.collection import Collection
from quantkit.collecting.totals import read_totals
from quantkit.errors import FormatError, OptionError, OutputError
from quantkit.tasks.demo import DEMO_MODEL

from .commands import run
from .families.lettered import lettered_model, lettered_text
from .small_model import small_model

OPTIONS = qk.TextOptions(ctx=32, chunks=5)


@pytest.mark.parametrize("seed", range(20))
def test_sums_are_exact_in_any_order(seed: int) -> None:
    """Numbers of all sizes and signs, ties and zeros; as `math.fsum` adds them."""
    rng = random.Random(seed)
    spread = rng.choice([1, 30, 60, 300])
    numbers = [
        [
            rng.choice([-1, 1]) * rng.random() * 2.0 ** rng.uniform(-spread, spread)
            if rng.random() < 0.8
            else rng.choice([0.0, 1.0, 2.0**-53, -(2.0**-53), 2.0**-106])
            for _ in range(40)
        ]
        for _ in range(30)
    ]
    expected = [math.fsum(column) for column in zip(*numbers, strict=True)]
    for _ in range(3):
        rng.shuffle(numbers)
        halves = [[np.zeros(40)], [np.zeros(40)]]
        for i, row in enumerate(numbers):
            exact.add(halves[i % 2], np.array(row))
        for term in halves[1]:
            exact.add(halves[0], term)
        assert exact.rounded(halves[0]).tolist() == expected


def test_half_a_unit_and_a_little_more_is_rounded_up() -> None:
    """What decides may be far below."""
    for little in (2.0**-110, -(2.0**-110), 0.0):
        numbers = [1.0, 2.0**-53, little]
        terms = [np.zeros(1)]
        for number in numbers:
            exact.add(terms, np.array([number]))
        assert exact.rounded(terms)[0] == math.fsum(numbers)


def test_some_of_the_sums_are_added_to() -> None:
    """The others stay."""
    terms = [np.ones((2, 3))]
    exact.add(terms, np.full(2, 2.0**-80), (slice(None), 1))
    assert [term[:, 1].tolist() for term in terms] == [[1, 1], [2.0**-80] * 2]
    assert not terms[1][:, [0, 2]].any()


@dataclass(frozen=True)
class Case:
    """A model, and two texts of 5 and 2 chunks."""

    model: Path
    texts: list[Path]

    def shards(self, folder: Path, count: int, **changes: Any) -> list[Path]:
        """The files of all shards."""
        paths = [folder / f"{i + 1}.shard" for i in range(count)]
        for i, path in enumerate(paths):
            how = {"options": OPTIONS, "threads": 1, **changes}
            shard = i + 1, count
            qk.imatrix_shard(self.model, self.texts, shard=shard, save=path, **how)
        return paths

    def whole(self, **changes: Any) -> qk.ImportanceMatrix:
        how = {"options": OPTIONS, "threads": 1, **changes}
        return qk.imatrix(self.model, self.texts, **how)

    def command(self, *arguments: str | Path) -> tuple[str | Path, ...]:
        """The arguments of `quantkit imatrix`."""
        texts = (word for text in self.texts for word in ("--text", text))
        small = ("--ctx", "32", "--chunks", "5", "--threads", "1", "--quiet")
        return ("imatrix", self.model, *texts, *small, *arguments)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp("shards")
    texts = [
        lettered_text(folder / "long.txt", 200, seed=1),
        lettered_text(folder / "short.txt", 80, seed=2),
    ]
    return Case(small_model(folder / "m.gguf", n_layers=2), texts)


@pytest.fixture(scope="module")
def two(case: Case, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The files of two shards."""
    return case.shards(tmp_path_factory.mktemp("two"), 2)


@pytest.fixture
def copied(two: list[Path], tmp_path: Path) -> list[Path]:
    """Copies of them."""
    return [Path(shutil.copy(path, tmp_path)) for path in two]


def content(matrix: qk.ImportanceMatrix, folder: Path) -> bytes:
    """The bytes of the file."""
    matrix.save(folder / "m.gguf")
    return (folder / "m.gguf").read_bytes()


@pytest.mark.parametrize("count", [1, 2, 3, 9])
@pytest.mark.parametrize("perplexity", [True, False])
def test_shards_are_the_bytes_of_one_run(
    case: Case, tmp_path: Path, count: int, perplexity: bool
) -> None:
    """Also with more shards than chunks; the files in any order."""
    whole = case.whole(process_output=True, perplexity=perplexity)
    paths = case.shards(tmp_path, count, process_output=True, perplexity=perplexity)
    found = qk.merge_imatrix_shards(paths[::-1])
    assert found == whole
    assert content(found, tmp_path) == content(whole, tmp_path)
    assert found.perplexity == whole.perplexity
    assert (found.perplexity is not None) == perplexity


def test_experts_and_heads(tmp_path: Path) -> None:
    """Every matrix of a tensor has its own sums and count."""
    text = lettered_text(tmp_path / "text.txt", 160, seed=3)
    moe = Case(lettered_model("qwen3moe", tmp_path), [text])
    whole = moe.whole()
    assert any(len(sums.counts) > 1 for sums in whole.sums.values())
    assert qk.merge_imatrix_shards(moe.shards(tmp_path, 3)) == whole


def test_equal_sums_are_kept_once(case: Case, two: list[Path]) -> None:
    """Those of queries, keys and values, of gates and ups."""
    about, totals = read_totals(two[0])
    names = {
        name.rpartition("blk.")[2]: which for name, _, _, which in about["tensors"]
    }
    for layer in "01":
        same = [names[f"{layer}.attn_{x}.weight"] for x in "qkv"]
        assert len({*same}) == 1
        assert names[f"{layer}.ffn_gate.weight"] == names[f"{layer}.ffn_up.weight"]
    assert len(about["terms"]) < len(names)
    assert totals.n_chunks == 4


def test_a_stopped_shard_goes_on(case: Case, tmp_path: Path) -> None:
    """From the sums that were kept."""
    path = tmp_path / "1.shard"
    given: dict[str, Any] = {"shard": (1, 2), "save": path, "options": OPTIONS}

    def stop(stage: str, done: int, total: int) -> None:
        if (stage, done) == ("importance", 3):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        qk.imatrix_shard(case.model, case.texts, **given, threads=1, progress=stop)
    with pytest.raises(OptionError, match=r"^of 2 shards, 1-2 are missing or not fin"):
        qk.merge_imatrix_shards(path)
    seen: list[tuple[str, int]] = []
    qk.imatrix_shard(
        *(case.model, case.texts),
        **given,
        progress=lambda stage, done, _: seen.append((stage, done)),
    )
    assert [done for stage, done in seen if stage == "importance"] == [4]


def test_a_shard_is_in_a_file_of_its_own(case: Case, copied: list[Path]) -> None:
    """Not in that of another one, nor in another file."""
    given: dict[str, Any] = {"shard": (2, 2), "options": OPTIONS}
    with pytest.raises(OutputError, match=r"1\.shard holds another shard, 1/2; save"):
        qk.imatrix_shard(case.model, case.texts, save=copied[0], **given)
    with pytest.raises(OutputError, match="holds something else"):
        qk.imatrix_shard(case.model, case.texts, save=case.model, **given)


@pytest.mark.parametrize(
    ("words", "changes"),
    [
        ("the context", {"options": qk.TextOptions(ctx=16, chunks=5)}),
        (
            "the number of chunks of .*long",
            {"options": qk.TextOptions(ctx=32, chunks=4)},
        ),
        ("the activations", {"activations": "f32"}),
        ("the output head: included, and there left out", {"process_output": True}),
        ("the perplexity", {"perplexity": False}),
    ],
)
def test_shards_of_different_runs_are_refused(
    case: Case, two: list[Path], tmp_path: Path, words: str, changes: dict[str, Any]
) -> None:
    """What differs is named."""
    how = {"options": OPTIONS, **changes}
    path = tmp_path / "2.shard"
    qk.imatrix_shard(case.model, case.texts, shard=(2, 2), save=path, **how)
    with pytest.raises(OptionError, match=f"different runs; they differ in {words}"):
        qk.merge_imatrix_shards([two[0], path])


def test_another_model_and_number_of_shards(
    case: Case, two: list[Path], tmp_path: Path
) -> None:
    """A copy of the model is no other one."""
    other = Case(small_model(tmp_path / "m.gguf", n_layers=1), case.texts)
    with pytest.raises(OptionError, match="differ in the model; all need"):
        qk.merge_imatrix_shards([two[0], other.shards(tmp_path, 2)[1]])
    (tmp_path / "three").mkdir()
    with pytest.raises(OptionError, match="differ in the number of shards: 3, and"):
        qk.merge_imatrix_shards([two[0], case.shards(tmp_path / "three", 3)[1]])
    (tmp_path / "copy").mkdir()
    copy = Case(Path(shutil.copy(case.model, tmp_path / "copy")), case.texts)
    again = copy.shards(tmp_path / "copy", 2)[1]
    assert qk.merge_imatrix_shards([two[0], again]) == case.whole()


def test_a_shard_may_be_given_twice(
    case: Case, two: list[Path], tmp_path: Path
) -> None:
    """If its sums are the same."""
    again = case.shards(tmp_path, 2)[0]
    assert qk.merge_imatrix_shards([*two, again]) == case.whole()
    change(again, "sums", lambda sums: sums + 1)
    with pytest.raises(OptionError, match=r"are the same shard, but have different"):
        qk.merge_imatrix_shards([*two, again])


def change(path: Path, name: str, how: Callable[[Any], Any]) -> None:
    """Change an array of a file; of `about` the JSON."""
    with np.load(path) as kept:
        arrays = dict(kept)
    if name == "about":
        about = how(json.loads(arrays[name].tobytes()))
        arrays[name] = np.frombuffer(json.dumps(about).encode(), np.uint8)
    else:
        arrays[name] = how(arrays[name])
    with path.open("wb") as file:
        np.savez(file, **arrays)


@pytest.mark.parametrize(
    ("name", "how", "words"),
    [
        ("about", lambda about: [], r"is \[\]; expected an object"),
        ("about", lambda about: {**about, "shard": {}}, "`shard` is None"),
        ("about", lambda about: {**about, "terms": [0]}, "terms"),
        ("about", lambda about: {**about, "tensors": [[]]}, r"tensors has \[\]"),
        ("about", lambda about: {**about, "tensors": []}, "more sums than tensors"),
        (
            "about",
            lambda about: {**about, "tensors": [["a", 1 << 60, 1 << 60, 0]]},
            "a",
        ),
        ("sums", lambda sums: sums[1:], "the sums of tensor .* are missing"),
        ("sums", lambda sums: np.append(sums, 0.0), "more sums"),
        ("sums", lambda sums: sums.astype(np.float32), "other types"),
        ("sums", lambda sums: sums * np.nan, "not finite"),
        ("counts", lambda counts: counts[1:], "the counts of tensor .* are missing"),
        ("counts", lambda counts: -counts, "negative"),
        ("nll", lambda nll: nll.ravel(), "other types"),
        ("nll", lambda nll: np.repeat(nll, 2, axis=0), "more chunks than shard 1/2"),
        ("nll", lambda nll: nll[:, 1:], "differ in what they are of"),
    ],
)
def test_nothing_in_a_shard_is_believed(
    copied: list[Path], name: str, how: Callable[[Any], Any], words: str
) -> None:
    """What is wrong is said."""
    change(copied[0], name, how)
    with pytest.raises(FormatError, match=words):
        qk.merge_imatrix_shards(copied)


def test_other_files_are_no_shards(case: Case, tmp_path: Path) -> None:
    """A model, a text, half a shard, the sums of a run that was stopped."""
    for path in (case.model, case.texts[0]):
        with pytest.raises(FormatError, match="damaged, or holds no sums"):
            qk.merge_imatrix_shards(path)
    kept = tmp_path / "kept"
    collection = Collection(case.model, case.texts, save=kept, options=OPTIONS)
    collection.run()
    with pytest.raises(FormatError, match="does not say of which shard it is"):
        qk.merge_imatrix_shards(kept)
    kept.write_bytes(kept.read_bytes()[:-100])
    with pytest.raises(FormatError, match="damaged"):
        qk.merge_imatrix_shards(kept)
    with pytest.raises(OptionError, match="`shards` is empty"):
        qk.merge_imatrix_shards([])


def test_another_version_is_refused(
    two: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its sums may be others."""
    monkeypatch.setattr("quantkit.evaluate.shard_files.__version__", "99")
    with pytest.raises(OptionError, match=r"measured by quantkit .*, and this is 99"):
        qk.merge_imatrix_shards(two)


def test_commands_collect_and_merge(case: Case, tmp_path: Path) -> None:
    """The file is that of one command; without a shard, its command is printed."""
    whole, merged = tmp_path / "whole.gguf", tmp_path / "merged.gguf"
    assert run(*case.command("-o", whole)).returncode == 0
    files = [tmp_path / f"part-{i}.shard" for i in (1, 2)]
    first = run(*case.command("--shard", "1/2", "--save", files[0]))
    assert first.stdout.splitlines() == [
        f"shard 1/2: 4 chunks, in {files[0]}",
        "when all are collected: quantkit imatrix --merge FILES -o IMATRIX",
    ]
    missing = run("imatrix", "--merge", files[0], "-o", merged)
    assert missing.returncode == 1
    assert "of 2 shards, 2 is missing. Measure what is left" in missing.stderr
    run(*case.command("--shard", "2/2", "--save", files[1]))
    done = run("imatrix", "--merge", *files, "-o", merged)
    assert done.returncode == 0, done.stderr
    assert merged.read_bytes() == whole.read_bytes()
    both = run("imatrix", "--merge", *files, whole, "-o", merged)
    assert "merge the shards of a run first" in both.stderr
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [
        *(".gguf", ".gguf", ".shard", ".shard"),
    ]


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        ("--shard and --save FILE belong together", ["--shard", "1/2"]),
        ("--shard and --save FILE belong together", ["--save", "x"]),
        (
            "--output is not for a --shard",
            ["--shard", "1/2", "--save", "x", "-o", "m.gguf"],
        ),
        ("--device is not", ["--shard", "1/2", "--save", "x", "--device", "cuda"]),
        ("is no shard", ["--shard", "3", "--save", "x"]),
        ("expected one MODEL, and got 2", [str(DEMO_MODEL)]),
    ],
)
def test_options_that_do_not_fit(case: Case, words: str, arguments: list[str]) -> None:
    """They are named."""
    result = run(*case.command(*arguments))
    assert result.returncode == 2
    assert words in result.stderr
