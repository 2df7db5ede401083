"""Choosing a type for the demo model: limits, evidence, and the command."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

import quantkit as qk
from quantkit.choosing import Budget, parse_bytes, parse_share
from quantkit.choosing.choosing import choose_by
from quantkit.choosing.memory import CONTEXT, Runtime
from quantkit.cli.choose import Maker
from quantkit.cli.main import app
from quantkit.errors import OptionError, OutputError, QuantkitError
from quantkit.evaluate.comparing import prepare
from quantkit.gguf.keys import uint32
from quantkit.sources.opening import open_source
from quantkit.tasks.demo import DEMO_MODEL, DEMO_TEXT

TYPES = ["Q8_0", "Q4_K_M", "Q4_0", "Q2_K"]
OPTIONS = qk.TextOptions(ctx=64, chunks=16)
CACHE = 4 * (2 * 2 * 64) * 256 * 2
"""Of 4 layers, keys and values of 2 heads of 64, in 256 cells of 2 bytes."""


def choose(budget: Budget, **more: Any) -> qk.Choice:
    given: dict[str, Any] = {"text": DEMO_TEXT, "options": OPTIONS, **more}
    return qk.choose(DEMO_MODEL, budget, TYPES, **given)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4.5G", 4_500_000_000),
        ("8GiB", 8 << 30),
        ("8gb", 8_000_000_000),
        ("500 M", 500_000_000),
        ("1.5KiB", 1536),
        ("77", 77),
        ("12B", 12),
        (".5T", 500_000_000_000),
    ],
)
def test_sizes_have_units(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "G", "0", "0G", "-1G", "4,5G", "4iB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match=r"such as 4.5G"):
        parse_bytes(text)


@pytest.mark.parametrize(("text", "share"), [("1%", 0.01), ("0.5 %", 0.005), ("2", 2)])
def test_shares_have_percentages(text: str, share: float) -> None:
    assert parse_share(text) == share


@pytest.mark.parametrize("text", ["", "%", "0%", "-1%", "one", "1%%", "nan"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match="such as 1%"):
        parse_share(text)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"max_size": 0}, "`max_size` must be at least 1"),
        ({"max_size": 4.5}, "`max_size` is 4.5; expected an integer"),
        ({"memory": True}, "`memory` is True; expected an integer"),
        ({"max_kld": 0}, "`max_kld` is 0; expected a finite number above 0"),
        ({"max_kld": float("nan")}, "`max_kld` is nan"),
        ({"max_ppl_loss": "1%"}, "`max_ppl_loss` is '1%'"),
        ({"max_bpw": -1}, "`max_bpw` is -1"),
        ({"max_bpw": np.float64("nan")}, "`max_bpw` is"),
        ({"max_bpw": np.bool_(True)}, "`max_bpw` is"),
        ({"ctx": 100}, "`ctx` needs `memory`"),
    ],
)
def test_wrong_limits_are_named(limits: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=re.escape(message)):
        Budget(**limits)


def test_limits_may_be_numbers_of_numpy() -> None:
    """As those that are computed from results; JSON has plain ones."""
    limits = Budget(max_kld=np.float32(0.5), max_bpw=np.int64(4))
    assert limits == Budget(max_kld=0.5, max_bpw=4)
    assert repr([limits.max_kld, limits.max_bpw]) == "[0.5, 4]"


def test_the_file_that_loses_least_is_chosen_for_a_size() -> None:
    made = choose(Budget(max_size=2_900_000))
    assert made.chosen is not None
    assert made.chosen.name == "Q4_K_M"
    assert made.smaller is not None
    assert made.larger is not None
    assert (made.smaller.name, made.larger.name) == ("Q4_0", "Q8_0")
    assert made.larger.outcome == "does not fit"
    assert [each.name for each in made.differences] == ["Q4_0", "Q8_0"]
    assert made.sentence.startswith("Take Q4_K_M (")
    assert made.sentence.endswith("but does not fit.")


def test_sizes_are_those_of_files(tmp_path: Path) -> None:
    made = choose(Budget(max_kld=1.0))
    sizes = {each.name: each.size_bytes for each in made.candidates}
    for type in TYPES:
        out = tmp_path / f"{type}.gguf"
        qk.quantize_file(DEMO_MODEL, out, type)
        assert sizes[type] == out.stat().st_size


def test_the_smallest_file_is_chosen_for_a_loss() -> None:
    made = choose(Budget(max_kld=0.05))
    assert made.chosen is not None
    assert made.chosen.name == "Q4_0"
    assert "is the smallest that keeps to KLD 0.05" in made.sentence


def test_progress_ends_with_each_round() -> None:
    """It counts the chunks of a round, because later ones measure fewer candidates."""
    run = prepare(DEMO_MODEL, TYPES, text=DEMO_TEXT, options=OPTIONS)
    seen: list[tuple[str, bool]] = []

    def note(stage: str, done: int, total: int) -> None:
        seen.append((stage, run.steps_done == run.n_steps))

    choose_by(run, Budget(max_size=2_900_000), note)
    ended = [stage.split(",")[0] for stage, is_end in seen if is_end]
    assert ended == [f"round {i} of 3" for i in (1, 2, 3)]


def test_a_context_of_0_is_not_known() -> None:
    """As in files of recurrent models."""
    source = open_source(DEMO_MODEL)
    unknown = {**source.metadata, "llama.context_length": uint32(0)}
    model: Any = SimpleNamespace(metadata=unknown, tensors=source.tensors)
    assert Runtime.of(model, None).ctx == CONTEXT


def test_what_fits_as_it_is_needs_no_measurement() -> None:
    made = choose(Budget(max_size=10**9))
    assert made.chosen is not None
    assert made.chosen.recipe is None
    assert made.comparison is None
    assert "fits as it is" in made.sentence


def test_nothing_is_chosen_if_nothing_keeps_the_limits() -> None:
    made = choose(Budget(max_size=2_100_000, max_kld=1e-6))
    assert made.chosen is None
    assert made.sentence.startswith("No type keeps to a file of 2.10 MB and KLD 1e-06;")


def test_memory_has_parts_that_add_up() -> None:
    made = choose(Budget(memory=14_000_000, ctx=100))
    assert made.chosen is not None
    need = made.chosen.need
    assert need is not None
    assert need.weights == made.chosen.size_bytes
    assert need.cache == CACHE
    assert need.state == 0
    assert need.total == need.weights + need.cache + need.compute
    assert need.total <= 14_000_000


def test_a_context_longer_than_the_model_s_is_told() -> None:
    told: list[str] = []
    choose(Budget(memory=10**10, ctx=99_999), notify=told.append)
    assert "99999 tokens of context" in told[0]
    assert "trained with 1024" in told[0]
    choose(Budget(memory=10**10, ctx=1024), notify=told.append)
    assert len(told) == 1


def test_the_answer_does_not_depend_on_threads() -> None:
    budget = Budget(max_kld=0.02)
    assert choose(budget, threads=1) == choose(budget, threads=3)


def test_what_is_saved_is_not_measured_again(tmp_path: Path) -> None:
    save, seen = tmp_path / "scores", []
    first = choose(Budget(max_size=2_900_000), save=save)
    again = choose(
        Budget(max_size=2_900_000),
        save=save,
        progress=lambda stage, done, total: seen.append(stage),
    )
    assert first == again
    assert not seen


def test_types_that_give_the_same_file_are_measured_once() -> None:
    made = qk.choose(
        DEMO_MODEL,
        Budget(max_kld=0.5),
        ["Q8_0", "MXFP4_MOE"],
        text=DEMO_TEXT,
        options=OPTIONS,
    )
    assert [each.name for each in made.candidates] == ["Q8_0", "BF16"]


def test_importance_replaces_types_that_it_changes() -> None:
    importance = qk.imatrix(DEMO_MODEL, DEMO_TEXT, options=OPTIONS)
    made = choose(Budget(max_kld=1.0), importance=importance)
    names = {each.name for each in made.candidates}
    assert names == {"BF16", "Q8_0", *(f"{t} imatrix" for t in TYPES if t != "Q8_0")}


def test_too_few_chunks_are_refused() -> None:
    with pytest.raises(QuantkitError, match="fewer than 4 chunks"):
        choose(Budget(max_kld=1.0), options=qk.TextOptions(ctx=64, chunks=3))


def test_a_quantized_model_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "q8.gguf"
    qk.quantize_file(DEMO_MODEL, out, "Q8_0")
    with pytest.raises(QuantkitError, match="already quantized"):
        qk.choose(out, Budget(max_kld=1.0), TYPES, text=DEMO_TEXT, options=OPTIONS)


def test_several_models_are_refused() -> None:
    with pytest.raises(OptionError, match="`model` must be one model"):
        qk.choose(
            [DEMO_MODEL, DEMO_MODEL],  # type: ignore[arg-type]
            Budget(max_kld=1.0),
            TYPES,
            text=DEMO_TEXT,
            options=OPTIONS,
        )


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def command(*limits: str) -> list[str]:
    return [
        *("choose", str(DEMO_MODEL), "--text", str(DEMO_TEXT)),
        *("--types", ",".join(TYPES), "--chunk-size", "64", "--chunks", "16"),
        *("-q", *limits),
    ]


def test_the_command_says_why_and_writes_the_file(tmp_path: Path) -> None:
    out = tmp_path / "my model.gguf"
    done = run(*command("--max-size", "2.9M", "-o", str(out)))
    assert done.exit_code == 0
    assert done.stdout.startswith("Take Q4_K_M (")
    assert f"quantkit quantize {DEMO_MODEL} '{out}' Q4_K_M" in done.stdout
    assert out.stat().st_size <= 2_900_000
    assert max(map(len, done.stdout.splitlines()[2:-2])) <= 80


def test_what_fits_as_it_is_is_not_written_again(
    demo_f16: Path, tmp_path: Path
) -> None:
    """A file is named; a checkpoint, also one of the Hub, is converted."""
    out = tmp_path / "out.gguf"
    given = ("choose", "--max-size", "1G", "--text", str(DEMO_TEXT), "-o", str(out))
    done = CliRunner().invoke(app, [*given, str(demo_f16)])
    assert done.exit_code == 0
    assert f"{out} is not written: {demo_f16} fits as it is" in done.stdout
    assert not out.exists()
    fitting = choose(Budget(max_size=10**9))
    maker = Maker(Path("hf://org/name"), None, [], None, None, False)
    assert maker.command(fitting, out) == f"quantkit convert hf://org/name -o {out}"


def test_the_command_prints_json() -> None:
    done = run(*command("--memory", "14M", "--ctx", "100", "--json"))
    made = json.loads(done.stdout)
    assert made["chosen"]["need"]["cache"] == CACHE
    assert made["command"].endswith(made["chosen"]["recipe"])
    assert made["budget"]["memory"] == 14_000_000


def test_the_command_fails_if_nothing_fits(tmp_path: Path) -> None:
    out = tmp_path / "out.gguf"
    done = run(*command("--max-size", "100", "-o", str(out)))
    assert done.exit_code == 3
    assert done.stdout.startswith("No type keeps to a file of 100 bytes;")
    assert not out.exists()


@pytest.mark.parametrize("option", ["--save", "-o"])
def test_the_command_writes_over_no_input(option: str, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_bytes(DEMO_TEXT.read_bytes())
    done = run("choose", str(DEMO_MODEL), "--text", str(text), option, str(text), "-q")
    assert isinstance(done.exception, OutputError)
    assert "is the same file as --text" in str(done.exception)
    assert text.read_bytes() == DEMO_TEXT.read_bytes()


@pytest.mark.parametrize("option", ["--save", "-o"])
def test_no_part_of_a_split_model_is_replaced(option: str, tmp_path: Path) -> None:
    """The other parts are read, although only one of them is named."""
    qk.quantize_file(DEMO_MODEL, tmp_path / "m.gguf", "F16", split_max_bytes=3_000_000)
    first, second, _ = sorted(tmp_path.iterdir())
    before = second.read_bytes()
    done = run("choose", str(first), "--max-size", "3M", option, str(second), "-q")
    assert isinstance(done.exception, OutputError)
    assert f"is a part of MODEL {first}" in str(done.exception)
    assert second.read_bytes() == before


def test_no_model_is_written_to_a_device() -> None:
    """Nor a recipe beside it, and it is said before anything is measured."""
    done = run(*command("--max-size", "2.9M", "--mix", "-o", os.devnull))
    assert isinstance(done.exception, OutputError)
    assert "it is a device, not a regular file" in str(done.exception)
    assert not done.stdout


def test_recipes_that_share_a_name_are_refused(tmp_path: Path) -> None:
    files = []
    for folder, base in (("one", "Q4_K_M"), ("two", "Q8_0")):
        (tmp_path / folder).mkdir()
        files.append(tmp_path / folder / "mix.toml")
        files[-1].write_text(f'base = "{base}"\n')
    with pytest.raises(OptionError, match="two of the `types` are called 'mix'"):
        qk.choose(DEMO_MODEL, Budget(max_kld=1.0), files, text=DEMO_TEXT)


def test_what_was_not_measured_says_so() -> None:
    made = choose(Budget(max_size=10**9))
    outcomes = {each.outcome for each in made.candidates if each.recipe is not None}
    assert outcomes == {"not measured"}
