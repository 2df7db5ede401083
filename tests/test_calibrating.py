"""Calibrated rounding: what it is told, what it says, and what does not change it."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from quantkit.arrays.rows import dequantize_rows
from quantkit.calibrating import stages
from quantkit.calibrating.calibration import Calibration
from quantkit.calibrating.choosing import TIED_DAMPINGS
from quantkit.calibrating.gain import Gain
from quantkit.calibrating.mixture import mixture_texts
from quantkit.calibrating.narrowness import breadth_of_sample
from quantkit.calibrating.notices import about_gains
from quantkit.calibrating.run import calibrate, calibrate_on
from quantkit.calibrating.sample import Sample, sample_of
from quantkit.calibrating.sink import HERE, SinkWeights
from quantkit.errors import FormatError, NonFiniteError, QuantkitError
from quantkit.execution.workers import Pool, Threads
from quantkit.gguf.keys import string, uint32
from quantkit.gguf.source import ModelSource, SourceTensor
from quantkit.inference.weights import load_model, load_weights
from quantkit.quantizing.rounding import NearestRoundings
from quantkit.quantizing.slabs import slabs_of
from quantkit.tokens.options import TextOptions
from quantkit.types import QuantType

from .families.cases import CASES
from .test_calibrating_families import opened, rows_of, sample_for, types_of
from .test_calibrating_resume import TEXT, calibrated, model_and_types, same

BY_NAME = {case.name: case for case in CASES}


def test_errors_are_those_of_outputs() -> None:
    """As computed here from the inputs of a matrix, before and after.

    On held-out text, and on as much of the text that was summed.
    """
    name = "blk.0.attn_q.weight"  # its inputs have no sink's weight
    source, types = model_and_types()
    sample = sample_of(source, [TEXT], 1024, TextOptions(ctx=64))
    model: Any = load_model(source, load_weights(source))
    tensor, type = source.tensors[name], types[name]
    w = dequantize_rows(tensor.read(0, tensor.n_rows), tensor.type, tensor.n_cols)
    with calibrated(None) as found:
        gain, importance = found.gains[name], found.importance
        moved = []
        for way in NearestRoundings(importance).of(tensor), found.of(tensor):
            rows = np.concatenate([s.convert() for s in slabs_of(tensor, type, way)])
            moved.append(dequantize_rows(rows, type, tensor.n_cols) - w)
    expected = []
    for which in sample.is_held_out, sample.is_compared:
        chunks = [model.embedded(chunk) for chunk in sample.chunks[which]]
        x = np.concatenate([model.layers[0].mixer_norm(chunk)[1:] for chunk in chunks])
        squares = [np.square(x @ m.T, dtype=np.float64).sum() for m in (w, *moved)]
        expected += [square / squares[0] for square in squares[1:]]
    errors = gain.before, gain.after, gain.before_fitted, gain.after_fitted
    assert errors == pytest.approx(tuple(expected), rel=1e-4)
    before, after, before_fitted, after_fitted = expected
    assert after < 0.7 * before
    assert after_fitted < 0.7 * before_fitted
    excess = after / before * before_fitted / after_fitted - 1
    assert gain.excess == pytest.approx(excess, rel=1e-3)


def test_sequences_that_are_compared_are_summed() -> None:
    """As many as are held out, but not more than eight; spread over the text."""
    for n, n_held in (2, 1), (15, 1), (30, 3), (200, 20):
        sample = Sample(np.zeros((n, 8), np.int32), np.zeros(1, np.int32))
        assert sample.is_held_out.sum() == n_held
        assert sample.is_compared.sum() == min(n_held, 8)
        assert not (sample.is_compared & sample.is_held_out).any()
        assert sample.n_compared == 7 * min(n_held, 8)
        assert sample.is_compared[: n // 2].any()


def gain_of(tensor: str, excess: float, kept: str = "") -> Gain:
    """A gain with such an excess."""
    after = 0.1 * (1 + excess)
    errors = 0.2, after, 0.2, 0.1
    return Gain(tensor, QuantType.Q4_0, 9, 9, *errors, kept_plain=kept)


def test_more_text_is_advised_where_errors_are_larger_without() -> None:
    """For the kind of tensor with the largest mean; plain tensors do not count."""
    some = [gain_of("blk.0.ffn_down.weight", 0.1), gain_of("blk.1.ffn_up.weight", 0.3)]
    assert list(about_gains([some[0], gain_of("output.weight", 9, "worse")])) == []
    down = gain_of("blk.1.ffn_down.weight", 0.7)
    assert list(about_gains([*some, down])) == [
        "more calibration text would help: the error on held-out text is 40 % above "
        "that on the text itself (ffn_down.weight)"
    ]


@pytest.mark.slow
def test_more_effort_gives_other_bytes_of_less_error() -> None:
    """By the error of the model's final hidden states on held-out text."""
    source, types = model_and_types()
    sample = sample_of(source, [TEXT], 1024, TextOptions(ctx=64))
    exact: Any = load_model(source, load_weights(source))
    held = sample.chunks[sample.is_held_out]
    errors = []
    for effort in ("fast", "best"):
        with calibrate_on(source, types, sample, effort=effort) as found:
            model = load_model(source, rounded(source, types, found))
            errors.append(
                sum(
                    float(np.square(exact.hidden(c) - model.hidden(c)).sum())
                    for c in held
                )
            )
    plain = load_model(source, rounded(source, types, NearestRoundings()))
    error = sum(float(np.square(exact.hidden(c) - plain.hidden(c)).sum()) for c in held)
    assert errors[1] < errors[0] < error


