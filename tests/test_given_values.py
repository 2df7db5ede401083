"""Parameters that are of another kind than they must be, and those that may be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import quantkit as qk
from quantkit.tasks.demo import DEMO_MODEL, DEMO_TEXT

raw: Any = qk
"""The same module without its types, to pass it values of other types."""

TEXT = DEMO_TEXT.read_text(encoding="utf-8")[:1000]
SMALL: dict[str, Any] = {"options": qk.TextOptions(ctx=64, chunks=2), "threads": 1}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"recipe": 15}, "15 is not a recipe"),
        ({"recipe": "Q4_X"}, "unknown recipe 'Q4_X'; did you mean"),
        ({"options": {"ctx": 64}}, "`options` is .*; expected a TextOptions"),
        ({"activations": "i8"}, "`activations` is 'i8'; expected one of i16"),
        ({"activations": 16}, "`activations` is 16"),
        ({"threads": 0}, "`threads` must be at least 1, not 0"),
        ({"threads": "4"}, "`threads` is '4'; expected"),
        ({"threads": qk.Threads}, "`threads` is .*; expected"),
    ],
)
def test_parameters_that_are_not_what_they_must_be(values: Any, words: str) -> None:
    """The message says what was expected."""
    with pytest.raises(qk.QuantkitError, match=words):
        qk.perplexity(DEMO_MODEL, TEXT, **{**SMALL, **values})


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: raw.TensorType(3, "Q8_0"), "3 is not a regular expression"),
        (lambda: raw.TensorType("a", 8), "8 is not a type"),
        (lambda: raw.TensorType.parse(3), "'?3'? is not REGEX=TYPE"),
        (lambda: raw.Overrides(["a"]), "'a' is not REGEX=TYPE"),
        (lambda: raw.Overrides(output_tensor_type="Q9"), "unknown type 'Q9'"),
        (lambda: raw.Threads(0), "`count` must be at least 1, not 0"),
        (lambda: raw.Threads("2"), "`count` is '2'; expected an integer"),
        (lambda: raw.Pool(None, 2), "`executor` is None; expected an executor"),
        (lambda: raw.Edits({"general.name": "x"}), r"`metadata` is .*parse_field"),
        (lambda: raw.Edits(prune_layers=1), "`prune_layers` is 1; expected numbers"),
        (lambda: raw.parse_field(3), "is not KEY=TYPE:VALUE"),
        (lambda: raw.parse_field("a=str:\udc80"), "is not text in UTF-8"),
        (
            lambda: raw.ImportanceMatrix.load_merged([]),
            "no importance matrix to merge",
        ),
        (lambda: raw.Model.open({}), "`model` is of type dict; expected the path"),
        (lambda: raw.compare([], text=TEXT), "`model` is empty"),
        (lambda: raw.compare(DEMO_MODEL, [8], text=TEXT), "`types` has 8; expected"),
        (lambda: raw.compare(DEMO_MODEL, text=TEXT, base=3, **SMALL), "`base` is 3;"),
        (lambda: raw.TextOptions(chat="no"), "`chat` is 'no'; expected True or False"),
        (lambda: raw.TextOptions(ctx=True), "`ctx` is True; expected an integer"),
        (lambda: raw.Threads(True), "`count` is True; expected an integer"),
        (lambda: raw.info(""), "`path` is '', which is not a path"),
        (lambda: raw.convert("", "o"), "`model_dir` is '', which is not a path"),
        (lambda: raw.convert(DEMO_MODEL, ""), "`out` is '', which is not a path"),
        (lambda: raw.read_imatrix([1]), "is of type list; expected a str or a Path"),
        (
            lambda: raw.quantize_file(DEMO_MODEL, "o", "NVFP4"),
            "recipe NVFP4; .*`ten",
        ),
        (lambda: raw.convert(DEMO_MODEL, "o", None), "None is not a recipe"),
        (lambda: raw.convert(DEMO_MODEL, "o", vocab_type="x"), "`vocab_type` is 'x'"),
        (
            lambda: raw.convert(DEMO_MODEL, "o", split_max_bytes="1G"),
            "_bytes` is '1G'",
        ),
    ],
)
def test_values_that_are_of_no_kind(make: Callable[[], object], words: str) -> None:
    """They are refused where they are given, not deep inside."""
    with pytest.raises(qk.QuantkitError, match=words):
        make()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"overrides": {"ffn_down": "Q8_0"}}, r"`overrides` is .*; expected Overrides"),
        ({"edits": {"general.name": "x"}}, r"`edits` is .*; expected Edits\("),
        ({"missing_importance": 3}, "`missing_importance` is 3; expected refuse or"),
        ({"split_max_bytes": 0}, "`split_max_bytes` must be at least 1, not 0"),
        ({"split_max_bytes": 9, "keep_split": True}, "cannot be combined"),
    ],
)
def test_what_quantize_file_refuses(tmp_path: Path, values: Any, words: str) -> None:
    """Nothing is written."""
    with pytest.raises(qk.OptionError, match=words):
        qk.quantize_file(DEMO_MODEL, tmp_path / "o.gguf", "Q8_0", **values)
    assert not list(tmp_path.iterdir())


def test_types_may_be_given_by_name() -> None:
    """Wherever a type is chosen."""
    parsed = qk.TensorType.parse("ffn_down=Q6_K")
    assert qk.TensorType("ffn_down", "q6_k") == parsed  # type: ignore[arg-type]
    named = qk.Overrides(["ffn_down=q6_k"], token_embedding_type="Q8_0")  # type: ignore[arg-type]
    assert named == qk.Overrides((parsed,), token_embedding_type=qk.QuantType.Q8_0)


def test_threads_may_be_an_integer_of_numpy(tmp_path: Path) -> None:
    """As numbers of tokens may be."""
    report = qk.convert(DEMO_MODEL, tmp_path / "o.gguf", threads=np.int64(2))
    assert report.paths[0].exists()


def test_types_are_recipes_where_there_is_one(tmp_path: Path) -> None:
    """A `QuantType` means the recipe of its name; NumPy's integers are integers."""
    split = np.int64(2_000_000)
    made = qk.quantize_file(
        *(DEMO_MODEL, tmp_path / "a.gguf", qk.QuantType.Q4_0), split_max_bytes=split
    )
    assert (made.recipe, len(made.paths) > 1) == ("Q4_0", True)
    converted = qk.convert(DEMO_MODEL, tmp_path / "b.gguf", "f16", dry_run=True)
    assert converted.path == converted.paths[0] == tmp_path / "b.gguf"


