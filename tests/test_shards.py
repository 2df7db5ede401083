"""Shards of a comparison: put together, they are what one machine measures."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from zlib import crc32

import pytest

import quantkit as qk
from quantkit.cli import shards
from quantkit.errors import FormatError, OptionError, OutputError
from quantkit.evaluate.places import Share
from quantkit.evaluate.saved import SavedScores
from quantkit.evaluate.shard_files import About
from quantkit.tasks.demo import DEMO_MODEL

from .commands import run
from .families.lettered import lettered_model, lettered_text
from .small_model import small_model

OPTIONS = qk.TextOptions(ctx=32, chunks=3)
TYPES = ["Q8_0", "Q4_0"]
TIMES = ("tokens_per_second", "quantize_seconds", "seconds")

Records = list[dict[str, Any]]


@dataclass(frozen=True)
class Case:
    """A model, and two texts of 3 and 2 chunks."""

    model: Path
    texts: list[Path]

    def given(self, **changes: Any) -> dict[str, Any]:
        """Arguments for `compare` and `compare_shard`."""
        given = {"model": self.model, "types": TYPES, "text": self.texts}
        return {**given, "options": OPTIONS, "threads": 1, **changes}

    def shards(self, folder: Path, count: int, **changes: Any) -> list[Path]:
        """The files of all shards."""
        paths = [folder / f"{i + 1}.shard" for i in range(count)]
        for i, path in enumerate(paths):
            given = self.given(shard=(i + 1, count), save=path, **changes)
            qk.compare_shard(**given)
        return paths

    def command(self, *arguments: str | Path) -> tuple[str | Path, ...]:
        """The arguments of `quantkit ppl`."""
        texts = (word for text in self.texts for word in ("--text", text))
        small = ("--ctx", "32", "--chunks", "3", "--threads", "1", "--quiet")
        return ("ppl", self.model, *texts, "--types", "Q8_0,Q4_0", *small, *arguments)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp("shards")
    texts = [
        lettered_text(folder / "long.txt", 200, seed=1),
        lettered_text(folder / "short.txt", 80, seed=2),
    ]
    return Case(small_model(folder / "m.gguf", n_layers=1), texts)


@pytest.fixture(scope="module")
def two(case: Case, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The files of two shards."""
    return case.shards(tmp_path_factory.mktemp("two"), 2)


@pytest.fixture
def copied(two: list[Path], tmp_path: Path) -> list[Path]:
    """Copies of them."""
    return [Path(shutil.copy(path, tmp_path)) for path in two]


def records_of(path: Path) -> Records:
    """The values in a file of records."""
    return [json.loads(line[9:]) for line in path.read_text().splitlines()]


def write_records(path: Path, records: Records) -> None:
    """A file of records."""
    bodies = (json.dumps(record).encode() for record in records)
    path.write_bytes(b"".join(b"%08x %s\n" % (crc32(body), body) for body in bodies))


def without_times(value: Any) -> Any:
    """Results without what differs from run to run."""
    if isinstance(value, dict):
        return {k: without_times(v) for k, v in value.items() if k not in TIMES}
    return list(map(without_times, value)) if isinstance(value, list) else value


def text_of(result: qk.Comparison) -> str:
    """The JSON of a result without times."""
    return json.dumps(without_times(result.to_dict()))


@pytest.mark.parametrize("count", [1, 3, 8])
def test_shards_are_the_bytes_of_one_machine(
    case: Case, tmp_path: Path, count: int
) -> None:
    """Also with more shards than chunks; the files in any order."""
    alone, saved = tmp_path / "alone.scores", tmp_path / "merged.scores"
    whole = qk.compare(**case.given(save=alone))
    paths = case.shards(tmp_path, count)
    result = qk.merge_shards(paths[::-1], save=saved)
    assert result == whole
    assert text_of(result) == text_of(whole)
    assert result.versus("Q4_0", "Q8_0") == whole.versus("Q4_0", "Q8_0")
    for name, scores in whole.scores.items():
        assert result.scores[name] == scores
    assert without_times(records_of(saved)) == without_times(records_of(alone))


def test_each_shard_has_its_share(case: Case, tmp_path: Path) -> None:
    """Of the chunks in turn; one for which none is left has an empty file."""
    found = [
        qk.compare_shard(**case.given(shard=(i, 4), save=tmp_path / f"{i}"))
        for i in (1, 4)
    ]
    assert [each.chunks for each in found] == [2, 1]
    assert found[1].rows == ("F32", "Q8_0", "Q4_0")
    assert repr(found[1]).startswith("Shard(number=4, count=4, chunks=1")
    last = qk.compare_shard(**case.given(shard=(9, 9), save=tmp_path / "9"))
    assert last.chunks == 0
    assert [record["key"] for record in records_of(last.path)] == ["shard"]


