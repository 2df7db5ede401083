"""What is summed of a forward pass, against one written out here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import quantkit as qk
from quantkit.arrays.rows import dequantize_rows
from quantkit.collecting.collection import Collection, imatrix
from quantkit.evaluate.measuring import perplexity
from quantkit.gguf.keys import Field
from quantkit.gguf.source import SourceTensor
from quantkit.importance import ImportanceMatrix, Sums
from quantkit.sources.opening import open_source
from quantkit.tasks.demo import DEMO_MODEL, DEMO_TEXT
from quantkit.tokens.chunks import chunk_text
from quantkit.types import QuantType

from .families.lettered import lettered_model, lettered_text

TEXT = DEMO_TEXT.read_text(encoding="utf-8")[:6000]
CTX, N_CHUNKS = 64, 4
SMALL: dict[str, Any] = {
    "options": qk.TextOptions(ctx=CTX, chunks=N_CHUNKS),
    "threads": 1,
}


@dataclass(frozen=True)
class InMemory:
    """A model without files."""

    metadata: Mapping[str, Field]
    tensors: Mapping[str, SourceTensor]


@pytest.fixture(scope="module")
def found() -> ImportanceMatrix:
    return imatrix(DEMO_MODEL, TEXT, **SMALL, process_output=True)


def values_of(sums: Sums) -> np.ndarray:
    """The sums of values, which our own matrices have."""
    assert sums.values is not None
    return sums.values


def same(one: ImportanceMatrix, two: ImportanceMatrix) -> bool:
    """Whether all sums are equal to the last bit."""
    assert one.sums.keys() == two.sums.keys()
    return all(
        np.array_equal(sums.squares, two.sums[name].squares)
        and np.array_equal(values_of(sums), values_of(two.sums[name]))
        and np.array_equal(sums.counts, two.sums[name].counts)
        for name, sums in one.sums.items()
    )


class PlainLlama:
    """The demo model's forward pass in f64, which keeps what each matrix is given."""

    def __init__(self) -> None:
        tensors = open_source(DEMO_MODEL).tensors
        self.weights = {
            name: dequantize_rows(t.read(0, t.n_rows), t.type, t.n_cols).astype(float)
            for name, t in tensors.items()
        }
        self.seen: dict[str, list[np.ndarray]] = {}

    def times(self, x: np.ndarray, name: str) -> np.ndarray:
        self.seen.setdefault(f"{name}.weight", []).append(x)
        return x @ self.weights[f"{name}.weight"].T

    def norm(self, x: np.ndarray, name: str) -> np.ndarray:
        scale = np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5)
        return x / scale * self.weights[f"{name}.weight"].ravel()

    def run(self, tokens: np.ndarray) -> None:
        n = len(tokens)
        x = self.weights["token_embd.weight"][tokens]
        angles = np.arange(n)[:, None] * 10000.0 ** (-np.arange(0, 64, 2) / 64)
        turns = np.exp(1j * angles)[:, None]
        unseen = np.triu(np.full((n, n), -np.inf), 1)
        for layer in range(4):
            at = f"blk.{layer}."
            y = self.norm(x, f"{at}attn_norm")
            q, k, v = (self.times(y, f"{at}attn_{p}").reshape(n, -1, 64) for p in "qkv")
            q, k = (
                ((h[..., 0::2] + 1j * h[..., 1::2]) * turns).view(float) for h in (q, k)
            )
            heads = []
            for head in range(4):
                scores = q[:, head] @ k[:, head // 2].T / 8 + unseen
                share = np.exp(scores - scores.max(-1, keepdims=True))
                share /= share.sum(-1, keepdims=True)
                heads.append(share @ v[:, head // 2])
            x = x + self.times(np.concatenate(heads, axis=1), f"{at}attn_output")
            y = self.norm(x, f"{at}ffn_norm")
            gate, up = (self.times(y, f"{at}ffn_{p}") for p in ("gate", "up"))
            x = x + self.times(gate / (1 + np.exp(-gate)) * up, f"{at}ffn_down")
        self.times(self.norm(x, "output_norm"), "token_embd")


def test_sums_are_those_of_a_plain_forward_pass(found: ImportanceMatrix) -> None:
    """Of every matrix, at every position of every chunk, BOS included."""
    plain = PlainLlama()
    cut = chunk_text(open_source(DEMO_MODEL), TEXT, SMALL["options"])
    for i in range(N_CHUNKS):
        tokens = cut.inputs(i)
        assert tokens[0] == 1
        plain.run(tokens)
    assert plain.seen.keys() == found.sums.keys()
    for name, parts in plain.seen.items():
        x, sums = np.concatenate(parts), found.sums[name]
        assert sums.counts.tolist() == [CTX * N_CHUNKS]
        np.testing.assert_allclose(sums.squares[0], (x * x).sum(0), rtol=2e-3)
        spread = np.sqrt(len(x) * (x * x).sum(0)).max()
        assert np.abs(values_of(sums)[0] - x.sum(0)).max() < 1e-4 * spread


def test_facts_of_the_matrix(found: ImportanceMatrix) -> None:
    """Chunks, tokens, the text, and its perplexity."""
    assert (found.chunk_count, found.chunk_size) == (N_CHUNKS, CTX)
    assert (found.n_rows, found.datasets, found.unreached) == (256, ("text",), {})
    expected = perplexity(DEMO_MODEL, TEXT, **SMALL)
    assert found.perplexity is not None
    assert found.perplexity.ppl == expected.ppl
    assert found.perplexity.error == expected.error
    without = imatrix(DEMO_MODEL, TEXT, **SMALL, perplexity=False)
    assert without.perplexity is None
    assert "token_embd.weight" not in without.sums
    means = found.importance()["blk.2.ffn_down.weight"]
    assert means.dtype == np.float32
    assert means.shape == (768,)
    squares = found.sums["blk.2.ffn_down.weight"].squares[0]
    assert (means == squares.astype(np.float32) / np.float32(256)).all()


@pytest.mark.parametrize("threads", [2, 7])
def test_threads_change_nothing(found: ImportanceMatrix, threads: int) -> None:
    """Not one bit."""
    options = {**SMALL, "threads": threads, "process_output": True}
    again = imatrix(DEMO_MODEL, TEXT, **options)
    assert same(found, again)
    assert again.perplexity is not None
    assert found.perplexity is not None
    assert again.perplexity.ppl == found.perplexity.ppl


def test_several_texts_are_one_after_the_other(tmp_path: Path) -> None:
    """And what one run over both gives is what merging two runs gives."""
    texts = [tmp_path / "one.txt", tmp_path / "two.txt"]
    for path, text in zip(texts, (TEXT[:3000], TEXT[3000:]), strict=True):
        path.write_text(text, encoding="utf-8")
    both = imatrix(DEMO_MODEL, texts, **SMALL)
    alone = [imatrix(DEMO_MODEL, [text], **SMALL) for text in texts]
    merged = ImportanceMatrix.merged(*alone)
    assert both.datasets == merged.datasets == tuple(map(str, texts))
    assert both.chunk_count == merged.chunk_count == 2 * N_CHUNKS
    for name, sums in both.sums.items():
        np.testing.assert_allclose(merged.sums[name].squares, sums.squares, rtol=1e-12)
        assert (merged.sums[name].counts == sums.counts).all()


@pytest.mark.parametrize("name", ["mixtral", "qwen2moe", "deepseek-v3"])
def test_experts_are_counted_by_token(name: str, tmp_path: Path) -> None:
    """Each token goes to so many of them, with what the router saw of it."""
    model = lettered_model(name, tmp_path)
    text = lettered_text(tmp_path / "text.txt", 200)
    found = imatrix(model, text, options=qk.TextOptions(ctx=32), threads=1)
    source = open_source(model)
    arch = source.metadata["general.architecture"].value
    used = source.metadata[f"{arch}.expert_used_count"].value
    layers = [n for n in found.sums if n.endswith("ffn_gate_exps.weight")]
    assert layers
    for gate in layers:
        sums = found.sums[gate]
        assert len(sums.counts) == source.tensors[gate].shape[0]
        assert sums.counts.sum() == used * found.n_rows
        router = found.sums[gate.replace("ffn_gate_exps", "ffn_gate_inp")]
        np.testing.assert_allclose(sums.squares.sum(0), used * router.squares[0])
        np.testing.assert_allclose(values_of(sums).sum(0), used * values_of(router)[0])
        up = found.sums[gate.replace("gate_exps", "up_exps")]
        down = found.sums[gate.replace("gate_exps", "down_exps")]
        assert (up.squares == sums.squares).all()
        assert (down.counts == sums.counts).all()
    matrices = {
        n
        for n, t in source.tensors.items()
        if n.startswith("blk.") and len(t.shape) > 1
    }
    single = {n for n in found.sums if n.endswith("ffn_gate_inp_shexp.weight")}
    assert found.sums.keys() == matrices | single
    assert bool(single) == (name == "qwen2moe")


def test_heads_are_columns_of_one_row(tmp_path: Path) -> None:
    """Where a tensor has a matrix for each; quantizers take that for importance."""
    model = lettered_model("deepseek-v3", tmp_path)
    text = lettered_text(tmp_path / "text.txt", 200)
    found = imatrix(model, text, options=qk.TextOptions(ctx=32), threads=1)
    heads = open_source(model).tensors["blk.0.attn_k_b.weight"].shape
    sums = found.sums["blk.0.attn_k_b.weight"]
    assert (sums.squares.shape, len(sums.counts)) == ((1, heads[0] * heads[2]), 1)
    found.save(tmp_path / "imatrix.gguf")
    report = qk.quantize_file(
        *(model, tmp_path / "q4_0.gguf", "Q4_0"),
        importance=tmp_path / "imatrix.gguf",
    )
    assert any(t.type is QuantType.Q4_0 for t in report.tensors)


def test_expert_without_tokens_are_told(tmp_path: Path) -> None:
    """They have ones for importance, so that quantizing goes on."""
    model = lettered_model("qwen3moe", tmp_path)
    text = tmp_path / "text.txt"
    text.write_text("a" * 80)
    found = imatrix(model, text, options=qk.TextOptions(ctx=32), threads=1)
    name, n = next(iter(found.unreached.items()))
    counts = found.sums[name].counts
    assert n == (counts == 0).sum() > 0
    assert (found.importance()[name][counts == 0] == 1).all()
    assert (found.sums[name].squares[counts == 0] == 0).all()


def damaged(name: str, value: float) -> InMemory:
    """The demo model with a number in a tensor."""
    source = open_source(DEMO_MODEL)
    tensor = source.tensors[name]

    def read(start: int, stop: int) -> np.ndarray:
        rows = tensor.read(start, stop).copy()
        rows.view(np.float32)[0, 5] = value
        return rows

    changed = replace(tensor, read=read)
    return InMemory(source.metadata, {**source.tensors, name: changed})


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_activations_that_are_not_finite_name_the_tensor(value: float) -> None:
    """The first that is multiplied by them, and where in the text."""
    model = damaged("blk.2.ffn_norm.weight", value)
    message = r"text, chunk 1: tensor blk\.2\.ffn_(gate|up)\.weight .* NaN or infinite"
    with pytest.raises(qk.NonFiniteError, match=message):
        imatrix(model, TEXT, **SMALL)


def test_what_is_refused_before_any_work(tmp_path: Path) -> None:
    """A text that is too short, none, no such precision, a matrix of another model."""
    with pytest.raises(qk.QuantkitError, match="tokens, and a context of 512 needs"):
        imatrix(DEMO_MODEL, "too short")
    with pytest.raises(qk.OptionError, match="`text` is empty"):
        imatrix(DEMO_MODEL, [])
    with pytest.raises(qk.OptionError, match="'i9'"):
        imatrix(DEMO_MODEL, TEXT, options=qk.TextOptions(ctx=CTX), activations="i9")
    source = open_source(DEMO_MODEL)
    with pytest.raises(qk.OptionError, match="read from files"):
        imatrix(
            InMemory(source.metadata, source.tensors),
            TEXT,
            options=qk.TextOptions(ctx=CTX),
            save=tmp_path / "sums",
        )
    text = lettered_text(tmp_path / "text.txt", 80)
    other = imatrix(
        lettered_model("llama", tmp_path),
        text,
        options=qk.TextOptions(ctx=32),
        threads=1,
    )
    collection = Collection(DEMO_MODEL, TEXT, options=qk.TextOptions(ctx=CTX))
    with pytest.raises(qk.FormatError, match=r"another model: tensor blk\.0\.attn_"):
        collection.refuse_unlike(other)
