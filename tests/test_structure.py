"""Tensors and metadata of every family, damaged one by one: no number comes of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantkit.errors import FormatError, QuantkitError
from quantkit.forward.facts import TOKENS
from quantkit.forward.outline import Outline
from quantkit.gguf.keys import Field, ValueType, array, boolean, float32, string, uint32
from quantkit.models import check_model, family_for_config, load_model
from quantkit.sources.checking import shapes_of
from quantkit.sources.checkpoint import CheckpointSource

from .families.cases import CASES, RUN, Case
from .families.sampling import one_in_four
from .families.stored import checkpoint, fixture

Metadata = dict[str, Field]
Shapes = dict[str, tuple[int, ...]]
Model = tuple[Metadata, Shapes]

FIRST: dict[str, Case] = {}
"""A case of each architecture."""
for each in RUN:
    FIRST.setdefault(family_for_config(fixture(each)["config"]).name, each)

MAY_BE_MISSING = (
    *("output.weight", "rope_freqs.weight", "token_types.weight"),
    "exp_probs_b_vl.bias",
)
"""A tied head, models that do not scale frequencies, a part for images."""

DAMAGED = [
    string("many"),
    uint32(0),
    uint32(2**32 - 1),
    Field(ValueType.INT32, -1),
    Field(ValueType.UINT64, 2**63),
    float32(float("nan")),
    float32(float("inf")),
    float32(-1.0),
    boolean(False),
    array(ValueType.INT32, []),
    array(ValueType.INT32, [-1] * 9),
    array(ValueType.STRING, ["many"] * 9),
]


def model_of(case: Case, folder: Path) -> Model:
    """The metadata of a case's model, with a list of tokens, and its shapes."""
    source = CheckpointSource(checkpoint(case, folder), "f32")
    shapes = shapes_of(source)
    tokens = ["a"] * shapes["token_embd.weight"][0]
    return {**source.model_fields, TOKENS: array(ValueType.STRING, tokens)}, shapes


def check(metadata: Mapping[str, Field], shapes: Shapes) -> None:
    check_model(metadata, metadata["general.architecture"].value, shapes)


def is_refused(metadata: Mapping[str, Field], shapes: Shapes) -> bool:
    """Whether the model is refused; any other error than quantkit's is raised."""
    try:
        check(metadata, shapes)
    except QuantkitError:
        return True
    return False


def is_read(name: str, metadata: Mapping[str, Field]) -> bool:
    """Whether a tensor is not of a layer that only predicts further tokens."""
    arch = metadata["general.architecture"].value
    counts = (f"{arch}.{key}" for key in ("block_count", "nextn_predict_layers"))
    n_blocks, n_predictors = (metadata.get(key, uint32(0)).value for key in counts)
    last = range(n_blocks - n_predictors, n_blocks)
    return not name.startswith(tuple(f"blk.{number}." for number in last))


def with_damaged_shapes(
    shapes: Shapes, names: Iterable[str]
) -> Iterator[tuple[str, Shapes]]:
    """The shapes, with one of them changed."""
    for name in names:
        shape = shapes[name]
        changed = {(1, *shape[1:]), (*shape[:-1], 1), (*shape, 2), shape[::-1], (0,)}
        for other in changed - {shape}:
            yield name, {**shapes, name: other}