@pytest.mark.parametrize(
    ("n_rows", "changes"),
    [
        (7, {"activations": "both", "importance": True, "memory": 0, "base": "q8_0"}),
        (1, {"types": (), "options": qk.TextOptions(ctx=32, chunks=3, stride=7)}),
        (5, {"calibration": qk.Calibration(["ab cd " * 250], tokens=1024)}),
    ],
    ids=["rows", "windows", "calibration"],
)
def test_every_option_has_the_same_result(
    case: Case, tmp_path: Path, n_rows: int, changes: dict[str, Any]
) -> None:
    """Rows of all kinds, models in groups, strided windows, another base."""
    if "importance" in changes:
        matrix = qk.imatrix(case.model, "ab cd ef " * 20, options=OPTIONS)
        changes = {**changes, "importance": matrix}
    paths = case.shards(tmp_path, 2, **changes)
    before = [path.read_bytes() for path in paths]
    result = qk.merge_shards(case.shards(tmp_path, 2, **changes))
    assert [path.read_bytes() for path in paths] == before
    whole = qk.compare(**case.given(**changes))
    assert text_of(result) == text_of(whole)
    assert len(whole.rows) == n_rows


def test_the_merged_scores_are_known_to_later_runs(
    case: Case, two: list[Path], tmp_path: Path
) -> None:
    """With another type, only that one is measured; merging again adds nothing."""
    saved = tmp_path / "all.scores"
    qk.merge_shards(two, save=saved)
    before = saved.read_bytes()
    qk.merge_shards(two, save=saved)
    assert saved.read_bytes() == before
    stages = set()
    qk.compare(
        **case.given(types=[*TYPES, "Q4_1"], save=saved),
        progress=lambda stage, done, total: stages.add(stage),
    )
    assert {each for each in stages if "perplexity" in each} == {"Q4_1: perplexity"}


def test_a_killed_shard_goes_on(case: Case, two: list[Path], tmp_path: Path) -> None:
    """With the same call, whatever the last line lost; not before it is complete."""
    path = tmp_path / "2.shard"
    given = case.given(shard=(2, 2), save=path)

    def stop(stage: str, done: int, total: int) -> None:
        if (stage, done, total) == ("Q4_0: perplexity", 1, 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        qk.compare_shard(**given, progress=stop)
    path.write_bytes(path.read_bytes()[:-20])
    unfinished = r"of 2 shards, 2 is not finished \(.*2\.shard\)\. Measure what is left"
    with pytest.raises(OptionError, match=unfinished):
        qk.merge_shards([two[0], path])
    qk.compare_shard(**given)
    scores = [[r for r in records_of(file) if "nll" in r] for file in (path, two[1])]
    assert len(scores[0]) == len(scores[1]) == 6  # none twice
    assert qk.merge_shards([two[0], path]) == qk.merge_shards(two)


def test_missing_shards_are_named(case: Case, tmp_path: Path) -> None:
    """By their numbers; of those without chunks, none is missed."""
    paths = case.shards(tmp_path, 7)
    assert len(qk.merge_shards(paths[:5]).rows) == 3
    with pytest.raises(OptionError, match=r"of 7 shards, 3 is missing\. Measure"):
        qk.merge_shards([*paths[:2], *paths[3:]])
    with pytest.raises(OptionError, match=r"of 7 shards, 1,3-4 are missing\. Measure"):
        qk.merge_shards([paths[1], *paths[4:]])
    with pytest.raises(OptionError, match="`shards` is empty"):
        qk.merge_shards([])


def test_a_shard_may_be_given_twice(two: list[Path], copied: list[Path]) -> None:
    """Parts of it, too; but its scores must be the same."""
    _, second = copied
    write_records(second, records_of(second)[:-1])
    assert qk.merge_shards([*two, *copied]) == qk.merge_shards(two)
    records = records_of(two[1])
    records[-1]["nll"] = records[-2]["nll"]
    write_records(second, records)
    with pytest.raises(OptionError, match="are the same shard, but have different"):
        qk.merge_shards([*two, second])


def other_model(case: Case, folder: Path) -> dict[str, Any]:
    """The same with another weight."""
    data = bytearray(case.model.read_bytes())
    data[-5] ^= 1
    path = folder / "m.gguf"
    path.write_bytes(data)
    return {"model": path}


def other_recipe(case: Case, folder: Path) -> dict[str, Any]:
    """Types that are made otherwise, but have the same names."""
    path = folder / "Q4_0.toml"
    path.write_text(
        'base = "Q4_0"\ntensor_types = [{ pattern = "down", type = "Q8_0" }]\n'
    )
    return {"types": ["Q8_0", path]}


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"types": ["Q8_0"]}, "the rows: F32, Q8_0, and there F32, Q8_0, Q4_0"),
        ({"options": qk.TextOptions(ctx=34, chunks=3)}, "the context: 34 tokens, and"),
        ({"options": qk.TextOptions(ctx=32, chunks=3, stride=9)}, "the stride: 9, and"),
        ({"options": qk.TextOptions(ctx=32, chunks=2)}, "the number of chunks of long"),
        ({"activations": "q8"}, "the activations: q8, and there i16"),
        ({"base": "Q4_0"}, "the base: Q4_0, and there F32"),
        ({"shard": (3, 3)}, "the number of shards: 3, and there 2"),
        ({"text": "ab cd " * 40}, "the texts: text, and there long.txt, short.txt"),
        (other_model, "the model of F32; all need"),
        (
            other_recipe,
            "how Q4_0 is made: its types, importance or",
        ),
    ],
)
def test_shards_of_other_runs_are_refused(
    case: Case,
    two: list[Path],
    tmp_path: Path,
    changes: dict[str, Any] | Callable[[Case, Path], dict[str, Any]],
    what: str,
) -> None:
    """By what differs."""
    other = tmp_path / "2.shard"
    found = changes if isinstance(changes, dict) else changes(case, tmp_path)
    qk.compare_shard(**{**case.given(shard=(2, 2), save=other), **found})
    with pytest.raises(OptionError, match=f"different runs; they differ in {what}"):
        qk.merge_shards([two[0], other])


