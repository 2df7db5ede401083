"""Mixes of types: what tensors cost, the programme, and the check of what it plans."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from typer.testing import CliRunner, Result

import quantkit as qk
from quantkit.arrays.rows import dequantize_rows, quantize_rows
from quantkit.choosing.mixed import split_off
from quantkit.cli.main import app
from quantkit.errors import OptionError, OutputError, QuantkitError
from quantkit.evaluate.comparing import prepare
from quantkit.evaluate.likelihood import Predictions, compare_all
from quantkit.execution.workers import Threads
from quantkit.forward.layers import Head, Linear
from quantkit.gguf.source import SourceTensor
from quantkit.inference.weights import MemoryWeights, TypedMatrix, load_weights
from quantkit.mixing import Mix, Planner
from quantkit.mixing.drawing import N_DRAWN, divergence, drawn_tokens, logits_of
from quantkit.mixing.errors import Sampled, errors_of
from quantkit.mixing.programme import Option, cheapest
from quantkit.mixing.sensitivities import Measured, Sensitivity
from quantkit.mixing.shifts import Alone, Passage, decoder, measured_shifts
from quantkit.mixing.study import Study
from quantkit.quantizing.rounding import Nearest
from quantkit.recipes.files import read_recipe
from quantkit.sources.opening import open_runnable
from quantkit.tasks.demo import DEMO_MODEL, DEMO_TEXT
from quantkit.tokens.chunks import chunk_text
from quantkit.types import QuantType

from .families.lettered import lettered_text
from .small_model import small_model

Choose: TypeAlias = Callable[..., qk.Choice]
OPTIONS = qk.TextOptions(ctx=64, chunks=16)
TYPES = ["Q8_0", "Q4_K_M", "Q3_K_M"]
BPW = 5.2
"""Of the small model: Q3_K_M has fewer bits per weight, and Q4_K_M more."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_model(tmp_path_factory.mktemp("model") / "model.gguf")


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lettered_text(tmp_path_factory.mktemp("text") / "text.txt", 2000)


@pytest.fixture(scope="module")
def choose(model: Path, text: Path) -> Callable[..., qk.Choice]:
    """Chooses for the small model, with a mix."""

    def made(budget: qk.Budget, types: Any = TYPES, **more: Any) -> qk.Choice:
        options = qk.TextOptions(ctx=32, chunks=16)
        given: dict[str, Any] = {"text": text, "options": options, **more}
        return qk.choose(model, budget, types, mix=True, **given)

    return made


@pytest.fixture(scope="module")
def mixed(choose: Choose) -> tuple[qk.Choice, Mix]:
    made = choose(qk.Budget(max_bpw=BPW))
    assert made.mix is not None
    return made, made.mix


def brute_force(
    tensors: list[list[Option]], limits: tuple[int, ...]
) -> tuple[Option, ...] | None:
    """The best of all combinations."""
    able = [
        taken
        for taken in product(*tensors)
        if all(
            sum(each.sizes[i] for each in taken) <= limit
            for i, limit in enumerate(limits)
        )
    ]
    return min(able, key=lambda taken: sum(e.loss for e in taken), default=None)