@pytest.fixture(scope="module", params=one_in_four(FIRST.values()))
def model(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Model:
    """The metadata and the shapes of a model of each architecture."""
    return model_of(request.param, tmp_path_factory.mktemp("model"))


def test_tensors_that_do_not_fit_are_refused(model: Model) -> None:
    """Of another shape, missing, or too many; the model itself is accepted."""
    metadata, shapes = model
    check(metadata, shapes)
    read = [name for name in shapes if is_read(name, metadata)]
    for name, changed in with_damaged_shapes(shapes, read):
        if name == "token_types.weight" and changed[name][1:] == shapes[name][1:]:
            continue  # texts have the first type, however many there are
        assert is_refused(metadata, changed), (name, changed[name])
    for name in read:
        fewer = {key: shape for key, shape in shapes.items() if key != name}
        may_be = name.removeprefix("blk.0.") in MAY_BE_MISSING
        assert is_refused(metadata, fewer) or may_be, name
    for name in ("blk.0.foo.weight", "blk.9.attn_norm.weight", "output_norm.scale"):
        assert is_refused(metadata, {**shapes, name: (1,)}), name


def test_damaged_metadata_is_refused_or_not_read(model: Model) -> None:
    """No other error comes of any value, and no memory is allocated for large ones."""
    metadata, shapes = model
    arch = metadata["general.architecture"].value
    sizes = [f"{arch}.{x}" for x in ("block_count", "embedding_length")]
    sizes.append(f"{arch}.attention.head_count")
    for key in (key for key in metadata if key.startswith(f"{arch}.")):
        is_none = metadata[key].type is ValueType.UINT32 and metadata[key].value == 0
        is_size = key in sizes and not is_none  # Mamba has no heads
        for field in DAMAGED:
            refused = is_refused({**metadata, key: field}, shapes)
            assert refused or not is_size, (key, field)
        is_refused({k: v for k, v in metadata.items() if k != key}, shapes)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return model_of(named("llama"), tmp_path_factory.mktemp("llama"))


def named(name: str) -> Case:
    return next(case for case in CASES if case.name == name)


@pytest.mark.parametrize(
    "name",
    [
        "blk.0.attn_sinks.weight",
        "blk.0.exp_probs_b.bias",
        "blk.0.ffn_up_shexp.weight",
        "blk.0.post_attention_norm.weight",
        "blk.0.attn_q_norm.weight",
        "token_embd_norm.weight",
        "output.bias",
        "output_norm.bias",
    ],
)
def test_tensors_without_a_place_are_named(llama: Model, name: str) -> None:
    """A Llama that has them would be run as if they were not there."""
    metadata, shapes = llama
    with pytest.raises(FormatError, match=f"'{name}', which a 'llama' model"):
        check(metadata, {**shapes, name: (4,)})


def test_many_tensors_without_a_place_are_counted(
    llama: Model,
) -> None:
    """The first are named."""
    metadata, shapes = llama
    fewer = {**metadata, "llama.block_count": uint32(1)}
    with pytest.raises(FormatError, match=r"'blk\.1\.\w+\.weight', .* and 15 more"):
        check(fewer, shapes)


def test_a_wrong_shape_says_which_keys_it_follows_from(
    llama: Model,
) -> None:
    """Found, expected, and by what."""
    metadata, shapes = llama
    message = (
        r"'blk\.0\.attn_q\.weight' has the shape \[64, 1\]; expected \[64, 64\] from "
        r"llama\.attention\.head_count, llama\.attention\.key_length, "
        r"llama\.embedding_length"
    )
    with pytest.raises(FormatError, match=message):
        check(metadata, {**shapes, "blk.0.attn_q.weight": (64, 1)})


def test_layers_are_alike(llama: Model) -> None:
    """A bias may be there, but then in all layers."""
    metadata, shapes = llama
    biases = {f"blk.{i}.attn_output.bias": (64,) for i in range(3)}
    check(metadata, {**shapes, **biases})
    del biases["blk.1.attn_output.bias"]
    with pytest.raises(FormatError, match=r"lacks.*'blk\.1\.attn_output\.bias'"):
        check(metadata, {**shapes, **biases})


@pytest.mark.parametrize(
    "name",
    ["v.blk.0.attn_q.weight", "mm.0.weight", "blk.3.nextn.eh_proj.weight"],
)
def test_tensors_for_other_purposes_may_be_there(llama: Model, name: str) -> None:
    """Those of vision encoders, and of the prediction of further tokens."""
    metadata, shapes = llama
    check(metadata, {**shapes, name: (7, 7)})


def test_layers_that_predict_further_tokens_are_not_run(
    llama: Model,
) -> None:
    """`block_count` counts them too."""
    metadata, shapes = llama
    last = {n.replace("blk.2.", "blk.3."): s for n, s in shapes.items() if ".2." in n}
    told = {"llama.block_count": uint32(4), "llama.nextn_predict_layers": uint32(1)}
    more = {**shapes, **last}
    loaded: Any = load_model({**metadata, **told}, "llama", Outline(more), more)
    assert len(loaded.layers) == 3
    with pytest.raises(FormatError, match="give a size of 0"):
        check({**metadata, "llama.nextn_predict_layers": uint32(3)}, shapes)
    many = {
        "llama.block_count": uint32(2**31 - 1),
        "llama.nextn_predict_layers": uint32(2**31 - 4),
    }
    check({**metadata, **many}, shapes)  # at once


def test_scales_beside_matrices_count_as_read(llama: Model) -> None:
    """As NVFP4 files have them: one number; norms and the embedding have none."""
    metadata, shapes = llama
    scales: Shapes = {"blk.0.ffn_up.scale": (1,), "blk.0.ffn_up.input_scale": (1,)}
    check(metadata, {**shapes, **scales})
    for name, shape in {"blk.0.ffn_up.scale": (2,), "token_embd.scale": (1,)}.items():
        with pytest.raises(FormatError, match=name):
            check(metadata, {**shapes, name: shape})


@pytest.mark.parametrize("key", ["bos", "eos"])
def test_tokens_outside_of_the_vocabulary(llama: Model, key: str) -> None:
    """112 tokens."""
    metadata, shapes = llama
    name = f"tokenizer.ggml.{key}_token_id"
    check({**metadata, name: uint32(111)}, shapes)
    with pytest.raises(FormatError, match=f"{name} is 112; expected .* to 111"):
        check({**metadata, name: uint32(112)}, shapes)


def test_an_outline_is_a_matrix_of_ones() -> None:
    """Whole, in part, and row by row."""
    outline = Outline({"a.weight": (2, 3, 4), "b.weight": (5,)})
    matrix, x = outline.matrix("a.weight"), np.arange(8, dtype=np.float32).reshape(2, 4)
    assert (matrix.shape, matrix.part(1, 3).shape) == ((6, 4), (2, 4))
    assert np.array_equal(matrix.apply(x), x @ np.ones((4, 6), np.float32))
    assert np.array_equal(matrix.rows(np.arange(2)), np.ones((2, 4)))
    assert np.array_equal(outline.vector("b.weight"), np.ones(5))
    assert "b.weight" in outline
    assert "b.bias" not in outline
