"""Everything public that holds values compares with ==, and can be pickled."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import quantkit as qk
from quantkit.gguf.keys import array, string, uint32
from quantkit.sources.opening import open_source
from quantkit.tasks.demo import DEMO_MODEL, DEMO_TEXT

TEXT = DEMO_TEXT.read_text(encoding="utf-8")[:1000]
ONE_CHUNK: dict[str, Any] = {"options": qk.TextOptions(ctx=64, chunks=1), "threads": 1}
"""Of which no error is known: those are NaN."""

NO_VALUES: dict[str, Any] = {
    "GGUFFile": "open files",
    "Model": "weights in memory",
    "ModelSource": "a protocol",
    "Pool": "an executor of the user's",
    "SourceTensor": "rows in an open file",
    "Tokenizer": "compiled searches",
    "Workers": "a protocol",
}


@cache
def perplexity() -> qk.PerplexityResult:
    return qk.perplexity(DEMO_MODEL, TEXT, **ONE_CHUNK)


@cache
def compared() -> qk.Comparison:
    return qk.compare(DEMO_MODEL, ["Q8_0", "Q4_0"], text=TEXT, **ONE_CHUNK)


@cache
def chosen() -> qk.Choice:
    options = qk.TextOptions(ctx=64, chunks=4)
    budget = qk.Budget(memory=14_000_000, ctx=64)
    return qk.choose(DEMO_MODEL, budget, "Q4_0", text=DEMO_TEXT, options=options)


@cache
def mixed() -> qk.Mix:
    found = qk.choose(
        DEMO_MODEL,
        qk.Budget(max_size=2_800_000),
        ["Q8_0", "Q4_0"],
        text=DEMO_TEXT,
        options=qk.TextOptions(ctx=64, chunks=5),
        mix=True,
    )
    assert found.mix is not None
    return found.mix


@cache
def embeddings() -> qk.EmbeddingComparison:
    source = open_source(DEMO_MODEL)
    pooled = {**source.metadata, "llama.pooling_type": uint32(1)}
    model = SimpleNamespace(metadata=pooled, tensors=source.tensors)
    two = {**ONE_CHUNK, "options": qk.TextOptions(ctx=64, chunks=2)}
    return qk.compare_embeddings(model, ["Q8_0", "Q4_0"], text=TEXT, **two)


@cache
def matrix() -> qk.ImportanceMatrix:
    return qk.imatrix(DEMO_MODEL, TEXT, **ONE_CHUNK)


@cache
def reported() -> tuple[Any, ...]:
    """What is said of files: converted, quantized and measured, verified, described."""
    with TemporaryDirectory() as folder:
        plain, small = Path(folder) / "f16.gguf", Path(folder) / "q4.gguf"
        converted = qk.convert(DEMO_MODEL, plain, "f16")
        quantized = qk.quantize_file(plain, small, "Q4_0", measure=True)
        with qk.GGUFFile(plain) as file:
            (location, *_) = file.locations.values()
            tokens = file.metadata["tokenizer.ggml.tokens"].value
        return (
            *(converted, quantized, qk.verify_file(small, plain), qk.info(small)),
            *(location, tokens, qk.modelfile(small), qk.model_card(small)),
        )


def last(index: int, *attributes: str) -> Any:
    """The last of a list of a report's."""
    found = reported()[index]
    for attribute in attributes:
        found = getattr(found, attribute)
    return found[-1] if isinstance(found, tuple) else found