def test_texts_are_known_by_their_tokens(
    case: Case, two: list[Path], tmp_path: Path
) -> None:
    """Files with the same name may be others; copies elsewhere are the same."""
    texts = [Path(shutil.copy(text, tmp_path)) for text in case.texts]
    model = Path(shutil.copy(case.model, tmp_path))
    second = tmp_path / "2.shard"
    given = case.given(model=model, text=texts, shard=(2, 2), save=second)
    qk.compare_shard(**given)
    assert qk.merge_shards([two[0], second]) == qk.merge_shards(two)
    texts[0].write_text(texts[0].read_text().replace("a", "b"))
    qk.compare_shard(**given)
    with pytest.raises(OptionError, match=r"the tokens of long.txt \(text 1\);"):
        qk.merge_shards([two[0], second])


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("the version of quantkit", "0.0.1", "the version of quantkit: 0.0.1, and"),
        ("the instruction set, or the device", "mmx", "the .* device: mmx, and there"),
        ("the weather", "rain", "the weather: rain, and there none"),
    ],
)
def test_machines_are_alike(
    copied: list[Path], name: str, value: str, what: str
) -> None:
    """Two versions or instruction sets may compute other scores."""
    records = records_of(copied[1])
    records[0]["about"]["of"][name] = value
    write_records(copied[1], records)
    with pytest.raises(OptionError, match=f"they differ in {what}"):
        qk.merge_shards(copied)


def test_another_version_does_not_merge(copied: list[Path]) -> None:
    """It may compute other figures."""
    for path in copied:
        records = records_of(path)
        records[0]["about"]["of"]["the version of quantkit"] = "0.0.1"
        write_records(path, records)
    with pytest.raises(OptionError, match=r"measured by quantkit 0\.0\.1, and this is"):
        qk.merge_shards(copied)


def change_line(path: Path, number: int, old: str, new: str) -> None:
    """Change a line of a file, which then has a wrong checksum."""
    lines = path.read_text().splitlines(keepends=True)
    assert old in lines[number]
    lines[number] = lines[number].replace(old, new, 1)
    path.write_text("".join(lines))


def test_damaged_files_are_refused(
    case: Case, copied: list[Path], two: list[Path]
) -> None:
    """The line is named; measuring the shard again repairs it."""
    first, second = copied
    change_line(second, 4, '"nll": "', '"nll": "A')
    with pytest.raises(FormatError, match=r"2\.shard is damaged in line 5"):
        qk.merge_shards(copied)
    qk.compare_shard(**case.given(shard=(2, 2), save=second))
    assert qk.merge_shards(copied) == qk.merge_shards(two)
    change_line(first, 0, "F32", "F16")
    with pytest.raises(FormatError, match=r"1\.shard is damaged in line 1"):
        qk.merge_shards(copied)