@pytest.mark.parametrize("seed", range(8))
def test_the_programme_finds_the_best_of_all_combinations(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tensors = [
        [
            Option(float(rng.gamma(0.5)), (int(size), int(size) + 7))
            for size in rng.integers(10**6, 10**8, 4)
        ]
        for _ in range(6)
    ]
    least = sum(min(each.sizes[0] for each in own) for own in tensors)
    limits = int(least * 1.3), int(least * 1.25)
    best, taken = brute_force(tensors, limits), cheapest(tensors, limits)
    assert taken is not None
    assert tuple(own[i] for own, i in zip(tensors, taken, strict=True)) == best


def test_limits_are_kept_to_the_byte() -> None:
    """Where HiGHS's tolerance would let some bytes of a billion pass."""
    sizes, losses = (1_000_000_001, 1_000_000_000, 999_999_999), (0.0, 0.5, 1.0)
    tensors = [[Option(b, (a,)) for a, b in zip(sizes, losses, strict=True)]] * 2
    for limit in (2_000_000_002, 2_000_000_001, 2_000_000_000, 1_999_999_998):
        taken = cheapest(tensors, [limit])
        assert taken is not None
        assert sum(sizes[i] for i in taken) <= limit
    assert cheapest(tensors, [2_000_000_002]) == [0, 0]
    assert cheapest(tensors, [1_999_999_998]) == [2, 2]
    assert cheapest(tensors, [1_999_999_997]) is None


def head_of(logits: np.ndarray) -> Head:
    """A head that gives these logits [tokens] for the hidden state [1, 0, ...]."""
    rows = np.zeros((len(logits), 4), np.float32)
    rows[:, 0] = logits
    return Head(Linear(TypedMatrix(rows.view(np.uint8), QuantType.F32, 4)))


def test_tokens_are_drawn_as_often_as_they_are_predicted() -> None:
    """So exactly, where probabilities are multiples of 1/32, and in any position."""
    counts = np.array([1, 15, 12, 4])
    assert counts.sum() == N_DRAWN
    hidden = np.zeros((70, 4), np.float32)
    hidden[:, 0] = 1
    drawn = drawn_tokens(hidden, head_of(np.log(counts)), 3)
    assert (np.stack([np.bincount(row, minlength=4) for row in drawn]) == counts).all()


def test_the_divergence_of_drawn_tokens_is_that_of_the_vocabulary() -> None:
    """The same as from all logits, where the draw is exact."""
    counts, other = np.array([1, 15, 12, 4]), np.array([2.0, 1.0, 0.5, -1.0])
    hidden = np.zeros((40, 4), np.float32)
    hidden[:, 0] = 1
    base, model = head_of(np.log(counts)), head_of(other)
    drawn = drawn_tokens(hidden, base, 1)
    moved = logits_of(drawn, hidden, model) - logits_of(drawn, hidden, base)
    pair = Predictions(hidden, base), [Predictions(hidden, model)]
    _, (scores, _) = compare_all(*pair, np.zeros(40, np.int64))
    assert divergence(moved) == pytest.approx(scores.kld.mean(), rel=1e-6)
    assert divergence(np.zeros_like(moved)) == 0


def test_a_tensor_alone_moves_what_a_whole_run_moves() -> None:
    """Bit for bit: the layers before it are those of the unquantized model."""
    source = open_runnable(DEMO_MODEL)
    base, rounded = load_weights(source), load_weights(source, qk.Recipe.parse("Q4_0"))
    chunks = chunk_text(source, DEMO_TEXT, OPTIONS)
    some = [chunks.chunk(0), chunks.chunk(1)]
    ends = "token_embd", "blk.0.ffn_down", "blk.2.attn_k", "blk.3.ffn_up"
    changed = {
        name: rounded.tensors[name] for name in (f"{end}.weight" for end in ends)
    }
    one = measured_shifts(source, base, changed, some, Threads(1))
    many = measured_shifts(source, base, changed, some, Threads(3))
    whole = decoder(source, base)
    for name, matrix in changed.items():
        model = decoder(source, MemoryWeights({**base.tensors, name: matrix}))
        for i, chunk in enumerate(some):
            of_chunk = slice(i * chunks.n_scored, (i + 1) * chunks.n_scored)
            passage = Passage.of(whole, chunk, of_chunk.start)
            hidden = model.hidden(chunk.inputs)[chunk.predicting]
            logits = logits_of(passage.drawn, hidden, model.head)
            assert np.array_equal(one[name][of_chunk], logits - passage.logits)
            assert np.array_equal(many[name][of_chunk], logits - passage.logits)
        assert one[name].any()


def test_only_the_layers_from_a_tensor_on_are_run() -> None:
    source = open_runnable(DEMO_MODEL)
    model = decoder(source, load_weights(source))
    chunk = chunk_text(source, DEMO_TEXT, OPTIONS).chunk(0)
    passage = Passage.of(model, chunk, 0)
    names = "token_embd.weight", "blk.0.attn_q.weight", "blk.3.attn_q.weight"
    first = [Alone(passage, name, model).first_layer for name in names]
    assert first == [0, 0, 3]
    assert Alone(passage, "output.weight", model).first_layer == 4


@dataclass(frozen=True)
class PerMatrix:
    """Roundings of a tensor that stacks matrices, each with its importance."""

    importance: np.ndarray

    def of(self, tensor: SourceTensor) -> list[Nearest]:
        return [Nearest(row) for row in self.importance]


def test_errors_are_weighed_by_the_inputs_of_each_matrix() -> None:
    """Also where matrices are rounded with importance of their own."""
    tensor = open_runnable(DEMO_MODEL).tensors["blk.0.attn_k.weight"]
    rows = TypedMatrix(tensor.read(0, tensor.n_rows), tensor.type, tensor.n_cols)
    exact = rows.rows(np.arange(tensor.n_rows))
    rng = np.random.default_rng(1)
    used, inputs = rng.gamma(1, 1, (2, 2, tensor.n_cols)).astype(np.float32)
    type = QuantType.Q4_K
    found = errors_of(Sampled(tensor, rows, [type], PerMatrix(used), PerMatrix(inputs)))
    expected = 0.0
    for half, own, weight in zip(np.split(exact, 2), used, inputs, strict=True):
        data = quantize_rows(half, type, own)
        error = dequantize_rows(data, type, tensor.n_cols) - half
        expected += float((np.square(error, dtype=np.float64) @ weight).sum())
    assert found == {type: pytest.approx(expected, rel=1e-12)}


def test_losses_follow_from_the_nearest_measured_type() -> None:
    """With the ratio of the errors, and what calibration leaves."""
    shift = np.array([[0.0, 0.1], [0.0, -0.1]], np.float32)
    few, some, many = QuantType.Q3_K, QuantType.Q4_K, QuantType.Q6_K
    errors = {few: 9.0, some: 2.0, many: 0.5}
    one = Sensitivity(errors, {some: Measured(shift)}, gain=0.5)
    kld = divergence(shift)
    losses = [one.loss(type) for type in (few, some, many)]
    assert losses == pytest.approx([2.25 * kld, 0.5 * kld, 0.125 * kld], rel=1e-15)
    assert [one.is_far(type) for type in (few, some, many)] == [True, False, False]
    two = one.with_measured(few, Measured(5 * shift))
    assert two.loss(few) == 0.5 * divergence(5 * shift)
    assert two.loss(some) == one.loss(some)
    assert not two.is_far(few)
    moved = two.moved(many)
    assert np.array_equal(moved, shift * np.float32(0.125**0.5))


def test_types_far_from_what_was_measured_are_measured(
    choose: Choose, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before they are used."""
    measured: list[dict[str, QuantType]] = []
    further = Study.further

    def noted(study: Study, found: Any, types: dict[str, QuantType]) -> Any:
        measured.append(types)
        return further(study, found, types)

    monkeypatch.setattr(Study, "further", noted)
    made = choose(qk.Budget(max_bpw=5.5))
    assert made.mix is not None
    assert measured
    own = {each.tensor: each.reference_type for each in made.mix.tensors}
    for types in measured:
        assert types.items().isdisjoint(own.items())


def test_text_is_split() -> None:
    run = prepare(DEMO_MODEL, ["Q8_0"], text=DEMO_TEXT, options=OPTIONS)
    whole = run.known.texts[0].chunks
    left, chunks = split_off(run.known)
    taken = [3, 7, 11, 15]
    assert [c.inputs.tolist() for c in chunks] == [
        whole.inputs(i).tolist() for i in taken
    ]
    others = np.delete(whole.tokens, taken, axis=0)
    assert np.array_equal(left.texts[0].chunks.tokens, others)


def test_a_mix_is_chosen_if_it_loses_less(mixed: tuple[qk.Choice, Mix]) -> None:
    choice, mix = mixed
    assert choice.chosen is not None
    assert choice.chosen.name == mix.name == "mix"
    assert mix.is_chosen
    assert mix.reference == "Q3_K_M"
    assert mix.difference is not None
    assert mix.difference.kld_difference < 0
    assert mix.difference.kld_p_value < 0.05
    assert mix.measured == choice.chosen.kld_mean
    assert choice.chosen.chunks == 12
    assert choice.chosen.bpw <= BPW
    assert "with interactions; " in choice.sentence
    outcomes = {each.name: each.outcome for each in choice.candidates}
    assert outcomes["Q3_K_M"] == "beaten by mix"


def test_what_is_expected_is_near_what_is_measured() -> None:
    """Both ways to predict: of 29 tensors at 5 bits, few interact."""
    budget = qk.Budget(max_size=2_860_000)
    given: dict[str, Any] = {"text": DEMO_TEXT, "options": OPTIONS, "mix": True}
    made = qk.choose(DEMO_MODEL, budget, ["Q4_K_M", "Q5_K_M", "IQ4_XS"], **given)
    assert made.mix is not None
    assert made.mix.is_chosen
    assert made.mix.measured is not None
    assert made.chosen is not None
    assert made.chosen.size_bytes <= 2_860_000
    for predicted in (made.mix.predicted, made.mix.predicted_together):
        assert 0.7 < predicted / made.mix.measured < 1.4
    assert made.mix.predicted != made.mix.predicted_together


def test_its_recipe_makes_its_file(
    mixed: tuple[qk.Choice, Mix], model: Path, tmp_path: Path
) -> None:
    """The recipe file has all that is needed, and the size is that of the file."""
    choice, mix = mixed
    assert choice.chosen is not None
    file = tmp_path / "mix.toml"
    file.write_text(mix.to_toml())
    recipe, overrides = read_recipe(file)
    assert (recipe, overrides) == (mix.recipe, mix.overrides)
    out = tmp_path / "out.gguf"
    qk.quantize_file(model, out, mix.recipe, overrides=overrides)
    assert out.stat().st_size == choice.chosen.size_bytes
    with qk.GGUFFile(out) as made:
        assert {t.name: t.type for t in made.tensors.values()} == mix.types


def test_a_mix_does_not_depend_on_threads(
    mixed: tuple[qk.Choice, Mix], choose: Choose
) -> None:
    assert choose(qk.Budget(max_bpw=BPW), threads=3) == mixed[0]


def test_a_mix_that_is_no_better_is_not_taken(
    choose: Choose, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was expected of it."""

    def planned(planner: Planner, *_: Any) -> Mix:
        worse = {"blk.0.attn_q.weight": QuantType.Q3_K}
        own = planner.entry(worse).wanted
        assert own is not None
        tensor = qk.TensorChoice(
            *("blk.0.attn_q.weight", QuantType.Q3_K, 1, QuantType.Q4_K, 0.1, 0.1)
        )
        name = planner.reference.name
        return Mix("mix", name, own.recipe, own.overrides, [tensor], 1e-9, 1e-9)

    monkeypatch.setattr(Planner, "plan", planned)
    made = choose(qk.Budget(max_bpw=5.5))
    assert made.chosen is not None
    assert made.chosen.name == "Q4_K_M"
    assert made.mix is not None
    assert not made.mix.is_chosen
    assert "so it is not taken" in made.sentence
    outcomes = {each.name: each.outcome for each in made.candidates}
    assert outcomes["mix"] == "no better than Q4_K_M"


def test_a_mix_may_be_the_type_itself(choose: Choose) -> None:
    """Then there is nothing to measure."""
    made = choose(qk.Budget(max_bpw=9), ["Q8_0"])
    assert made.chosen is not None
    assert made.chosen.name == "Q8_0"
    assert made.mix is not None
    assert made.mix.is_reference
    assert made.mix.measured is None
    assert "The mix of types that is expected to lose least is Q8_0." in made.sentence


def test_a_mix_may_fit_where_no_type_does(choose: Choose) -> None:
    """Q3_K_M's file has larger types, too, which a mix need not have."""
    made = choose(qk.Budget(max_bpw=4.5))
    assert made.chosen is not None
    assert made.chosen.name == "mix"
    assert made.chosen.bpw <= 4.5
    made = choose(qk.Budget(max_bpw=2))
    assert made.chosen is None
    assert made.sentence.endswith("No mix of types keeps to these limits either.")


def test_a_mix_needs_a_limit_of_size(choose: Choose) -> None:
    with pytest.raises(OptionError, match="`mix` needs a limit of size"):
        choose(qk.Budget(max_kld=0.01))
    with pytest.raises(OptionError, match="`mix` is 'yes'"):
        qk.choose(DEMO_MODEL, text=DEMO_TEXT, mix="yes")  # type: ignore[arg-type]


def test_a_mix_needs_more_text_than_a_choice(choose: Choose) -> None:
    options = qk.TextOptions(ctx=32, chunks=4)
    with pytest.raises(QuantkitError, match="has 4 chunks, and a mix is planned on"):
        choose(qk.Budget(max_bpw=BPW), options=options)


def test_no_recipe_file_is_called_as_the_mix_is(choose: Choose, tmp_path: Path) -> None:
    file = tmp_path / "Mix.toml"
    file.write_text('base = "Q4_0"\n')
    with pytest.raises(OptionError, match="rename the recipe file"):
        choose(qk.Budget(max_bpw=BPW), [file])


def test_memory_limits_a_mix(choose: Choose) -> None:
    """What is left for the file is what context and buffers leave."""
    made = choose(qk.Budget(memory=3_100_000, ctx=64))
    assert made.chosen is not None
    assert made.chosen.name == "mix"
    assert made.chosen.need is not None
    assert made.chosen.need.total <= 3_100_000


def test_losses_limit_a_mix_too(choose: Choose) -> None:
    """A mix that is better than the best type still must lose little enough."""
    made = choose(qk.Budget(max_bpw=BPW, max_kld=1e-6))
    assert made.chosen is None
    assert made.mix is not None
    assert made.mix.is_better
    assert not made.mix.is_chosen
    assert "it may lose more than the limits allow" in made.sentence


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments), "-q"])