CASES: dict[str, Callable[[], Any]] = {
    "Backend": qk.active_backend,
    "Budget": lambda: qk.Budget(max_size=1),
    "Calibration": lambda: qk.Calibration(["A text."], tokens=2048, effort="best"),
    "CalibrationCheck": lambda: qk.CalibrationCheck(
        9, 20, 22, 21, 0.2, 0.1, -0.1, 0.01, -0.05, 0.01
    ),
    "Candidate": lambda: chosen().candidates[0],
    "Cells": lambda: qk.Cells(("type", ">size"), [("Q8_0", "1")]),
    "Choice": chosen,
    "Mix": mixed,
    "TensorChoice": lambda: mixed().tensors[0],
    "Comparison": compared,
    "ConvertReport": lambda: reported()[0],
    "Details": lambda: qk.Details(
        {"Q4_0": {"a": qk.QuantType.Q4_0}}, {"Q4_0": {"a": 0.1}}, [], ["00"]
    ),
    "Device": lambda: qk.Device("cuda:0", "A card", "9.0", 132, 1 << 36, True),
    "Difference": lambda: qk.Difference("a.weight", "missing"),
    "Edits": lambda: qk.Edits({"a": string("b")}, frozenset([1])),
    "FileType": lambda: qk.RECIPES["Q4_K_M"].file_type,
    "EmbeddingComparison": embeddings,
    "EmbeddingDifference": lambda: embeddings().versus("Q4_0", "Q8_0"),
    "EmbeddingMeasurement": lambda: embeddings().results[0],
    "EmbeddingText": lambda: embeddings().texts[0],
    "Field": lambda: array(qk.ValueType.FLOAT32, np.array([1, np.nan], np.float32)),
    "CalibrationCost": lambda: qk.CalibrationCost(90.0, 1 << 30, 1 << 20),
    "Gain": lambda: qk.Gain(
        "a.weight", qk.QuantType.Q4_0, 9, 9, 0.2, 0.1, 0.2, 0.09, (0.01,)
    ),
    "ImportanceMatrix": matrix,
    "LayerStatistics": lambda: matrix().statistics().layers[0],
    "ImatrixShard": lambda: qk.ImatrixShard(3, 16, 41, Path("3.shard")),
    "Location": lambda: last(4),
    "Measurement": lambda: compared().base,
    "MemoryNeed": lambda: chosen().candidates[0].need,
    "MetadataEntry": lambda: last(3, "metadata"),
    "MissingImportance": lambda: qk.MissingImportance.FALLBACK,
    "ModelInfo": lambda: reported()[3],
    "CardFile": lambda: reported()[7].files[0],
    "ModelCard": lambda: reported()[7],
    "Modelfile": lambda: reported()[6],
    "Overrides": lambda: qk.Overrides((qk.TensorType.parse("a=Q8_0"),)),
    "PairedDifference": lambda: compared().versus("Q4_0", "Q8_0"),
    "PerplexityResult": perplexity,
    "QuantType": lambda: qk.QuantType.Q4_K,
    "QuantizeReport": lambda: reported()[1],
    "QuantizedTensor": lambda: qk.quantize(np.ones((2, 32)), "Q8_0"),
    "Recipe": lambda: qk.RECIPES["Q4_K_M"],
    "Shard": lambda: qk.Shard(3, 16, 41, ("F16", "Q8_0"), Path("3.shard")),
    "Statistics": lambda: matrix().statistics(),
    "StringArray": lambda: reported()[5],
    "Sums": lambda: next(iter(matrix().sums.values())),
    "TensorErrors": lambda: last(1, "tensors").errors,
    "TensorInfo": lambda: last(3, "tensors"),
    "TensorReport": lambda: last(1, "tensors"),
    "TensorSpec": lambda: last(0, "tensors"),
    "TensorStatistics": lambda: matrix().statistics().tensors[0],
    "TensorType": lambda: qk.TensorType.parse("ffn_down=Q6_K"),
    "TextOptions": lambda: qk.TextOptions(ctx=64),
    "TextResult": lambda: compared().texts[0],
    "Threads": lambda: qk.Threads(2),
    "TokenScores": lambda: compared().scores["Q4_0"][0],
    "TypeReport": lambda: reported()[1].types[0],
    "TypeUsage": lambda: last(3, "types"),
    "ValueType": lambda: qk.ValueType.UINT32,
    "Verification": lambda: reported()[2],
}