def test_other_files_are_refused(case: Case, copied: list[Path]) -> None:
    """Scores that are no shard, results, nothing, and what is not there."""
    _, second = copied
    qk.compare(**case.given(types=(), save=case.model.with_name("whole")))
    for path, error in (
        (case.model.with_name("whole"), "does not say of which shard it is"),
        (case.model, "is not a file of saved scores"),
        (case.model.with_name("empty"), "does not say of which shard it is"),
    ):
        case.model.with_name("empty").touch()
        with pytest.raises(FormatError, match=error):
            qk.merge_shards([*copied, path])
    with pytest.raises(FileNotFoundError):
        qk.merge_shards([*copied, case.model.with_name("absent")])
    with pytest.raises(OutputError, match="is one of the shards"):
        qk.merge_shards(copied, save=second)


def test_a_file_has_one_shard(case: Case, copied: list[Path]) -> None:
    """A job array that gives all shards the same file learns it at once."""
    before = copied[0].read_bytes()
    with pytest.raises(OutputError, match="holds another shard, 1/2; save shard 2/2"):
        qk.compare_shard(**case.given(shard=(2, 2), save=copied[0]))
    assert copied[0].read_bytes() == before
    with (
        SavedScores(copied[0]),
        pytest.raises(OutputError, match="another process is writing it"),
    ):
        qk.compare_shard(**case.given(shard=(1, 2), save=copied[0]))


@pytest.mark.parametrize(
    "change",
    [
        lambda about: about.update(shard=[3, 2]),
        lambda about: about.update(shard="1/2"),
        lambda about: about.update(shard=[1, 1 << 40]),
        lambda about: about.update(of={"a": 1}),
        lambda about: about.update(keys=about["keys"][1:]),
        lambda about: about["keys"][0].pop(),
        lambda about: about.update(command="rm"),
        lambda about: about.update(described=None),
        lambda about: about["described"].update(rows=[]),
        lambda about: about["described"].update(texts=[]),
        lambda about: about["described"].update(n_scored=14),
        lambda about: about["described"].update(weighed=[["Q4_0", "Q9"]]),
        lambda about: about["described"].update(activations="i15"),
        lambda about: about["described"]["texts"][0].update(chunks=0),
        lambda about: about["described"]["texts"][0].update(chunks=(1 << 31) - 1),
        lambda about: about["described"]["rows"][1].update(name="F32"),
        lambda about: about["described"]["rows"][1].update(size_bytes="1"),
        lambda about: about["described"]["rows"][1].update(bpw=float("nan")),
    ],
)
def test_forged_descriptions_are_refused(
    copied: list[Path], change: Callable[[dict[str, Any]], object]
) -> None:
    """With a right checksum; by the file."""
    for path in copied:
        records = records_of(path)
        change(records[0]["about"])
        write_records(path, records)
    with pytest.raises(FormatError, match=r"1\.shard"):
        qk.merge_shards(copied)


@pytest.mark.parametrize(
    "shard", [(0, 2), (3, 2), (1, 10_001), (1, 0), 3, "1/2", (1, 2, 3), (1.0, 2)]
)
def test_wrong_shards(case: Case, tmp_path: Path, shard: Any) -> None:
    """Numbers that no shard has."""
    with pytest.raises(OptionError, match="`shard`"):
        qk.compare_shard(**case.given(shard=shard, save=tmp_path / "x"))
    assert not (tmp_path / "x").exists()


def printed(*arguments: str | Path) -> str:
    """What a command prints that has nothing else to say."""
    done = run(*arguments)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def test_the_command_prints_and_saves_the_same(
    case: Case, two: list[Path], tmp_path: Path
) -> None:
    """As one that measures everything; of models and texts nothing is read."""
    saved = tmp_path / "whole.json", tmp_path / "merged.json"
    merge: tuple[str | Path, ...] = ("ppl", "--merge", *two)
    view = ("--columns", "size,ppl,kld", "--sort", "kld", "--versus", "q8_0")
    for form in ("--pareto", "--markdown"):
        whole = printed(*case.command(*view, form, "--save", saved[0]))
        assert printed(*merge, *view, form, "--save", saved[1]) == whole
    found = [json.loads(path.read_text()) for path in saved]
    assert without_times(found[0]) == without_times(found[1])
    scores = [records_of(Path(f"{path}.scores")) for path in saved]
    assert without_times(scores[0]) == without_times(scores[1])
    assert json.loads(printed(*merge, "--json", "--versus", "Q8_0")) == found[1]
    assert printed(*merge, "--csv").count("\n") == 1 + 3 * 3
    report = tmp_path / "report.html"
    printed(*merge, "--html", report)
    assert "Q4_0" in report.read_text()