def test_the_command_writes_the_file_and_its_recipe(
    model: Path, text: Path, tmp_path: Path
) -> None:
    """The printed command makes the same file, which records its recipe."""
    out, again = tmp_path / "out.gguf", tmp_path / "again.gguf"
    size = 150_000
    done = run(
        *("choose", model, "--text", text, "--mix", "--types", ",".join(TYPES)),
        *("--chunk-size", 32, "--chunks", 16, "--max-size", size, "-o", out),
    )
    assert done.exit_code == 0, done.output
    assert out.stat().st_size <= size
    recipe = tmp_path / "out.toml"
    line = next(line for line in done.stdout.splitlines() if "quantize" in line)
    assert line.endswith(f"{out} --recipe {recipe} --provenance")
    run("quantize", model, again, "--recipe", recipe, "--provenance")
    assert again.read_bytes() == out.read_bytes()
    _, overrides = read_recipe(recipe)
    with qk.GGUFFile(out) as made:
        record = json.loads(made.metadata["quantkit.recipe"].value)
        types = {t.name: t.type for t in made.tensors.values()}
    assert types == overrides.types
    assert record["types"] == {name: type.name for name, type in types.items()}


def test_the_recipe_is_written_over_no_input(text: Path, tmp_path: Path) -> None:
    own = tmp_path / "out.toml"
    own.write_bytes(text.read_bytes())
    out = tmp_path / "out.gguf"
    done = run("choose", DEMO_MODEL, "--text", own, "--mix", "-o", out)
    assert isinstance(done.exception, OutputError)
    assert "the recipe of the mix" in str(done.exception)
    assert own.read_bytes() == text.read_bytes()