def test_the_same_comparison_is_equal_whatever_it_took() -> None:
    """Times are no part of the result; any other figure is."""
    found, again = compared(), compared.__wrapped__()
    times = [each.base.tokens_per_second for each in (found, again)]
    assert found == again, times
    other = replace(found, base=replace(found.base, ppl=found.base.ppl + 1))
    assert other != found


def test_every_public_class_has_a_case() -> None:
    """Or a reason why it has none."""
    classes = {n for n in qk.__all__ if inspect.isclass(getattr(qk, n))}
    errors = {n for n in classes if issubclass(getattr(qk, n), qk.QuantkitError)}
    assert classes - errors == CASES.keys() | NO_VALUES.keys()


@pytest.mark.parametrize("name", CASES)
def test_values_equal_their_copies(name: str) -> None:
    """Deep copies, and what was pickled; as a whole and in lists."""
    value = CASES[name]()
    assert type(value) is getattr(qk, name)
    for other in (copy.deepcopy(value), pickle.loads(pickle.dumps(value))):
        assert value == other
        assert value in [other]
        assert value != name
        try:
            number = hash(value)
        except TypeError:
            continue  # it holds arrays, lists or NaN
        assert number == hash(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (perplexity, lambda: qk.perplexity(DEMO_MODEL, TEXT[1:], **ONE_CHUNK)),
        (matrix, lambda: matrix().merged(matrix(), matrix())),
        (lambda: compared().base, lambda: compared().results[0]),
        (CASES["Field"], lambda: array(qk.ValueType.FLOAT32, np.zeros(2, np.float32))),
        (CASES["Field"], lambda: array(qk.ValueType.FLOAT32, [1.0, 2.0])),
        (CASES["QuantizedTensor"], lambda: qk.quantize(np.ones((1, 64)), "Q8_0")),
        (CASES["QuantizedTensor"], lambda: qk.quantize(np.zeros((2, 32)), "Q8_0")),
    ],
)
def test_other_values_are_not_equal(one: Any, other: Any) -> None:
    """In either order."""
    assert one() != other()
    assert not other() == one()  # noqa: SIM201


@pytest.mark.parametrize("name", [n for n in qk.__all__ if n.endswith("Error")])
def test_errors_can_be_pickled(name: str) -> None:
    """As they are where other processes raise them."""
    error = getattr(qk, name)("why")
    copied = pickle.loads(pickle.dumps(error))
    assert (type(copied), str(copied)) == (type(error), "why")


SHORT = {"FileType", "MissingImportance", "QuantType", "StringArray", "Threads"}
"""Enums, and what has a few characters; a notebook shows their `repr`."""


@pytest.mark.parametrize("name", CASES)
def test_values_are_shown_briefly(name: str) -> None:
    """As a line, and as a table in notebooks; whatever they hold."""
    value = CASES[name]()
    assert len(repr(value)) < 400
    assert repr(value).isprintable()
    if name not in SHORT | {"ValueType"}:
        html = value._repr_html_()
        assert html.startswith(("<table>", "<p>"))
        assert len(html) < 20_000


def test_large_values_are_shown_briefly_too() -> None:
    """Many items, long texts, and names that would be HTML."""
    evil = "<script>alert(1)</script>\x1b[2J"
    sums = next(iter(matrix().sums.values()))
    many = qk.ImportanceMatrix({f"{evil}{i}": sums for i in range(9999)}, 512)
    text = qk.Calibration([evil * 9999], tokens=2048)
    row = replace(compared().base, name=evil)
    rows = replace(compared(), results=[row] * 999)
    table = qk.Cells((evil, ">b"), [(evil, "1")] * 9999)
    for value in (many, text, row, rows, table):
        html = value._repr_html_()
        assert len(repr(value)) < 400
        assert repr(value).isprintable()
        assert len(html) < 20_000
        assert "<script" not in html
        assert "\x1b" not in html