FLAGS: list[tuple[str, Callable[..., Any]]] = [
    *(
        (flag, lambda **given: raw.quantize_file("a.gguf", "b.gguf", "Q4_0", **given))
        for flag in ("allow_requantize", "keep_split", "measure", "provenance")
    ),
    ("dry_run", lambda **given: raw.quantize_file("a", "b", "Q4_0", **given)),
    *(
        (flag, lambda **given: raw.convert("a", "b.gguf", **given))
        for flag in ("pad_vocab", "tensors_only", "symmetric_q4_0", "dry_run")
    ),
    *(
        (flag, lambda **given: raw.imatrix("a.gguf", TEXT, **given))
        for flag in ("process_output", "perplexity")
    ),
    *((flag, raw.Overrides) for flag in ("pure", "leave_output_tensor")),
    ("chat", raw.TextOptions),
]


@pytest.mark.parametrize(("flag", "call"), FLAGS, ids=lambda v: v if v is str else None)
@pytest.mark.parametrize("value", ["no", 0, None])
def test_flags_are_true_or_false(
    flag: str, call: Callable[..., Any], value: object
) -> None:
    """What is true in Python by its contents may have been meant as False."""
    with pytest.raises(qk.OptionError, match=f"`{flag}` is {value!r}; expected True"):
        call(**{flag: value})


def test_flags_of_numpy_are_flags() -> None:
    """A comparison of arrays gives them."""
    assert raw.Overrides(pure=np.bool_(True)).pure


@pytest.mark.parametrize(
    "call",
    [
        lambda **given: raw.quantize_file("a.gguf", "b.gguf", "Q4_0", **given),
        lambda **given: raw.verify_file("a.gguf", "b.gguf", **given),
        lambda **given: raw.convert("a", "b.gguf", **given),
        lambda **given: raw.convert_lora("a", "b", "c.gguf", **given),
        lambda **given: raw.compare("a.gguf", text=TEXT, **given),
        lambda **given: raw.perplexity("a.gguf", TEXT, **given),
        lambda **given: raw.imatrix("a.gguf", TEXT, **given),
    ],
)
def test_callbacks_are_functions(call: Callable[..., Any]) -> None:
    """Before any work."""
    with pytest.raises(qk.OptionError, match="`progress` is 3; expected a function"):
        call(progress=3)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: raw.perplexity(DEMO_MODEL, TEXT, activations=[]),
            r"`activations` is \[\]; expected one of i16",
        ),
        (
            lambda: raw.compare(DEMO_MODEL, activations={}, text=TEXT, **SMALL),
            "`activations` is {}; expected one of i16",
        ),
        (lambda: raw.Field("string", "x"), "`type` of a Field is 'string'"),
        (lambda: raw.ImportanceMatrix.merged(3), "`matrices` has an item of type int"),
        (lambda: raw.ImportanceMatrix.load("a", "x"), "`chunk_size` is 'x'"),
        (lambda: raw.Tokenizer.from_metadata(None), "`metadata` is of type NoneType"),
        (lambda: raw.Tokenizer.from_metadata({"a": 3}), "expected Fields by key"),
        (lambda: raw.QuantType.from_id([1]), r"`number` is \[1\]; expected an integer"),
        (lambda: raw.QuantType.from_id(True), "`number` is True; expected an integer"),
        (lambda: raw.QuantType.Q4_0.row_bytes("7"), "`n_cols` is '7'"),
        (lambda: raw.QuantType.Q4_0.row_bytes(-32), "`n_cols` must be at least 0"),
        (lambda: raw.TensorSpec("x", 3, qk.QuantType.F32), "has the shape 3"),
        (
            lambda: raw.compare(DEMO_MODEL, [Path("x.gguf")], text=TEXT),
            "'x.gguf' is a file and not a type; give it as a model",
        ),
    ],
)
def test_no_other_error_than_quantkits(call: Callable[[], Any], words: str) -> None:
    """Which name the parameter, what was found and what was expected."""
    with pytest.raises(qk.QuantkitError, match=words) as error:
        call()
    assert isinstance(error.value, ValueError)