@pytest.mark.slow
def test_a_calibrated_mix_beats_the_calibrated_type() -> None:
    calibration = qk.Calibration([DEMO_TEXT], tokens=4096, effort="best")
    made = qk.choose(
        DEMO_MODEL,
        qk.Budget(max_size=2_860_000),
        ["Q4_K_M", "Q5_K_M", "Q3_K_M"],
        text=DEMO_TEXT,
        options=OPTIONS,
        calibration=calibration,
        mix=True,
    )
    assert made.mix is not None
    assert made.mix.name == "mix calibrated"
    assert made.mix.reference == "Q4_K_M calibrated"
    assert made.mix.is_chosen


def test_a_mix_uses_types_that_need_importance(
    choose: Choose, model: Path, text: Path
) -> None:
    """With an importance matrix, which its file then records."""
    options = qk.TextOptions(ctx=32, chunks=8)
    importance = qk.imatrix(model, text, options=options)
    types = ["Q4_K_M", "Q2_K_S", "IQ2_XXS"]
    made = choose(qk.Budget(max_bpw=3.9), types, importance=importance)
    assert made.mix is not None
    assert made.mix.name == "mix imatrix"
    assert made.chosen is not None
    assert made.chosen.uses_importance
    assert QuantType.IQ2_XXS in made.mix.types.values()