def rounded(source: ModelSource, types: dict[str, QuantType], roundings: Any) -> Any:
    """The model's weights, rounded and then dequantized."""
    tensors = {}
    for name, tensor in source.tensors.items():
        slabs = slabs_of(tensor, types[name], roundings.of(tensor))
        data = np.concatenate([slab.convert() for slab in slabs])
        read = partial(_rows, data)
        tensors[name] = SourceTensor(name, tensor.shape, types[name], read)
    found: Any = SimpleNamespace(metadata=source.metadata, tensors=tensors)
    return load_weights(found)


def _rows(data: NDArray[np.uint8], start: int, stop: int) -> NDArray[np.uint8]:
    return data[start:stop]


@pytest.mark.parametrize(
    "name",
    [
        "mixtral",
        pytest.param("deepseek-v2-lite", marks=pytest.mark.slow),
        pytest.param("gpt-oss", marks=pytest.mark.slow),
    ],
)
def test_the_bytes_do_not_depend_on_the_budget(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Experts are summed in groups if all of their sums are too large."""
    source = opened(BY_NAME[name], tmp_path)
    rows, gains = rows_of(source, "best", 1)
    monkeypatch.setattr(stages, "BUDGET", 1)
    again, others = rows_of(source, "best", 1)
    assert gains == others
    for tensor, data in rows.items():
        assert np.array_equal(data, again[tensor])


def test_fused_projections_have_three_weights_of_the_first_position(
    tmp_path: Path,
) -> None:
    """Queries, keys and values, in the order of their rows."""
    _, gains = rows_of(opened(BY_NAME["phi3"], tmp_path), "fast", 1)
    queries, keys, values = gains["blk.0.attn_qkv.weight"].sink_weights
    assert queries == 0
    assert keys > 0
    assert values > 0
    assert keys != values


def test_an_embedding_that_is_the_head_is_damped() -> None:
    """More than its outputs ask for, which are all that is measured."""
    source, types = model_and_types()
    types["token_embd.weight"] = QuantType.Q4_0
    layers = {name: QuantType.F16 for name in types if name.startswith("blk.")}
    sample = sample_of(source, [TEXT], 1024, TextOptions(ctx=64))
    with calibrate_on(source, {**types, **layers}, sample) as found:
        (gain,) = found.gains.values()
    assert (gain.tensor, gain.damping) == ("token_embd.weight", TIED_DAMPINGS)


@pytest.mark.parametrize(
    ("matrix", "weight"),
    [
        ("attn_q", 0),
        ("attn_k", 200),
        ("attn_v", 300),
        ("attn_output", HERE),
        ("ffn_down_exps", HERE),
        ("attn_q_a", 0),  # latent attention: queries
        ("attn_q_b", 0),
        ("attn_k_b", 0),  # multiplies queries
        ("attn_kv_a_mqa", 300),  # gives what later positions read
        ("attn_kv_b", 300),
        ("attn_v_b", HERE),  # multiplies what was read
    ],
)
def test_weights_of_the_first_position(matrix: str, weight: float) -> None:
    """By what later positions read of what a matrix computes."""
    weights = SinkWeights(keys=200, values=300)
    assert weights.of(f"blk.3.{matrix}.weight", 0) == weight
    assert weights.of("output.weight", 0) == weights.of("token_embd.weight", 0) == 1


@pytest.mark.parametrize("matrix", ["attn_qkv", "attn_q", "attn_v", "ssm_in"])
def test_recurrent_layers_have_no_sink(matrix: str) -> None:
    """Their matrices count position 0 as what changes the residual stream does."""
    assert SinkWeights(attends=False).of(f"blk.3.{matrix}.weight", 0) == HERE


def test_experts_without_tokens_keep_plain_bytes_and_are_reported(
    tmp_path: Path,
) -> None:
    """By their numbers, and in a notice."""
    source = opened(BY_NAME["mixtral"], tmp_path)
    one_token = Sample(np.full((2, 6), 7, np.int32), np.full(1, 7, np.int32))
    said: list[str] = []
    types = types_of(source)
    with calibrate_on(source, types, one_token, notify=said.append) as found:
        gain = found.gains["blk.0.ffn_up_exps.weight"]
    assert 0 < len(gain.plain) < 5
    assert gain.fewest_tokens == 0
    assert gain.most_tokens == 5
    assert any("experts" in message for message in said)


def test_a_short_text_is_refused() -> None:
    """The message says how many tokens there are, and are needed."""
    source, types = model_and_types()
    short = Calibration(["A short text."], options=TextOptions(ctx=64))
    with pytest.raises(QuantkitError, match=r"has \d+ tokens.*at least 128"):
        calibrate(source, types, short)


def with_context(length: int | str) -> ModelSource:
    """The demo model, as if it had another context."""
    source, _ = model_and_types()
    field = string(length) if isinstance(length, str) else uint32(length)
    metadata = {**source.metadata, "llama.context_length": field}
    found: Any = SimpleNamespace(metadata=metadata, tensors=source.tensors)
    return found


@pytest.mark.parametrize(("context", "ctx"), [(24, 24), (100, 64), (0, 64)])
def test_sequences_are_no_longer_than_the_context(context: int, ctx: int) -> None:
    """Of the model; 0 says nothing."""
    sample = sample_of(with_context(context), [TEXT], 512, TextOptions(ctx=64))
    assert sample.chunks.shape == (512 // ctx, ctx)


@pytest.mark.parametrize(
    ("context", "message"),
    [(3, "context of 3 tokens; calibration needs at least 4"), ("x", "context_length")],
)
def test_a_wrong_context_is_refused(context: int | str, message: str) -> None:
    """Too short, and no number."""
    with pytest.raises(FormatError, match=message):
        sample_of(with_context(context), [TEXT], 512, TextOptions(ctx=64))


@pytest.mark.slow
def test_few_tokens_are_noticed() -> None:
    """For the widest matrix."""
    source, types = model_and_types()
    said: list[str] = []
    calibration = Calibration([TEXT], 1024, options=TextOptions(ctx=64))
    calibrate(source, types, calibration, notify=said.append).close()
    (few,) = [message for message in said if "inputs" in message]
    assert "768 inputs" in few
    assert "ffn_down" in few


@pytest.mark.parametrize(
    "is_narrow", [pytest.param(False, marks=pytest.mark.slow), True]
)
def test_a_narrow_text_is_noticed(is_narrow: bool) -> None:
    """One sentence over and over, beside files of the built-in mixture."""
    source, _ = model_and_types()
    options = TextOptions(ctx=512)
    texts = ["No one would have believed it. " * 300] if is_narrow else mixture_texts()
    sample = sample_of(source, texts, 8192, options)
    found = breadth_of_sample(source, sample, options, Threads(1))
    assert found is not None
    assert (found.warning is not None) == is_narrow


@pytest.mark.parametrize(
    ("weight", "said"),
    [
        (np.nan, r"blk\.1\.attn_q.* NaN or infinite.*blk\.1\.attn_norm"),
        (1e20, r"blk\.1\.attn_q.* reach .*e\+20; their squares are too large"),
    ],
)
def test_activations_that_cannot_be_summed_name_the_tensor(
    weight: float, said: str, tmp_path: Path
) -> None:
    """And the tensor that makes them so, if it is damaged."""
    source = opened(BY_NAME["llama"], tmp_path)
    tensor = source.tensors["blk.1.attn_norm.weight"]
    broken = np.full((1, tensor.n_cols), weight, np.float32).view(np.uint8)
    tensors = {
        **source.tensors,
        tensor.name: SourceTensor(
            tensor.name, tensor.shape, tensor.type, lambda a, b: broken[a:b]
        ),
    }
    damaged: Any = SimpleNamespace(metadata=source.metadata, tensors=tensors)
    with pytest.raises(NonFiniteError, match=said):
        calibrate_on(damaged, types_of(damaged), sample_for(damaged))


@pytest.mark.parametrize(
    "effort", [pytest.param("fast", marks=pytest.mark.slow), "best"]
)
def test_the_bytes_do_not_depend_on_threads(effort: str) -> None:
    """Nor on whether they are processes, which stand for as many threads."""
    source, types = model_and_types()
    sample = sample_of(source, [TEXT], 512, TextOptions(ctx=64))
    with ProcessPoolExecutor(3) as processes:
        workers = Pool(processes, 3)
        found = calibrate_on(source, types, sample, effort=effort, threads=workers)
    assert same(found, calibrate_on(source, types, sample, effort=effort, threads=1))