def test_the_commands_of_missing_shards(case: Case, tmp_path: Path) -> None:
    """They differ from that of a shard in its number only, also in the file's name."""
    folder = tmp_path / "m 3"
    folder.mkdir()

    def command(i: int, save: str) -> tuple[str | Path, ...]:
        return case.command("--shard", f"{i}/3", f"--save={folder / save}")

    out = printed(*command(2, "part-02.shard"))
    assert out.splitlines()[0] == (
        f"shard 2/3: 2 chunks of 3 models and types, in {folder / 'part-02.shard'}"
    )
    failed = run("ppl", "--merge", folder / "part-02.shard")
    assert failed.returncode == 1
    told, _, commands = failed.stderr.partition(": quantkit ")
    assert "of 3 shards, 1,3 are missing. Measure what is left, then merge" in told
    for i, each in zip((1, 3), commands.split("; quantkit "), strict=True):
        assert shlex.split(each) == [*map(str, command(i, f"part-0{i}.shard"))]
    for each in commands.split("; quantkit "):
        printed(*shlex.split(each))
    whole = printed(*case.command("--columns", "ppl,kld"))
    files = sorted(folder.glob("*.shard"))
    assert printed("ppl", "--merge", *files, "--columns", "ppl,kld") == whole


@pytest.mark.parametrize(
    ("save", "renamed"),
    [
        ("3.shard", "12.shard"),
        ("a/3/part-003.json", "a/3/part-012.json"),
        ("part-of-33.shard", "FILE"),
        ("3-3.shard", "FILE"),
    ],
)
def test_the_file_of_another_shard(save: str, renamed: str) -> None:
    """The number in its name, if there is one; otherwise the user finds a name."""
    words = ["quantkit", "ppl", "--shard", "3/16", "--save", save, "m=3.gguf"]
    about = SimpleNamespace(share=Share(3, 16), command=words)
    again = shards.command_of(Share(12, 16), cast(About, about))
    assert again == f"quantkit ppl --shard 12/16 --save {renamed} m=3.gguf"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("--shard", "3/2", "--save", "x"), "`shard` is 3 of 2; shards are numbered"),
        (("--shard", "0/2", "--save", "x"), "must be at least 1, not 0"),
        (("--shard", "third", "--save", "x"), "'third' is no shard; expected such as"),
        (("--shard", "1/2"), "--shard needs --save FILE, a file for each shard"),
        (("--shard", "1/2", "--save", "x", "--json"), "--json is for the whole: give"),
        (("--shard", "1/2", "--save", "x", "--html", "y"), "--html is for the whole"),
        (("--merge", "--shard", "1/2"), "--shard is for the measurement, and --merge"),
        (("--merge", "--ctx", "512"), "--ctx is for the measurement, and --merge puts"),
        (("--merge", "-t", "2"), "--threads is for the measurement, and --merge puts"),
        (("--merge", "--types", "Q8_0"), "--types is for the measurement, and --merge"),
    ],
)
def test_options_that_shards_have_no_use_for(
    case: Case, arguments: tuple[str, ...], error: str
) -> None:
    """They are refused by name, before any work."""
    done = run("ppl", case.model, *arguments)
    assert done.returncode == 2
    assert error in done.stderr.replace("\n", " ")


def test_models_that_shards_are_not_for(case: Case, tmp_path: Path) -> None:
    """Those that give embeddings, and those with other vocabularies."""
    for models, error in (
        ((case.model, DEMO_MODEL), "--shard is for models with the same vocabulary"),
        ((lettered_model("bert", tmp_path),), "--shard is for models that predict"),
    ):
        done = run(
            *("ppl", *models, "--text", case.texts[0]),
            *("--shard", "1/2", "--save", tmp_path / "1.shard"),
        )
        assert done.returncode == 2
        assert error in done.stderr
    assert not (tmp_path / "1.shard").exists()


def test_an_interrupted_shard_says_how_far_it_is(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And that the same command goes on."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("quantkit.evaluate.run.refuse_broken", stop)
    done = run(*case.command("--shard", "2/2", "--save", tmp_path / "2.shard"))
    assert done.returncode == 130
    assert "measured 0 of 6 chunks of shard 2/2; repeat the command" in done.stderr
